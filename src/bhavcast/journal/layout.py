"""What stands in a journal: its records, its pointer, and the names of its files.

`2026-11-23-20261123T0345Z-9f1c03ab77de5a20.journal` holds one epoch: records framed as in domain/record.py. Beside it,
`….pointer` says where the last checkpoint begins and whether every write since then succeeded:

    02  00 00 00 00 00 0c 41 7e  01  1a 4a 84 ea        version 2, offset 803198, sound, CRC-32 of what is before

The pointer is 14 bytes that are overwritten in place, which needs no room: a writer whose disk is full can still say
so.
"""

import contextlib
import fcntl
import os
import struct
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from bhavcast.domain.change import UNDECODABLE
from bhavcast.domain.errors import BadRecord
from bhavcast.domain.format import POINTER

OPEN: Final = 1
CHECKPOINT: Final = 2
MESSAGE: Final = 3
CLOSE: Final = 4

SUFFIX: Final = ".journal"
SEALED_SUFFIX: Final = ".journal.zst"
POINTER_SUFFIX: Final = ".pointer"
UNFINISHED_SUFFIX: Final = ".unfinished"

_GET_GENERATION: Final = 0x80087601  # FS_IOC_GETVERSION of linux/fs.h
_IST: Final = timedelta(hours=5, minutes=30)
_POINTER: Final = struct.Struct(">BQBI")
_POINTER_SUMMED: Final = struct.Struct(">BQB")
_POINTER_1: Final = struct.Struct(">QBI")  # had no version: its length tells it
POINTER_SIZE: Final = _POINTER.size


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """The `open` record: who writes, and since which start of the machine.

    `file` is the `identity` of this very file: a copy that was put back is another one, and no epoch goes on in it. `directory_token` and `run_id` (of Redis, empty without) are compared with what the bus
    knows. `started` is wall time, `market` market time, both in milliseconds. `resumed`: the epoch went on here.
    """

    epoch: str
    rev: int
    token: int
    boot_id: str
    file: str
    directory_token: str = ""
    run_id: str = ""
    program: str = ""
    started: int = 0
    market: int = 0
    resumed: bool = False


class Pointer(NamedTuple):
    """Where the last checkpoint begins, and whether nothing has been lost since."""

    offset: int
    sound: bool

    def pack(self) -> bytes:
        """Return the bytes of the pointer file."""
        summed = _POINTER_SUMMED.pack(POINTER.written, self.offset, self.sound)
        return summed + zlib.crc32(summed).to_bytes(4, "big")


def unpack_pointer(content: bytes) -> Pointer | None:
    """Read a pointer file; None where it does not add up, or is of a version that this program does not read.

    Then the last checkpoint is found the long way, and its epoch does not go on: nobody vouches for it.
    """
    version = pointer_version(content)
    if version not in (1, POINTER.version) or zlib.crc32(content[:-4]) != int.from_bytes(content[-4:], "big"):
        return None
    offset, sound, _ = _POINTER_1.unpack(content) if version == 1 else _POINTER.unpack(content)[1:]
    return Pointer(offset, sound == 1)


def pointer_version(content: bytes) -> int | None:
    """Return the version of a pointer file; None where it is none."""
    if len(content) == _POINTER_1.size:
        return 1
    version = content[0] if content else None
    return version if version != POINTER.version or len(content) == POINTER_SIZE else None


def decode_opening(payload: bytes) -> Opening:
    """Read an `open` record; raise BadRecord for anything else."""
    try:
        return msgspec.msgpack.decode(payload, type=Opening)
    except UNDECODABLE as error:
        raise BadRecord(f"not an open record: {error}") from error


def file_name(market_ms: int, epoch: str) -> str:
    """Return the name of an epoch's journal: the date in India at `market_ms`, and the epoch."""
    date = (datetime.fromtimestamp(market_ms / 1000, UTC) + _IST).date()
    return f"{date.isoformat()}-{epoch}{SUFFIX}"


def pointer_path(journal: Path) -> Path:
    """Return where the pointer of this journal lies."""
    return journal.with_name(unsealed_name(journal)).with_suffix(POINTER_SUFFIX)


def unsealed_name(journal: Path) -> str:
    """Return the name that a journal has, or had before it was sealed."""
    return journal.name.removesuffix(".zst")


def identity(fd: int) -> str:
    """Return which file this is: device, inode, and the inode's generation, for numbers of removed files are reused."""
    status = os.fstat(fd)
    generation = bytearray(8)
    with contextlib.suppress(OSError):  # tmpfs and others keep none; they do not reuse numbers soon
        fcntl.ioctl(fd, _GET_GENERATION, generation)
    return f"{status.st_dev:x}:{status.st_ino:x}:{generation.hex()}"


def sync_directory(directory: Path) -> None:
    """Make names that were made, changed or removed there survive a power cut."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
