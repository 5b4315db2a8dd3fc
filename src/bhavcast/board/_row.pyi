# What a wheel holds that was built where a C compiler is: see _row.c.
from array import array
from typing import Any

from bhavcast.domain.change import Change
from bhavcast.domain.field import Value, Values

Column = tuple[int, bytes, int]

def put(values: list[Value], revs: array[int], rev: int, changed: Values, /) -> None: ...
def take(rows: dict[str, Any], changes: list[Change], /) -> list[Any]: ...
def delta(
    symbol: str,
    divisor: int,
    values: list[Value],
    revs: array[int],
    rev: int,
    since: int,
    columns: tuple[Column, ...],
    /,
) -> bytes | None: ...
def deltas(rows: list[Any], since: int, columns: tuple[Column, ...], /) -> list[bytes | None]: ...
