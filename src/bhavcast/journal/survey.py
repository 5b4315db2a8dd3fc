"""What a journal holds from its first byte to its last, for people: ranges, gaps, and whether the sums add up."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from bhavcast.domain import record
from bhavcast.domain.change import decode, decode_snapshot
from bhavcast.domain.errors import BadRecord
from bhavcast.domain.record import Decoder, Record
from bhavcast.journal import layout, reader

_NAMES = {layout.OPEN: "open", layout.CHECKPOINT: "checkpoint", layout.MESSAGE: "message", layout.CLOSE: "close"}


class Survey(msgspec.Struct, kw_only=True):
    """What was found in one journal.

    `gaps` are revisions whose messages are missing, made good by the checkpoint after them: the writer's disk failed.
    `holes` are missing with nothing that makes them good; `damage` ends the reading.
    `torn`: bytes of a record that was cut short, at the end. `stored` is the size on the disk, `bytes` unpacked.
    """

    file: str
    epoch: str = ""
    sealed: bool = False
    stored: int = 0
    bytes: int = 0
    messages: int = 0
    checkpoints: int = 0
    first_rev: int | None = None
    last_rev: int | None = None
    first_at: int | None = None
    last_at: int | None = None
    gaps: list[tuple[int, int]] = []
    holes: list[tuple[int, int]] = []
    torn: int = 0
    closed: bool = False
    damage: str | None = None

    def take(self, item: Record) -> None:
        """Count one record; raise BadRecord where its content cannot be read."""
        self.closed = item.type == layout.CLOSE
        if item.type == layout.OPEN:
            self.epoch = layout.decode_opening(item.payload).epoch
        elif item.type == layout.CHECKPOINT:
            snapshot = decode_snapshot(item.payload)
            self.checkpoints += 1
            self._reach(snapshot.rev + 1, snapshot.rev, snapshot.market, self.gaps)
        elif item.type == layout.MESSAGE:
            message = decode(item.payload)
            self.messages += 1
            self._reach(message.from_rev, message.to_rev, message.published, self.holes)
        elif item.type != layout.CLOSE:
            raise BadRecord(f"unknown record type {item.type} at byte {item.offset}", offset=item.offset)

    def _reach(self, from_rev: int, to_rev: int, at: int, missing: list[tuple[int, int]]) -> None:
        if self.last_rev is None:
            self.first_rev, self.first_at = to_rev, at
        elif from_rev > self.last_rev + 1:
            missing.append((self.last_rev + 1, from_rev - 1))
        self.last_rev, self.last_at = max(to_rev, self.last_rev or 0), at


class Line(msgspec.Struct, kw_only=True):
    """One record, shortly."""

    offset: int
    type: str
    bytes: int
    from_rev: int | None = None
    to_rev: int | None = None
    at: int | None = None
    rows: int = 0
    facts: list[str] = []


def survey(path: Path, tell: Callable[[float], None] = lambda _part: None) -> Survey:
    """Read a whole journal; `tell` hears which part of it is done. Raise OSError where it cannot be opened."""
    stored = path.stat().st_size
    found = Survey(file=path.name, sealed=path.name.endswith(layout.SEALED_SUFFIX), stored=stored)
    decoder = Decoder(record.JOURNAL)
    try:
        for item in record.records(reader.chunks(path, told=lambda read: tell(read / max(1, stored))), decoder):
            found.take(item)
            found.bytes = item.end
    except BadRecord as error:
        found.damage = error.detail
    else:
        found.torn = decoder.pending
    return found


def describe(item: Record) -> Line:
    """Return one record as it is shown; raise BadRecord where its content cannot be read."""
    line = Line(offset=item.offset, type=_NAMES.get(item.type, str(item.type)), bytes=item.end - item.offset)
    if item.type == layout.CHECKPOINT:
        snapshot = decode_snapshot(item.payload)
        line.to_rev, line.at, line.rows, line.facts = snapshot.rev, snapshot.market, len(snapshot.rows), []
    elif item.type == layout.MESSAGE:
        message = decode(item.payload)
        line.from_rev, line.to_rev, line.at = message.from_rev, message.to_rev, message.published
        line.rows, line.facts = len(message.changes), sorted(message.facts)
    elif item.type == layout.OPEN:
        opening = layout.decode_opening(item.payload)
        line.to_rev, line.at = opening.rev, opening.market
    return line
