"""The journal on disk: one file per epoch, one unbuffered write per record."""

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from bhavcast.domain import record
from bhavcast.domain.change import Message, Snapshot, encode
from bhavcast.journal import layout
from bhavcast.journal.layout import Opening, Pointer
from bhavcast.journal.reader import Recovery
from bhavcast.telemetry.clock import Clock

_FILE_MODE: Final = 0o600
_DIRECTORY_MODE: Final = 0o700


class _File:
    """An open journal and its pointer. `end` is where the last whole record ends; methods raise OSError."""

    def __init__(self, path: Path, epoch: str, fd: int, pointer_fd: int, end: int) -> None:
        self.path, self.epoch, self.end = path, epoch, end
        self._fd, self._pointer_fd = fd, pointer_fd
        self._checkpoint = 0

    @property
    def tail(self) -> int:
        """Bytes from the last checkpoint on."""
        return self.end - self._checkpoint

    def write(self, framed: bytes) -> None:
        """Write one record; a part of it may stand after `end` if that fails."""
        written = os.write(self._fd, framed)
        while written < len(framed):
            written += os.write(self._fd, memoryview(framed)[written:])
        self.end += written

    def checkpoint(self, snapshot: Snapshot, *, prove: bool = False) -> None:
        """Write a checkpoint and point to it; with `prove`, not before it is safely on the disk."""
        framed = record.frame(layout.CHECKPOINT, encode(snapshot))
        offset = self.end
        self.write(framed)
        if prove:
            self.sync()
        os.pwrite(self._pointer_fd, Pointer(offset, sound=True).pack(), 0)
        self._checkpoint = offset

    def cut(self) -> None:
        """Remove what a failed write left after the last whole record."""
        os.ftruncate(self._fd, self.end)

    def mark_unsound(self) -> None:
        """Say in the pointer that something was lost since the last checkpoint; needs no room on the disk."""
        os.pwrite(self._pointer_fd, Pointer(self._checkpoint, sound=False).pack(), 0)

    def sync(self) -> None:
        """Make journal and pointer survive a power cut."""
        os.fsync(self._fd)
        os.fsync(self._pointer_fd)

    def identity(self) -> str:
        """Return which file on which disk this is."""
        return layout.identity(self._fd)

    def close(self) -> None:
        """Let go of both descriptors."""
        for fd in (self._fd, self._pointer_fd):
            with contextlib.suppress(OSError):
                os.close(fd)


