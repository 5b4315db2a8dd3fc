"""Recordings: what a feed said, batch by batch, in a file that needs nothing else to be played again.

Framed as in domain/record.py. First `about`, then the batches as they came, before the guard; empty ones, which only
say that time passes, are left out. Last the `trailer`, whose SHA-256 is of every byte before it; a recording without
one was cut off, and is whole up to its end.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import msgspec

from bhavcast.domain import record
from bhavcast.domain.change import UNDECODABLE
from bhavcast.domain.errors import BadFile, BadRecord, UnknownFormat
from bhavcast.domain.record import Decoder, Record
from bhavcast.domain.tick import Batch, Source
from bhavcast.domain.universe import Universe

ABOUT: Final = 1
BATCH: Final = 2
TRAILER: Final = 3

_CHUNK: Final = 256 * 1024
_T = TypeVar("_T")
_encode = msgspec.msgpack.Encoder().encode


class About(msgspec.Struct, frozen=True, kw_only=True):
    """Where a recording comes from, and the market it speaks of.

    `origin` says in words what was recorded, `source` is the feed's own description, `date` the trading date
    (2026-11-23), `started` market time in milliseconds. `universe_hash` is `fingerprint(universe)`.
    """

    origin: str
    source: Source
    date: str
    started: int
    universe: Universe
    universe_hash: str
    program: str = ""


class Trailer(msgspec.Struct, frozen=True, kw_only=True):
    """What a complete recording contains; `first` and `last` are market times of batches, 0 where there are none."""

    batches: int
    ticks: int
    first: int
    last: int
    sha256: str


_decode_about = msgspec.msgpack.Decoder(About).decode
_decode_trailer = msgspec.msgpack.Decoder(Trailer).decode
_decode_batch = msgspec.msgpack.Decoder(Batch).decode


@dataclass(frozen=True)
class Recording:
    """A recording whose every byte was checked.

    `trailer` is None where it was cut off; then `torn` bytes at its end are of a batch that is not whole.
    """

    path: Path
    about: About
    batches: int
    trailer: Trailer | None
    torn: int

    @property
    def warning(self) -> str | None:
        """What a person should know before it is played, or None."""
        if self.trailer is not None:
            return None
        return f"{self.path.name} was cut off: {self.batches} batches are whole, {self.torn} bytes after them are not"


def fingerprint(universe: Universe) -> str:
    """Return the SHA-256 of a universe, the same however its dictionaries are ordered."""
    return hashlib.sha256(msgspec.msgpack.encode(universe, order="sorted")).hexdigest()


def about(*, origin: str, source: Source, date: str, started: int, universe: Universe, program: str = "") -> About:
    """Describe a recording that begins now."""
    return About(
        origin=origin,
        source=source,
        date=date,
        started=started,
        universe=universe,
        universe_hash=fingerprint(universe),
        program=program,
    )


class Recorder:
    """Write a recording; each batch is one write, so that only the last can be torn. Leaving it writes the trailer.

    Raises:
        BadFile: there is already a file of this name.
        OSError: the disk does not take it; what was written before is a recording that was cut off.
    """

    def __init__(self, path: Path, description: About) -> None:
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            raise BadFile(f"{path} exists; a recording is never written over") from None
        self._hash = hashlib.sha256()
        self._open = True
        self._first = self._last = 0
        self.batches = self.ticks = 0
        self._write(record.header(record.RECORDING))
        self._write(record.frame(ABOUT, _encode(description)))

    def write(self, batch: Batch) -> None:
        """Add a batch; an empty one is left out."""
        if not batch.ticks:
            return
        self._write(record.frame(BATCH, _encode(batch)))
        self.batches += 1
        self.ticks += len(batch.ticks)
        self._first = self._first or batch.received
        self._last = batch.received

    def close(self) -> None:
        """Write the trailer and sync; idempotent."""
        if not self._open:
            return
        self._open = False
        trailer = Trailer(
            batches=self.batches,
            ticks=self.ticks,
            first=self._first,
            last=self._last,
            sha256=self._hash.hexdigest(),
        )
        try:
            self._write(record.frame(TRAILER, _encode(trailer)))
            os.fsync(self._fd)
        finally:
            os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, framed: bytes) -> None:
        view = memoryview(framed)
        while view:
            view = view[os.write(self._fd, view) :]
        self._hash.update(framed)


def inspect(path: Path) -> Recording:
    """Check every byte of a recording and say what it is; reads it once, in bounded memory.

    Raises:
        BadFile: it is damaged, or not a recording; the byte is named.
        UnknownFormat: it is of a version that this program does not read.
        OSError: it cannot be read.
    """
    decoder = Decoder(record.RECORDING)
    checking = _Checking()
    try:
        for item in record.records(_chunks(path), decoder):
            checking.take(item, decoder.version)
        checking.end(decoder)
    except UnknownFormat as error:
        raise UnknownFormat(f"{path}: {error.detail}") from None
    except BadRecord as error:
        raise BadFile(f"{path.name}: {error.detail}") from error
    return Recording(path, checking.about, checking.batches, checking.trailer, decoder.pending)


def batches(path: Path) -> Iterator[Batch]:
    """Yield the batches of a recording up to a torn tail, holding one piece of it in memory.

    Raises:
        BadRecord: at damage; the byte is named.
        OSError: it cannot be read.
    """
    for item in record.records(_chunks(path), Decoder(record.RECORDING)):
        if item.type == BATCH:
            yield _decoded(item, _decode_batch)


class _Checking:
    """The records of a recording, counted and summed; BadRecord where they are not in order."""

    about: About

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._begun = False
        self.batches = 0
        self.trailer: Trailer | None = None

    def take(self, item: Record, version: int) -> None:
        """Check the next record of a file of this version."""
        expected = (ABOUT,) if not self._begun else () if self.trailer else (BATCH, TRAILER)
        if item.type not in expected:
            raise BadRecord(f"a record of type {item.type} out of place at byte {item.offset}", offset=item.offset)
        if item.type == TRAILER:
            self._trailer(item)
            return
        if item.type == ABOUT:
            self._hash.update(record.header(record.RECORDING, version))
        self._hash.update(record.frame(item.type, item.payload))
        if item.type == BATCH:
            self.batches += 1
        else:
            self.about = _decoded(item, _decode_about)
            self._begun = True

    def end(self, decoder: Decoder) -> None:
        """Judge where the file ends."""
        if not self._begun:
            raise BadRecord(f"it ends at byte {decoder.offset} before it says what it is", offset=decoder.offset)
        if self.trailer is not None and decoder.pending:
            raise BadRecord(f"{decoder.pending} bytes after its end at byte {decoder.offset}", offset=decoder.offset)

    def _trailer(self, item: Record) -> None:
        trailer = _decoded(item, _decode_trailer)
        found = self._hash.hexdigest()
        if (trailer.batches, trailer.sha256) != (self.batches, found):
            raise BadRecord(
                f"the trailer at byte {item.offset} speaks of {trailer.batches} batches and {trailer.sha256}, "
                f"the file has {self.batches} and {found}",
                offset=item.offset,
            )
        self.trailer = trailer


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _decoded(item: Record, decoder: Callable[[bytes], _T]) -> _T:
    """Decode a record's content, naming its place where that fails."""
    try:
        return decoder(item.payload)
    except UNDECODABLE as error:
        raise BadRecord(f"unreadable content at byte {item.offset}: {error}", offset=item.offset) from error
