"""Journals of epochs that are over: sealed, and removed when they are too old or too many.

A sealed journal is the same bytes as one Zstandard frame with a checksum over all of them. It is read like any other.
The one being written and the newest of the others are never removed: a start needs the first, and where that turns out
to be unusable, the second. Nor is one that a newer Bhavcast wrote: what it is worth cannot be known here.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import structlog
import zstandard

from bhavcast.domain.errors import BadRecord, UnknownFormat
from bhavcast.journal import layout, reader

log = structlog.get_logger()

DAY_MS: Final = 86_400_000
_CHUNK: Final = 1024 * 1024
_LEVEL: Final = 6  # 3 is a fifth faster and 5 % larger: this runs once a day, beside everything else


class Tidied(NamedTuple):
    """What was done."""

    sealed: int
    removed: int


def tidy(current: Path, now_ms: int, *, keep_days: int, keep_bytes: int, stopped: Callable[[], bool]) -> Tidied:
    """Seal every journal beside `current`, and remove the oldest that are over age or over the bytes.

    `stopped` is asked at every megabyte whether to leave off. What cannot be sealed or removed stays as it is and is said in the log; the next call tries again.
    """
    for leftover in current.parent.glob(f"*{layout.SEALED_SUFFIX}{layout.UNFINISHED_SUFFIX}"):
        leftover.unlink(missing_ok=True)
    sealed = 0
    for path in current.parent.glob(f"*{layout.SUFFIX}"):
        if path == current:
            continue
        try:
            seal(path, stopped)
            sealed += 1
        except (OSError, BadRecord) as error:
            log.warning("journal not sealed", file=path.name, why=str(error))
    return Tidied(sealed, _retain(current, now_ms, keep_days, keep_bytes))


def seal(path: Path, stopped: Callable[[], bool] = lambda: False) -> Path:
    """Compress a journal with a checksum; the original goes once the sealed one was read back from the disk.

    Raises:
        OSError: there is no room, the disk fails, or it is to leave off; the original stands.
        BadRecord: what was read back is not what was written; the original stands.
    """
    sealed = path.with_suffix(layout.SEALED_SUFFIX)
    unfinished = sealed.with_name(sealed.name + layout.UNFINISHED_SUFFIX)
    times = path.stat()
    try:
        with path.open("rb") as plain, os.fdopen(_private(unfinished), "wb") as packed:
            packing = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compressobj(size=times.st_size)
            while chunk := plain.read(_CHUNK):
                _go_on(stopped)
                packed.write(packing.compress(chunk))
            packed.write(packing.flush())
            packed.flush()
            os.fsync(packed.fileno())
        # The times order journals of equal revision, and say how old one is.
        os.utime(unfinished, ns=(times.st_atime_ns, times.st_mtime_ns))
        unfinished.rename(sealed)
        _read_back(path, sealed, stopped)
    except (OSError, BadRecord):
        for leftover in (unfinished, sealed):
            with contextlib.suppress(OSError):
                leftover.unlink(missing_ok=True)
        raise
    layout.sync_directory(path.parent)
    path.unlink()
    return sealed


def _private(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _go_on(stopped: Callable[[], bool]) -> None:
    if stopped():
        raise InterruptedError("the program stops; the next start does it")


def _read_back(path: Path, sealed: Path, stopped: Callable[[], bool]) -> None:
    with path.open("rb") as plain:
        for chunk in reader.chunks(sealed):
            _go_on(stopped)
            if plain.read(len(chunk)) != chunk:
                raise BadRecord(f"{sealed.name} is not what {path.name} is")
        if plain.read(1):
            raise BadRecord(f"{sealed.name} is shorter than {path.name}")


def _retain(current: Path, now_ms: int, keep_days: int, keep_bytes: int) -> int:
    removed, room = 0, keep_bytes
    for number, path in enumerate(_newest_first(current)):
        status = path.stat()
        room -= status.st_size
        old = now_ms - status.st_mtime_ns // 1_000_000 > keep_days * DAY_MS
        if number == 0 or not (old or room < 0):
            continue
        try:
            path.unlink()
            layout.pointer_path(path).unlink(missing_ok=True)
        except OSError as error:
            log.warning("journal not removed", file=path.name, why=str(error))
        else:
            removed += 1
    return removed


def _newest_first(current: Path) -> Iterator[Path]:
    """Yield the readable journals of our time besides `current`, by the revision they begin with; then those that nobody can read."""
    readable: list[tuple[int, Path]] = []
    unreadable: list[Path] = []
    for path in reader.journals(current.parent):
        if path == current:
            continue
        try:
            readable.append((reader.read_opening(path).rev, path))
        except UnknownFormat:
            continue
        except (BadRecord, OSError):
            unreadable.append(path)
    yield from (path for _, path in sorted(readable, reverse=True))
    yield from unreadable
