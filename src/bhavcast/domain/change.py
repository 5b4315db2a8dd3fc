"""What the board says: changes with revisions, and the messages that carry them. Frozen, versioned, sent and stored."""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Annotated, Any, Final, TypeVar, overload

import msgspec

from bhavcast.domain import field
from bhavcast.domain.errors import BadRecord, BusHole
from bhavcast.domain.field import Value, Values
from bhavcast.domain.format import BUS
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.position import Position

VERSION: Final = BUS.written
# Microseconds of Unix time at least, so they fit eight bytes for a while.
Rev = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Change(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The fields of one scrip that changed at revision `rev`, with absolute values; None: has no value now."""

    symbol: str
    rev: Rev
    values: Values


class Message(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One entry of the bus and the journal: what happened from revision `from_rev` to `to_rev`, both included.

    `from_rev = previous to_rev + 1` always; a reader that finds otherwise takes a snapshot. `published` is market time,
    milliseconds. Exactly the kinds that are not empty are carried: `changes` (of quotes and indices), `facts` (feed
    states, market phase, gaps, the canary …: name → latest content), `instruments` (new ones).
    """

    version: int = VERSION
    epoch: str
    token: int
    from_rev: int
    to_rev: int
    published: int
    received: int = 0
    changes: Sequence[Change] = []
    facts: dict[str, Any] = {}
    instruments: list[Instrument] = []


class RowImage(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One row as it stands: per field its value and the revision at which it last changed (0: never had one)."""

    symbol: str
    rev: Rev
    values: list[Value]
    revs: list[Rev]


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything at one position: the first message of an epoch, a checkpoint of the journal, a reader's beginning.

    `planned` says that the step from the epoch before lost nothing (a day roll, an import). `market` is market time.
    """

    version: int = VERSION
    epoch: str
    rev: int
    token: int
    market: int
    planned: bool = False
    rows: list[RowImage]
    facts: dict[str, Any]
    instruments: list[Instrument]

    @property
    def position(self) -> Position:
        """The position at which this picture is complete."""
        return Position(self.epoch, self.rev)


_NONE: Final = b"\x90"  # an empty list


class _Heard(Message, frozen=True, gc=False, kw_only=True):
    changes: msgspec.Raw = msgspec.Raw(_NONE)  # type: ignore[assignment]  # `hear` puts Packed there


_What = TypeVar("_What", Message, Snapshot)
_encode = msgspec.msgpack.Encoder().encode
_decode_message = msgspec.msgpack.Decoder(Message).decode
_decode_heard = msgspec.msgpack.Decoder(_Heard).decode
_decode_changes = msgspec.msgpack.Decoder(list[Change]).decode
_decode_snapshot = msgspec.msgpack.Decoder(Snapshot).decode


class _Versioned(msgspec.Struct):
    version: int


_decode_version = msgspec.msgpack.Decoder(_Versioned).decode
# What a MessagePack decoder can say to arbitrary bytes (bad UTF-8 and times, unhashable keys, deep nesting included).
UNDECODABLE: Final = (msgspec.DecodeError, ValueError, TypeError, OverflowError, RecursionError)


def encode(what: Message | Snapshot | RowImage | Instrument) -> bytes:
    """Return the bytes that journal and bus carry, or a part of them: MessagePack, with the field numbers as keys."""
    return _encode(what)


def decode(payload: bytes | memoryview) -> Message:
    """Read a message; raise BadRecord for anything else, UnknownFormat for a version that this program does not read."""
    message = _read(payload, _decode_message, "message")
    return message if message.version == VERSION else _known(message)


class Packed(Sequence[Change]):
    """Changes as they came. They are read when somebody looks at one; that raises BadRecord where they are none."""

    def __init__(self, encoded: msgspec.Raw) -> None:
        self.encoded = encoded

    @cached_property
    def _read(self) -> list[Change]:
        try:
            return _decode_changes(self.encoded)
        except UNDECODABLE as error:
            raise BadRecord(f"not the changes of a message: {error}") from error

    def __bool__(self) -> bool:
        return memoryview(self.encoded).nbytes > len(_NONE)

    def __len__(self) -> int:
        return len(self._read)

    @overload
    def __getitem__(self, index: int) -> Change: ...
    @overload
    def __getitem__(self, index: slice) -> list[Change]: ...
    def __getitem__(self, index: int | slice) -> Change | list[Change]:
        return self._read[index]

    def __eq__(self, other: object) -> bool:
        return self._read == (other._read if isinstance(other, Packed) else other)

    __hash__ = None  # type: ignore[assignment]  # so says the language of what can be equal to a list


def hear(payload: bytes | memoryview) -> Message:
    """Read a message as `decode` does, but leave its changes as they came: whoever follows a bus puts them into rows.

    Those of a message that also brings instruments are read at once, so that a bad one does not leave half of it behind.
    """
    heard = _read(payload, _decode_heard, "message")
    if heard.version != VERSION or heard.instruments:
        return decode(payload)
    return Message(**msgspec.structs.asdict(heard) | {"changes": Packed(heard.changes)})  # type: ignore[arg-type]  # Raw as yet


def decode_snapshot(payload: bytes | memoryview) -> Snapshot:
    """Read a snapshot; raise as `decode` does."""
    snapshot = _read(payload, _decode_snapshot, "snapshot")
    if snapshot.version != VERSION:
        snapshot = msgspec.structs.replace(snapshot, rows=[known(row, snapshot.version) for row in snapshot.rows])
    for row in snapshot.rows:
        if len(row.values) != len(row.revs) or len(row.values) > field.COUNT:
            raise BadRecord(f"row {row.symbol!r} has {len(row.values)} values and {len(row.revs)} revisions")
    return snapshot


def _read(payload: bytes | memoryview, decoder: Callable[[bytes | memoryview], _What], name: str) -> _What:
    try:
        what = decoder(payload)
    except UNDECODABLE as error:
        _refuse_unknown(payload, name)
        raise BadRecord(f"not a {name}: {error}") from error
    if what.version != VERSION:
        BUS.check(what.version, f"a {name}")
    return what


def _refuse_unknown(payload: bytes | memoryview, name: str) -> None:
    """Raise UnknownFormat where a version stands in what cannot be read, and explains why."""
    try:
        found = _decode_version(payload).version
    except UNDECODABLE:
        return
    BUS.check(found, f"a {name}")


def _known(message: Message) -> Message:
    """Leave out the fields that were added to this version of the format since; other additions were passed over."""
    if not BUS.extended(message.version):
        return message
    known = ((each, {n: value for n, value in each.values.items() if n < field.COUNT}) for each in message.changes)
    changes = [Change(each.symbol, each.rev, values) for each, values in known if values]
    return msgspec.structs.replace(message, changes=changes)


def known(row: RowImage, version: int) -> RowImage:
    """Leave out the fields that were added to this version of the format since."""
    if not BUS.extended(version):
        return row
    return RowImage(row.symbol, row.rev, row.values[: field.COUNT], row.revs[: field.COUNT])


def refuse_redefinition(instruments: Iterable[Instrument], known: Callable[[str], Instrument | None]) -> None:
    """Raise BadRecord where a message would describe a known scrip otherwise than its epoch does.

    A reader's position means that what it holds is complete: which scrips are in a group, and what a price is counted in,
    must not change under it. So a message may bring scrips, and only a new epoch other descriptions.
    """
    for instrument in instruments:
        held = known(instrument.symbol)
        if held is not None and held != instrument:
            raise BadRecord(f"{instrument.symbol!r} is described otherwise within an epoch")


class _Row:
    """A row while messages are folded into it: what they said of it, by field number, over its image."""

    __slots__ = ("rev", "revs", "values")

    def __init__(self) -> None:
        self.rev = 0
        self.values: Values = {}
        self.revs: dict[int, int] = {}

    def over(self, symbol: str, image: RowImage | None) -> RowImage:
        """Return the image with this on top, of full length."""
        old_values, old_revs = ([], []) if image is None else (image.values, image.revs)
        missing = field.COUNT - len(old_values)
        values, revs = [*old_values, *[None] * missing], [*old_revs, *[0] * missing]
        for number, value in self.values.items():
            values[number] = value
            revs[number] = self.revs[number]
        return RowImage(symbol, self.rev, values, revs)


class Folding:
    """A snapshot being brought up to date, message by message; the snapshot it began with stays as it was."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._begin = snapshot
        self._images = {row.symbol: row for row in snapshot.rows}
        self._rows: dict[str, _Row] = {}
        self._facts = dict(snapshot.facts)
        self._instruments = {instrument.symbol: instrument for instrument in snapshot.instruments}
        self._market = snapshot.market
        self._token = snapshot.token
        self.epoch = snapshot.epoch
        self.rev = snapshot.rev

    def apply(self, message: Message) -> None:
        """Add the next message.

        Raises:
            BusHole: it is of another epoch, or is not the next one. Nothing of it was applied.
            BadRecord: it speaks of a field that does not exist, or redefines a scrip. Nothing of it was applied.
        """
        if message.epoch != self.epoch:
            raise BusHole(f"expected epoch {self.epoch}, got a message of {message.epoch}")
        if message.from_rev != self.rev + 1 or message.to_rev < message.from_rev:
            raise BusHole(f"expected revisions from {self.rev + 1}, got {message.from_rev} to {message.to_rev}")
        refuse_redefinition(message.instruments, self._instruments.get)
        for change in message.changes:
            if not change.values.keys() <= field.NUMBERS:
                raise BadRecord(f"a field number of {change.symbol!r} is not in 0 to {field.COUNT - 1}")
        for change in message.changes:
            row = self._rows.get(change.symbol)
            if row is None:
                row = self._rows[change.symbol] = _Row()
            row.rev = change.rev
            row.values.update(change.values)
            row.revs.update(dict.fromkeys(change.values, change.rev))
        self._facts.update(message.facts)
        self._instruments.update((instrument.symbol, instrument) for instrument in message.instruments)
        self._market = max(self._market, message.published)
        self._token = max(self._token, message.token)
        self.rev = message.to_rev

    def snapshot(self) -> Snapshot:
        """Return the picture at the last message."""
        changed = {symbol: row.over(symbol, self._images.get(symbol)) for symbol, row in self._rows.items()}
        return Snapshot(
            epoch=self.epoch,
            rev=self.rev,
            token=self._token,
            market=self._market,
            planned=self._begin.planned,
            rows=list({**self._images, **changed}.values()),
            facts=dict(self._facts),
            instruments=list(self._instruments.values()),
        )


def fold(snapshot: Snapshot, messages: Iterable[Message]) -> Snapshot:
    """Return `snapshot` brought up to date by the messages that follow it; raise as `Folding.apply` does."""
    folding = Folding(snapshot)
    for message in messages:
        folding.apply(message)
    return folding.snapshot()
