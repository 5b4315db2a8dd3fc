"""Reading journals: the state to go on from, and everything that was ever said."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

import zstandard

from bhavcast.domain import record
from bhavcast.domain.change import Folding, Message, Snapshot, decode, decode_snapshot
from bhavcast.domain.errors import BadRecord, BusHole, UnknownFormat
from bhavcast.domain.format import JOURNAL
from bhavcast.domain.record import Decoder, Record
from bhavcast.journal import layout
from bhavcast.journal.layout import Opening

_CHUNK: Final = 1024 * 1024
_T = TypeVar("_T")


@dataclass(frozen=True)
class Recovered:
    """What one journal file holds.

    `snapshot` is the last whole checkpoint with the `messages` after it folded in, and complete at its own position
    whatever follows. `whole`: nothing between that checkpoint and the end of the file is missing or damaged; else
    `reason` says what, and `offset` where. A torn tail is not damage: `end` is where the whole records end, `torn` the
    number of bytes after it. `version`: of the file. `original`: it is the file that was written, not a copy of it. `sound`: the writer reported no failed write since the checkpoint. `closed`: the
    last record is a planned end.
    """

    path: Path
    version: int
    opening: Opening
    snapshot: Snapshot
    checkpoint: int
    messages: int
    end: int
    torn: int
    original: bool
    sound: bool
    whole: bool
    closed: bool
    reason: str = ""
    offset: int | None = None


@dataclass(frozen=True)
class Recovery:
    """What to start from: the newest readable state, whether its epoch goes on, and why (not).

    Without any journal `snapshot` is None. `skipped` names files that could not be used, with the reason.
    """

    snapshot: Snapshot | None
    continues: bool
    reason: str
    path: Path | None = None
    end: int = 0
    torn: int = 0
    opening: Opening | None = None
    skipped: list[str] = field(default_factory=list)

    @property
    def token(self) -> int:
        """The newest token that any writer of this journal had; 0 without one."""
        opened = 0 if self.opening is None else self.opening.token
        return max(opened, 0 if self.snapshot is None else self.snapshot.token)

    @property
    def market(self) -> int | None:
        """The last market time that is known, in milliseconds."""
        return None if self.snapshot is None else self.snapshot.market


def recover(directory: Path, boot_id: str) -> Recovery:
    """Return the newest state in `directory`, and whether its epoch may go on under the boot `boot_id`.

    The epoch goes on only when nothing that was written can be missing: state.md, "Epoch", (a). Whether the bus agrees
    (b) is for the caller to find out, with `opening.run_id` and `opening.directory_token`.

    Raises:
        UnknownFormat: a newer Bhavcast wrote there. To begin anew beside what it wrote would be to forget that.
    """
    candidates, skipped, spoiled = _candidates(directory)
    for path, opening in candidates:
        try:
            recovered = read(path)
        except UnknownFormat:
            raise
        except (BadRecord, OSError) as error:
            skipped.append(f"{path.name}: {error}")
            spoiled = True
            continue
        reason = _why_not(recovered, boot_id) or ("a newer journal is unusable" if spoiled else "")
        return Recovery(
            snapshot=recovered.snapshot,
            continues=not reason,
            reason=reason or "the journal is whole",
            path=path,
            end=recovered.end,
            torn=recovered.torn,
            opening=opening,
            skipped=skipped,
        )
    return Recovery(None, continues=False, reason="no usable journal" if skipped else "no journal", skipped=skipped)


def read(path: Path) -> Recovered:
    """Read a journal from its last whole checkpoint.

    Raises:
        BadRecord: it is no journal, or has no whole checkpoint.
        OSError: it cannot be read.
    """
    version, opening = _begin(path)
    pointer = _pointer(path)
    begin = None if pointer is None else _checkpoint_at(path, pointer.offset)
    if begin is None:
        begin = _last_checkpoint(path)
    if begin is None:
        raise BadRecord(f"{path.name} has no whole checkpoint")
    return _read_from(path, version, opening, begin, sound=pointer is not None and pointer.sound)


def messages(path: Path) -> Iterator[Message]:
    """Yield every message of a journal in order, up to a torn tail.

    Raises:
        BadRecord: at damage, after the messages before it.
        OSError: it cannot be read.
    """
    for item in records(path):
        if item.type == layout.MESSAGE:
            yield _decoded(item, decode)


def records(path: Path) -> Iterator[Record]:
    """Yield every record of a journal, sealed or not, up to a torn tail; raise as `messages` does."""
    yield from record.records(chunks(path, 0), Decoder(record.JOURNAL))


def read_opening(path: Path) -> Opening:
    """Return the record with which a journal begins; raise BadRecord or OSError where there is none."""
    return _begin(path)[1]


def version_of(path: Path) -> int | None:
    """Return the version of a journal, sealed or not; None where it is none. Raise OSError where it cannot be read."""
    try:
        return record.version_of(next(chunks(path, 0, 4096), b""))
    except BadRecord:
        return None


def _begin(path: Path) -> tuple[int, Opening]:
    decoder = Decoder(record.JOURNAL)
    try:
        first = next(record.records(chunks(path, 0, 4096), decoder), None)
    except UnknownFormat as error:
        raise UnknownFormat(f"{path}: {error.detail}") from None
    if first is None or first.type != layout.OPEN:
        raise BadRecord(f"{path.name} does not begin with an open record", offset=record.HEADER_SIZE)
    return decoder.version, layout.decode_opening(first.payload)


def _candidates(directory: Path) -> tuple[list[tuple[Path, Opening]], list[str], bool]:
    """Return the journals, newest first; what was skipped; and whether one that was skipped may be the newest."""
    found: list[tuple[int, int, Path, Opening]] = []
    skipped: list[str] = []
    newest_skipped = 0
    for path in journals(directory):
        changed = path.stat().st_mtime_ns
        try:
            opening = read_opening(path)
        except UnknownFormat:
            raise
        except (BadRecord, OSError) as error:
            skipped.append(f"{path.name}: {error}")
            newest_skipped = max(newest_skipped, changed)
        else:
            found.append((opening.rev, changed, path, opening))
    # Revisions rise across epochs whatever the clocks do; names and times of files do not.
    found.sort(key=lambda entry: entry[:2], reverse=True)
    spoiled = bool(found) and newest_skipped >= found[0][1]
    return [(path, opening) for _, _, path, opening in found], skipped, spoiled


def _why_not(recovered: Recovered, boot_id: str) -> str:
    """Return why the epoch may not go on; empty where it may."""
    if not recovered.whole:
        return recovered.reason
    if not recovered.sound:
        return "a write failed since the last checkpoint"
    if not boot_id or recovered.opening.boot_id != boot_id:
        return "the machine was started anew since: what was not yet synced may be gone"
    if recovered.version != JOURNAL.version:
        return "the journal is of an earlier version of its format"
    if not recovered.original:
        return "the file was copied or restored"
    return ""


def _pointer(path: Path) -> layout.Pointer | None:
    try:
        return layout.unpack_pointer(layout.pointer_path(path).read_bytes())
    except FileNotFoundError:
        return None


def journals(directory: Path) -> list[Path]:
    """Return the journals of a directory by name, sealed or not; of one that is there in both forms the unsealed."""
    found = {path.with_name(layout.unsealed_name(path)): path for path in directory.glob(f"*{layout.SEALED_SUFFIX}")}
    found |= {path: path for path in directory.glob(f"*{layout.SUFFIX}")}
    return [found[name] for name in sorted(found)]


def chunks(
    path: Path, offset: int = 0, size: int = _CHUNK, told: Callable[[int], None] = lambda _read: None
) -> Iterator[bytes]:
    """Yield the journal's bytes from `offset` on, of a sealed one those before it was; `told` hears what was read."""
    with path.open("rb", buffering=0) as file:
        if path.name.endswith(layout.SEALED_SUFFIX):
            yield from _unsealed(file, path, offset, size, told)
            return
        while chunk := os.pread(file.fileno(), size, offset):
            offset += len(chunk)
            told(offset)
            yield chunk


