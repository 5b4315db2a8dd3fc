"""What the hash in Redis holds once everything published has arrived: the writer's own sum of what it said.

With it nothing that waits for Redis needs a queue: whatever Redis lacks, from any revision on, is one message made from
the revisions of fields, facts and instruments.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from bhavcast.domain import field
from bhavcast.domain.change import VERSION, Change, Message, RowImage, Snapshot, known
from bhavcast.domain.digits import whole
from bhavcast.domain.errors import BadRecord, BusHole
from bhavcast.domain.field import Value, Values
from bhavcast.domain.format import BUS
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.position import Position

ROW, FACT, INSTRUMENT = "r:", "f:", "i:"
POSITION, FORMAT, MARKET, PLANNED = "_pos", "_format", "_market", "_planned"
MOST_VERSION: Final = 10**9 - 1

_encode: Final = msgspec.msgpack.Encoder().encode
_decode_row: Final = msgspec.msgpack.Decoder(RowImage).decode
_decode_fact: Final = msgspec.msgpack.Decoder().decode
_decode_instrument: Final = msgspec.msgpack.Decoder(tuple[int, Instrument]).decode
_NOTHING: Final = RowImage("", 0, [None] * field.COUNT, [0] * field.COUNT)


class Place(msgspec.Struct, frozen=True):
    """`epoch:rev:counter:writer`, the field `_pos`: how far the hash has come, and who brought it there."""

    epoch: str
    rev: int
    token: int
    writer: str

    def __str__(self) -> str:
        return f"{self.epoch}:{self.rev}:{self.token}:{self.writer}"

    @property
    def position(self) -> Position:
        """Return it as a reader's position."""
        return Position(self.epoch, self.rev)

    @classmethod
    def parse(cls, text: bytes) -> "Place":
        """Read the field; raise BadRecord for anything else."""
        parts = text.decode().split(":") if text.isascii() else []
        if len(parts) == 4 and (rev := whole(parts[1])) is not None and (token := whole(parts[2])) is not None:
            return cls(parts[0], rev, token, parts[3])
        raise BadRecord(f"expected epoch:rev:token:writer in {POSITION}, got {text[:80]!r}")


class _Row:
    """A row that is being written over; its lists are its own."""

    __slots__ = ("rev", "revs", "values")

    def __init__(self, image: RowImage) -> None:
        missing = field.COUNT - len(image.values)
        self.rev = image.rev
        self.values: list[Value] = [*image.values, *[None] * missing]
        self.revs = [*image.revs, *[0] * missing]


