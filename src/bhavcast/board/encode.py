"""Rows as bytes: what a client is shown of a quote, encoded once for everyone who is shown the same."""

import datetime
import functools
from collections.abc import Callable
from typing import Any, Final

import msgspec

from bhavcast.board.board import Row
from bhavcast.domain import field
from bhavcast.domain.calendar import IST
from bhavcast.domain.field import Held, Kind
from bhavcast.domain.shape import Shape

try:
    from bhavcast.board._sheet import deltas as deltas_in_json
except ImportError:  # the wheel was built without a C compiler
    from bhavcast.board.sheet import deltas as deltas_in_json

_NAMES: Final = tuple(each.name for each in field.FIELDS)
_json = msgspec.json.Encoder()
_msgpack = msgspec.msgpack.Encoder()


@functools.lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, IST).strftime("%Y-%m-%dT%H:%M:%S")


def iso_ms(ms: int) -> str:
    """Write milliseconds since the Unix epoch as `2026-11-23T12:08:51.143+05:30`."""
    return f"{_second(ms // 1000)}.{ms % 1000:03d}+05:30"


def iso_second(ms: int) -> str:
    """Write milliseconds since the Unix epoch as `2026-11-23T12:08:51+05:30`."""
    return _second(ms // 1000) + "+05:30"


def _price(value: Any, row: Row) -> float:
    return value / row.divisor  # type: ignore[no-any-return]  # an integer, by the table of fields


def _hundredths(value: Any, _row: Row) -> float:
    return value / 100  # type: ignore[no-any-return]  # an integer, by the table of fields


def _as_is(value: Any, _row: Row) -> Any:
    return value


def _time(value: Any, _row: Row) -> str:
    return iso_ms(value)


def _time_second(value: Any, _row: Row) -> str:
    return iso_second(value)


_WRITERS: Final = {
    Kind.PRICE: _price,
    Kind.MONEY: _hundredths,
    Kind.PERCENT: _hundredths,
    Kind.COUNT: _as_is,
    Kind.TIME: _time,
    Kind.SECOND: _time_second,
    Kind.TEXT: _as_is,
}
_KINDS: Final = (Kind.PRICE, Kind.MONEY, Kind.COUNT, Kind.TEXT, Kind.TIME, Kind.SECOND)  # as _sheet.c numbers them
_WRITE: Final = tuple(_WRITERS.get(each.kind, _as_is) for each in field.FIELDS)


def _levels(held: Held, row: Row, depth: int) -> list[dict[str, Any]] | None:
    ladder = field.ladder(held)
    if ladder is None:
        return None
    return [
        {"price": price / row.divisor, "quantity": quantity, "orders": orders}
        for price, quantity, orders in ladder[:depth]
    ]


def full(row: Row, shape: Shape) -> dict[str, Any]:
    """Return a whole quote as it is written: fields without a value are absent, never null."""
    wire: dict[str, Any] = {"symbol": row.symbol}
    if shape.whole:
        wire.update(describe(row))
    for number in shape.numbers:
        value = row[number]
        if value is not None:
            wire[_NAMES[number]] = _WRITE[number](value, row)
    if shape.depth:
        sides = {_NAMES[number]: _levels(row[number], row, shape.depth) for number in field.LADDERS}
        wire["depth"] = {side: levels for side, levels in sides.items() if levels is not None}
    wire["rev"] = row.rev
    return wire


def delta(row: Row, shape: Shape, since: int) -> dict[str, Any] | None:
    """Return the fields that changed after revision `since`, null for one that has no value now; None if none did."""
    wire: dict[str, Any] = {"symbol": row.symbol}
    revs = row.revs
    for number in shape.numbers:
        if revs[number] > since:
            value = row[number]
            wire[_NAMES[number]] = None if value is None else _WRITE[number](value, row)
    if shape.depth:
        sides = {n: _levels(row[n], row, shape.depth) for n in field.LADDERS if revs[n] > since}
        if sides:
            wire["depth"] = {_NAMES[number]: levels for number, levels in sides.items()}
    if len(wire) == 1:
        return None
    wire["rev"] = row.rev
    return wire


def columns(shape: Shape) -> tuple[tuple[int, bytes, int], ...]:
    """Return the fields of a shape as _sheet.c takes them: number, key and kind."""
    kinds = [Kind.MONEY if (kind := field.FIELDS[number].kind) is Kind.PERCENT else kind for number in shape.numbers]
    return tuple(
        (number, f',"{_NAMES[number]}":'.encode(), _KINDS.index(kind))
        for number, kind in zip(shape.numbers, kinds, strict=True)
    )


def describe(row: Row) -> dict[str, Any]:
    """Return what does not move of a quote."""
    instrument = row.instrument
    wire = {"id": instrument.id, "company_name": instrument.name, "isin": instrument.isin, "group": instrument.group}
    return {name: value for name, value in wire.items() if value}


def encode(value: object, *, binary: bool) -> bytes:
    """Encode one message or quote as JSON or MessagePack."""
    return _msgpack.encode(value) if binary else _json.encode(value)


class Encoder:
    """All encodings of one shape. Whole quotes are kept until their row changes; deltas are made once a flush."""

    __slots__ = ("_columns", "_encode", "_kept", "shape")

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self._kept: dict[str, tuple[int, bytes]] = {}
        self._encode = _msgpack.encode if shape.binary else _json.encode
        self._columns = None if shape.binary or shape.depth else columns(shape)

    def full(self, row: Row) -> bytes:
        """Return the whole quote."""
        kept = self._kept.get(row.symbol)
        if kept is not None and kept[0] == row.rev:
            return kept[1]
        encoded = self._encode(full(row, self.shape))
        self._kept[row.symbol] = (row.rev, encoded)
        return encoded

    def delta(self, row: Row, since: int) -> bytes:
        """Return the fields that changed after `since`, or nothing."""
        return self.deltas([row], since)[0]

    def deltas(self, rows: list[Row], since: int) -> list[bytes]:
        """Return `delta` of each row."""
        written = [None] * len(rows) if self._columns is None else deltas_in_json(rows, since, self._columns)
        return [self._in_python(row, since) if each is None else each for row, each in zip(rows, written, strict=True)]

    def _in_python(self, row: Row, since: int) -> bytes:
        wire = delta(row, self.shape, since)
        return b"" if wire is None else self._encode(wire)

    def forget(self) -> None:
        """Drop what is kept: a new epoch may have redefined instruments."""
        self._kept.clear()


class WholeRows:
    """An encoder of a dialect: a row is always written whole, so a change and a snapshot are the same bytes.

    Made once per revision of a row, for however many clients, flushes and catchings-up.
    """

    __slots__ = ("_kept", "_write", "shape")

    def __init__(self, shape: Shape, write: Callable[[Row], bytes]) -> None:
        self.shape = shape
        self._write = write
        self._kept: dict[str, tuple[int, bytes]] = {}

    def full(self, row: Row) -> bytes:
        """Return the row, or nothing where there is nothing to show of it yet."""
        kept = self._kept.get(row.symbol)
        if kept is not None and kept[0] == row.rev:
            return kept[1]
        encoded = self._write(row)
        self._kept[row.symbol] = (row.rev, encoded)
        return encoded

    def delta(self, row: Row, since: int) -> bytes:
        """Return the whole row if one of the fields shown changed after `since`, or nothing."""
        revs = row.revs
        return self.full(row) if any(revs[number] > since for number in self.shape.numbers) else b""

    def deltas(self, rows: list[Row], since: int) -> list[bytes]:
        """Return `delta` of each row."""
        return [self.delta(row, since) for row in rows]

    def forget(self) -> None:
        """Drop what is kept: a new epoch may have redefined instruments."""
        self._kept.clear()