class FileJournal:
    """The Journal on disk; see docs/adr/0003-journal-format.md.

    After `recover()`: `resume(recovery)` where the epoch goes on, else `begin(snapshot)` of a new one. What cannot be
    written is dropped and counted in `lost`, what survives a power cut is known by `synced_rev`; and the loss is marked in the pointer file, so that no later start takes
    the epoch for whole; each checkpoint tries again, and once it is safely on the disk nothing is missing any more.
    What writes belongs to one caller, who waits for each call; `sync` and `close` may come from others meanwhile. After
    `close` nothing is written any more.

    Args:
        boot_id: the kernel's, or whatever else changes when what was written but not synced may be gone.
        directory_token: names the data directory towards the bus.
        run_id: of the Redis server at the time of `begin`, empty without one.
        program: version of this program, for the record.
    """

    def __init__(
        self,
        directory: Path,
        clock: Clock,
        *,
        boot_id: str,
        directory_token: str = "",
        run_id: str = "",
        program: str = "",
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._boot_id = boot_id
        self._directory_token = directory_token
        self._program = program
        self._file: _File | None = None
        self._closing = threading.Lock()  # the descriptor is being synced, or replaced
        self._writing = threading.Lock()  # a checkpoint, or an epoch's beginning
        self._closed = False
        self._open_again: Callable[[Snapshot], None] = self._begin
        self._failing: str | None = None
        self._marked = False
        self._written_rev = 0
        self.run_id = run_id
        self.lost = 0
        self.synced_rev = 0

    @property
    def failing(self) -> str | None:
        """Why records are being lost, or None."""
        return self._failing

    @property
    def path(self) -> Path | None:
        """The file being written, or None."""
        return None if self._file is None else self._file.path

    @property
    def size(self) -> int:
        """Bytes of whole records in the file being written."""
        return 0 if self._file is None else self._file.end

    @property
    def tail(self) -> int:
        """Bytes written since the last checkpoint began: what a recovery would have to read."""
        return 0 if self._file is None else self._file.tail

    def begin(self, snapshot: Snapshot) -> None:
        """Open an epoch: an fsynced `open` record and a checkpoint, in a file that appears complete or not at all."""
        with self._writing:
            self._begin(snapshot)

    def _begin(self, snapshot: Snapshot) -> None:
        self._open_again = self._begin
        if not self._closed:
            self._adopt(lambda: self._create(snapshot), snapshot.rev)

    def resume(self, recovery: Recovery) -> None:
        """Go on in the epoch that was recovered: cut the torn tail, write an fsynced `open` record and a checkpoint."""
        path, end, snapshot = recovery.path, recovery.end, recovery.snapshot
        if not recovery.continues or path is None or snapshot is None:
            raise ValueError(f"this epoch does not continue: {recovery.reason}")
        self._open_again = lambda latest: self._adopt(lambda: self._reopen(path, end, latest), latest.rev)
        self._open_again(snapshot)

    def append(self, message: Message, encoded: bytes | None = None) -> None:
        """Write one message; survives SIGKILL at once, a power cut after the next `sync`.

        `encoded` is `encode(message)` where the caller has it already.
        """
        file = self._file
        if self._failing is not None or file is None:
            self._lose()
            return
        framed = record.frame(layout.MESSAGE, encode(message) if encoded is None else encoded)
        try:
            file.write(framed)
        except OSError as error:
            self._fail("write", error)
            self._cut(file)
            self._lose()
        else:
            self._written_rev = message.to_rev

    def checkpoint(self, snapshot: Snapshot) -> None:
        """Write everything at one position; after a failure this is the attempt to be whole again."""
        with self._writing:
            if not self._closed:
                self._checkpoint(snapshot)

    def _checkpoint(self, snapshot: Snapshot) -> None:
        file = self._file
        if file is None:
            self._open_again(snapshot)
            return
        if file.epoch != snapshot.epoch:
            self._begin(snapshot)
            return
        missing = self._failing is not None
        if missing:
            self._be_whole_again(file, snapshot)
            return
        try:
            file.checkpoint(snapshot)
        except OSError as error:
            self._fail("checkpoint", error)
            self._cut(file)
        if self._failing is not None:  # found meanwhile by a `sync` in another thread, and the pointer says otherwise
            self._mark()

    def sync(self) -> None:
        """Make everything written survive a power cut."""
        with self._closing:
            if self._file is None:
                return
            rev = self._written_rev  # before the fsync: what is written meanwhile may not be in it
            try:
                self._file.sync()
            except OSError as error:
                self._fail("fsync", error)
            else:
                if self._failing is None:
                    self.synced_rev = rev

    def close(self) -> None:
        """Say that this was a planned end, sync and close; idempotent. Waits for what is being written."""
        with self._writing:
            self._closed = True
            self._replace(None)

    def _be_whole_again(self, file: _File, snapshot: Snapshot) -> None:
        # Alone with the descriptor: the kernel tells an error of writing back to one fsync only.
        with self._closing:
            try:
                file.cut()
                file.checkpoint(snapshot, prove=True)
            except OSError as error:
                self._fail("checkpoint", error)
                self._cut(file)
            else:
                self._failing = None
                self._written_rev = self.synced_rev = snapshot.rev

    def _adopt(self, open_file: Callable[[], _File], rev: int) -> None:
        try:
            file = open_file()
        except OSError as error:
            # What is published now stands in no journal: neither the epoch before nor any other may go on after this.
            self._fail("open", error)
            self._replace(None)
            self._disown()
            return
        self._replace(file)
        self._failing = None
        self._written_rev = self.synced_rev = rev

    def _create(self, snapshot: Snapshot) -> _File:
        if not self._directory.is_dir():
            self._directory.mkdir(mode=_DIRECTORY_MODE, parents=True)
        path = self._directory / layout.file_name(snapshot.market, snapshot.epoch)
        unfinished = path.with_suffix(layout.UNFINISHED_SUFFIX)
        file = _open(unfinished, snapshot.epoch, 0, layout.pointer_path(path), os.O_CREAT | os.O_TRUNC)
        try:
            file.write(record.header(record.JOURNAL))
            file.write(self._opening(file, snapshot, resumed=False))
            file.checkpoint(snapshot)
            file.sync()
            unfinished.rename(path)
            layout.sync_directory(self._directory)
        except OSError:
            file.close()
            for leftover in (unfinished, layout.pointer_path(path)):
                with contextlib.suppress(OSError):
                    leftover.unlink(missing_ok=True)
            raise
        file.path = path
        return file

    def _reopen(self, path: Path, end: int, snapshot: Snapshot) -> _File:
        file = _open(path, snapshot.epoch, end, layout.pointer_path(path), 0)
        try:
            file.cut()
            file.write(self._opening(file, snapshot, resumed=True))
            file.checkpoint(snapshot)
            file.sync()
        except OSError:
            file.close()
            raise
        return file

    def _opening(self, file: _File, snapshot: Snapshot, *, resumed: bool) -> bytes:
        opening = Opening(
            epoch=snapshot.epoch,
            rev=snapshot.rev,
            token=snapshot.token,
            boot_id=self._boot_id,
            file=file.identity(),
            directory_token=self._directory_token,
            run_id=self.run_id,
            program=self._program,
            started=self._clock.wall_ms(),
            market=snapshot.market,
            resumed=resumed,
        )
        return record.frame(layout.OPEN, msgspec.msgpack.encode(opening))

    def _replace(self, file: _File | None) -> None:
        with self._closing:
            old, self._file = self._file, file
            if old is None:
                return
            if self._failing is None:
                with contextlib.suppress(OSError):
                    old.write(record.frame(layout.CLOSE, b""))
                    old.sync()
            old.close()

    def _fail(self, doing: str, error: OSError) -> None:
        self._failing = f"{doing}: {error.strerror or error}"
        self._marked = False
        self._mark()

    def _cut(self, file: _File) -> None:
        with contextlib.suppress(OSError):  # else before the next checkpoint, and until then nothing is written
            file.cut()

    def _lose(self) -> None:
        self.lost += 1
        if self._failing is None:
            self._failing = "no epoch has begun"
        if not self._marked:
            self._mark()

    def _mark(self) -> None:
        if self._file is None:
            return
        with contextlib.suppress(OSError):
            self._file.mark_unsound()
            self._marked = True

    def _disown(self) -> None:
        for path in self._directory.glob(f"*{layout.POINTER_SUFFIX}"):
            with contextlib.suppress(OSError):
                pointer = layout.unpack_pointer(path.read_bytes())
                if pointer is None or pointer.sound:
                    offset = 0 if pointer is None else pointer.offset
                    with path.open("r+b", buffering=0) as file:
                        file.write(Pointer(offset, sound=False).pack())


def _open(path: Path, epoch: str, end: int, pointer: Path, flags: int) -> _File:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | flags, _FILE_MODE)
    try:
        # Never appended to: the mark of a failure must go over what stands there, where no new room is needed.
        pointer_fd = os.open(pointer, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)
    except OSError:
        os.close(fd)
        raise
    return _File(path, epoch, fd, pointer_fd, end)
