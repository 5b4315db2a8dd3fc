"""The right to write in a data directory: held by one process of this host, gone with it however it dies."""

import fcntl
import os
from pathlib import Path
from typing import Final

from bhavcast.domain.errors import NotTheWriter

WRITER: Final = "writer.lock"
SUPERVISOR: Final = "up.lock"  # of who watches over all processes of a data directory


class DirectoryLease:
    """A `flock` on `writer.lock` in the directory; the file holds the pid of its holder, for people.

    The file stays when the lease ends, because removing it would let two processes lock two files of one name. A child
    that runs another program does not inherit the lock; one that is forked and goes on shares it until `release`.
    """

    def __init__(self, directory: Path, name: str = WRITER) -> None:
        self._path = directory / name
        self._fd: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lease."""
        return self._fd is not None

    def acquire(self) -> None:
        """Take the lease at once, again without effect; the directory is made where there is none.

        Raises:
            NotTheWriter: another process has it; its pid is named.
            OSError: the directory cannot be written.
        """
        if self._fd is not None:
            return
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip() or "that has not yet said which"
            os.close(fd)
            raise NotTheWriter(f"{self._path.parent} is being written by process {holder}") from None
        except OSError:
            os.close(fd)
            raise
        self._fd = fd
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            pass  # on a full disk the lock holds all the same, only without a name on it

    def release(self) -> None:
        """Give it back; idempotent."""
        if self._fd is not None:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
            os.close(self._fd)
            self._fd = None
