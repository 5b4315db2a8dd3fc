# What a wheel holds that was built where a C compiler is: see _row.c.
from array import array
from typing import Any

from typing_extensions import Buffer

from bhavcast.domain.field import Held, Values

Column = tuple[int, bytes, int]

def put(values: list[Held], revs: array[int], rev: int, changed: Values, /) -> None: ...
def take(rows: dict[str, Any], changes: Buffer, fields: int, /) -> list[Any] | None: ...
def delta(
    symbol: str,
    divisor: int,
    values: list[Held],
    revs: array[int],
    rev: int,
    since: int,
    columns: tuple[Column, ...],
    /,
) -> bytes | None: ...
def deltas(rows: list[Any], since: int, columns: tuple[Column, ...], /) -> list[bytes | None]: ...
