"""Where keys are kept: `keys.json` in the data folder, for its owner alone.

    {"version": 1, "keys": [{"id": "5b1e9f02", "name": "desk", "role": "viewer", "sha256": "9f86d0…", "created": 1795405500000}]}

It is replaced as a whole, so whoever reads has the old or the new one; writers take turns.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from bhavcast.domain.access import Key
from bhavcast.domain.errors import BadFile
from bhavcast.domain.format import KEYS

NAME: Final = "keys.json"
MODE: Final = 0o600
MOST_BYTES: Final = 4 * 1024 * 1024
Stamp = tuple[int, int, int]


class _Content(msgspec.Struct, forbid_unknown_fields=True):
    """What is in it. A name that is not known is refused: it may say that a key opens less."""

    version: int
    keys: list[Key]


class _Versioned(msgspec.Struct):
    version: int


class KeyFile:
    """The key file of one data folder.

    `read` and `change` raise BadFile where it is no key file, UnknownFormat where this program does not read its version.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    def read(self) -> list[Key]:
        """Return the keys, none where there is no file."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise BadFile(f"{self.path}: {error.strerror}") from error
        try:
            KEYS.check(msgspec.json.decode(content[:MOST_BYTES], type=_Versioned).version, str(self.path))
            return msgspec.json.decode(content[:MOST_BYTES], type=_Content).keys
        except msgspec.DecodeError as error:
            raise BadFile(f"{self.path} — expected a key file, got: {error}") from error

    def stamp(self) -> Stamp | None:
        """Return what changes when the file does; None where there is none."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size

    @property
    def exposed(self) -> bool:
        """Whether others of this machine can read or write it."""
        with contextlib.suppress(FileNotFoundError):
            return bool(self.path.stat().st_mode & 0o077)
        return False

    @contextlib.contextmanager
    def change(self) -> Iterator[list[Key]]:
        """Hand out the list of keys to be changed, and keep what it is then; nothing changes where that raises."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)  # held for as long as a small file takes to be written
            keys = self.read()
            yield keys
            self._write(keys)
        finally:
            os.close(lock)

    def _write(self, keys: list[Key]) -> None:
        content = msgspec.json.format(msgspec.json.encode(_Content(KEYS.written, keys)), indent=1)
        aside = self.path.with_suffix(".new")
        aside.unlink(missing_ok=True)
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
        try:
            with open(fd, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(fd)
            aside.replace(self.path)
        except OSError:
            aside.unlink(missing_ok=True)
            raise
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