def _unsealed(file: BinaryIO, path: Path, skip: int, size: int, told: Callable[[int], None]) -> Iterator[bytes]:
    # By hand, because the library's reader takes a file that ends inside its frame for one that is complete.
    unpacking = zstandard.ZstdDecompressor().decompressobj()
    try:
        while not unpacking.eof:
            packed = file.read(size)
            if not packed:
                raise BadRecord(f"{path.name} ends before its checksum")
            told(file.tell())
            chunk = unpacking.decompress(packed)
            if skipped := min(skip, len(chunk)):
                chunk, skip = chunk[skipped:], skip - skipped
            if chunk:
                yield chunk
    except zstandard.ZstdError as error:
        raise BadRecord(f"{path.name} does not unpack: {error}") from error


def _checkpoint_at(path: Path, offset: int) -> int | None:
    """Return `offset` if a whole checkpoint begins there."""
    if offset < record.HEADER_SIZE:
        return None
    try:
        first = next(record.records(chunks(path, offset), Decoder(record.JOURNAL, offset=offset)), None)
    except BadRecord:
        return None
    return offset if first is not None and first.type == layout.CHECKPOINT else None


def _last_checkpoint(path: Path) -> int | None:
    """Find the last whole checkpoint before any damage, the long way; only where the pointer does not help."""
    last = None
    try:
        for item in record.records(chunks(path, 0), Decoder(record.JOURNAL)):
            if item.type == layout.CHECKPOINT:
                last = item.offset
    except BadRecord:
        pass  # what was found before it stands; reading from there will meet and report it
    return last