class Mirror:
    """The sum, and which parts of it have not been sent."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.epoch, self.rev, self.market, self.planned = (
            snapshot.epoch,
            snapshot.rev,
            snapshot.market,
            snapshot.planned,
        )
        self._rows = {row.symbol: _Row(row) for row in snapshot.rows}
        # What a snapshot says of facts and instruments has its revision, for all one can know.
        self._facts: dict[str, tuple[int, Any]] = {name: (self.rev, fact) for name, fact in snapshot.facts.items()}
        self._instruments = {each.symbol: (self.rev, i, each) for i, each in enumerate(snapshot.instruments)}
        self._dirty: set[str] = set()

    def apply(self, message: Message) -> None:
        """Add the next message; raise BusHole if it is not the next one."""
        if message.epoch != self.epoch or message.from_rev != self.rev + 1 or message.to_rev < message.from_rev:
            raise BusHole(
                f"expected revisions from {self.rev + 1} of epoch {self.epoch}, "
                f"got {message.from_rev} to {message.to_rev} of {message.epoch}"
            )
        rows, dirty = self._rows, self._dirty
        for change in message.changes:
            symbol, rev = change.symbol, change.rev
            row = rows.get(symbol)
            if row is None:
                row = rows[symbol] = _Row(_NOTHING)
            values, revs = row.values, row.revs
            for number, value in change.values.items():
                values[number] = value
                revs[number] = rev
            row.rev = rev
            dirty.add(ROW + symbol)
        for name, fact in message.facts.items():
            self._facts[name] = (message.to_rev, fact)
            dirty.add(FACT + name)
        for each in message.instruments:
            known = self._instruments.get(each.symbol)
            number = len(self._instruments) if known is None else known[1]
            self._instruments[each.symbol] = (message.to_rev, number, each)
            dirty.add(INSTRUMENT + each.symbol)
        self.rev, self.market = message.to_rev, max(self.market, message.published)

    def take_dirty(self) -> list[str | bytes]:
        """Return what changed since the last call, as it stands: names and values of the hash in turn."""
        fields = self._fields(self._dirty)
        self._dirty.clear()
        return fields

    def take_since(self, rev: int) -> list[str | bytes]:
        """Return what is newer than a revision, likewise."""
        self._dirty.update(ROW + symbol for symbol, row in self._rows.items() if row.rev > rev)
        self._dirty.update(FACT + name for name, (changed, _) in self._facts.items() if changed > rev)
        self._dirty.update(INSTRUMENT + symbol for symbol, known in self._instruments.items() if known[0] > rev)
        return self.take_dirty()

    def whole(self) -> list[str | bytes]:
        """Return everything, likewise."""
        self._dirty.clear()
        names = [ROW + symbol for symbol in self._rows]
        names += [FACT + name for name in self._facts]
        names += [INSTRUMENT + symbol for symbol in self._instruments]
        told: list[str | bytes] = [PLANNED, b"1" if self.planned else b"0", FORMAT, str(VERSION)]
        return [*told, *self._fields(names)]

    def since(self, rev: int, token: int) -> Message:
        """Return everything newer than a revision as one message, each field at the revision at which it changed."""
        by_rev: list[tuple[int, str, Values]] = []
        for symbol, row in self._rows.items():
            if row.rev > rev:
                newer: dict[int, Values] = {}
                for number, changed in enumerate(row.revs):
                    if changed > rev:
                        newer.setdefault(changed, {})[number] = row.values[number]
                by_rev += [(changed, symbol, values) for changed, values in newer.items()]
        by_rev.sort(key=lambda entry: entry[:2])
        return Message(
            epoch=self.epoch,
            token=token,
            from_rev=rev + 1,
            to_rev=self.rev,
            published=self.market,
            changes=[Change(symbol, changed, values) for changed, symbol, values in by_rev],
            facts={name: fact for name, (changed, fact) in self._facts.items() if changed > rev},
            instruments=[each for changed, _, each in self._instruments.values() if changed > rev],
        )

    def _fields(self, names: Iterable[str]) -> list[str | bytes]:
        fields: list[str | bytes] = [MARKET, str(self.market)]
        for name in names:
            kind, key = name[:2], name[2:]
            fields.append(name)
            if kind == ROW:
                row = self._rows[key]
                fields.append(_encode((key, row.rev, row.values, row.revs)))
            elif kind == FACT:
                fields.append(_encode(self._facts[key][1]))
            else:
                fields.append(_encode(self._instruments[key][1:]))
        return fields


def version_of(text: bytes | None) -> int:
    """Read the field `_format`; raise UnknownFormat where this program does not read that version."""
    found = whole(text or b"", MOST_VERSION) or 0
    BUS.check(found, f"what the bus holds ({FORMAT} is {text!r})")
    return found


def read(fields: dict[bytes, bytes]) -> Snapshot | None:
    """Turn the hash into the snapshot it is; None where no epoch has begun.

    Raises:
        UnknownFormat: it is of a version that this program does not read.
        BadRecord: it is damaged.
    """
    if (where := fields.get(POSITION.encode())) is None:
        return None
    version = version_of(fields.get(FORMAT.encode()))
    place = Place.parse(where)
    rows: dict[str, RowImage] = {}
    facts: dict[str, Any] = {}
    numbered: list[tuple[int, Instrument]] = []
    name = b""
    try:
        for name, value in fields.items():
            kind, key = name[:2].decode(), name[2:].decode()
            if kind == ROW:
                rows[key] = known(_decode_row(value), version)
            elif kind == FACT:
                facts[key] = _decode_fact(value)
            elif kind == INSTRUMENT:
                numbered.append(_decode_instrument(value))
    except (msgspec.DecodeError, ValueError) as error:
        raise BadRecord(f"{name[:80]!r} of the bus does not decode: {error}") from error
    if (market := whole(fields.get(MARKET.encode(), b""))) is None:
        raise BadRecord(f"expected market time in ms in {MARKET} of the bus")
    instruments = [each for _, each in sorted(numbered, key=lambda entry: entry[0])]
    listed = [row for each in instruments if (row := rows.pop(each.symbol, None)) is not None]
    return Snapshot(
        epoch=place.epoch,
        rev=place.rev,
        token=place.token,
        market=market,
        planned=fields[PLANNED.encode()] == b"1",
        rows=[*listed, *rows.values()],
        facts=facts,
        instruments=instruments,
    )