class _Reading:
    """The records from a checkpoint on, folded as they come."""

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.folding: Folding | None = None
        self.checkpoint = 0
        self.messages = 0
        self.closed = False
        self.hole: BusHole | None = None
        self.hole_at = 0

    @property
    def rev(self) -> int:
        """How far it is complete."""
        return 0 if self.folding is None else self.folding.rev

    def take(self, item: Record) -> None:
        """Use one record; raise BadRecord where it cannot be trusted."""
        self.closed = item.type == layout.CLOSE
        if item.type == layout.CHECKPOINT:
            self._begin(item)
        elif item.type == layout.MESSAGE:
            self._message(item)
        elif item.type not in (layout.OPEN, layout.CLOSE):
            raise BadRecord(f"unknown record type {item.type} at byte {item.offset}", offset=item.offset)

    def _begin(self, item: Record) -> None:
        snapshot = _decoded(item, decode_snapshot)
        if snapshot.epoch != self.epoch or snapshot.rev < self.rev:
            raise BadRecord(
                f"a checkpoint of another epoch or that goes back at byte {item.offset}", offset=item.offset
            )
        self.folding = Folding(snapshot)
        self.checkpoint, self.messages, self.hole = item.offset, 0, None

    def _message(self, item: Record) -> None:
        message = _decoded(item, decode)
        if self.hole is not None or self.folding is None:
            return  # only a checkpoint makes it whole again
        try:
            self.folding.apply(message)
        except BusHole as hole:
            self.hole, self.hole_at = hole, item.offset
        except BadRecord as error:
            raise BadRecord(f"{error.detail} at byte {item.offset}", offset=item.offset) from error
        else:
            self.messages += 1


def _read_from(path: Path, version: int, opening: Opening, begin: int, *, sound: bool) -> Recovered:
    decoder = Decoder(record.JOURNAL, offset=begin)
    reading = _Reading(opening.epoch)
    end, damage = begin, None
    try:
        for item in record.records(chunks(path, begin), decoder):
            reading.take(item)
            end = item.end
    except UnknownFormat:
        raise
    except BadRecord as error:
        damage = error
    if reading.folding is None:
        raise damage or BadRecord(f"{path.name} has no whole checkpoint", offset=begin)
    reason = damage.detail if damage else f"records are missing: {reading.hole.detail}" if reading.hole else ""
    return Recovered(
        path=path,
        version=version,
        opening=opening,
        snapshot=reading.folding.snapshot(),
        checkpoint=reading.checkpoint,
        messages=reading.messages,
        end=end,
        torn=0 if damage else decoder.pending,
        original=_identity(path) == opening.file,
        sound=sound,
        whole=not reason,
        closed=reading.closed,
        reason=reason,
        offset=damage.offset if damage else reading.hole_at if reading.hole else None,
    )


def _identity(path: Path) -> str:
    with path.open("rb", buffering=0) as file:
        return layout.identity(file.fileno())


def _decoded(item: Record, decoder: Callable[[bytes], _T]) -> _T:
    """Decode a record's content, naming its place where that fails."""
    try:
        return decoder(item.payload)
    except UnknownFormat:
        raise
    except BadRecord as error:
        raise BadRecord(f"{error.detail} at byte {item.offset}", offset=item.offset) from error
