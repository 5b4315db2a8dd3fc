"""A value on disk: checked whole when it is read, swapped in at once when it is written.

A file is the magic with the version, the SHA-256 of the rest, and MessagePack.
"""

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from bhavcast.domain.errors import Unavailable
from bhavcast.domain.format import REFERENCE

MAGIC: Final = b"BHREF\x00\x00" + bytes([REFERENCE.written])
Kept = TypeVar("Kept")


def pack(what: Any) -> bytes:
    """Return the bytes that stand for a value."""
    payload = msgspec.msgpack.encode(what)
    return MAGIC + hashlib.sha256(payload).digest() + payload


def unpack(content: bytes, form: type[Kept]) -> Kept:
    """Return the value that bytes stand for; raise ValueError where they are not whole, or none of ours.

    Also raises UnknownFormat, where they are of a version that this program does not read.
    """
    start = len(MAGIC) + 32
    version = version_of(content)
    if version is None or len(content) < start:
        raise ValueError("it is torn, or no such file")
    REFERENCE.check(version, "it")
    if hashlib.sha256(content[start:]).digest() != content[len(MAGIC) : start]:
        raise ValueError("its checksum is wrong")
    return msgspec.msgpack.decode(content[start:], type=form)  # its errors are ValueErrors


def version_of(content: bytes) -> int | None:
    """Return the version of a file by its first bytes; None where it is none of ours."""
    return content[len(MAGIC) - 1] if content.startswith(MAGIC[:-1]) and len(content) >= len(MAGIC) else None


def write(path: Path, what: Any) -> None:
    """Write a value aside, make it durable, and give it its name; raise Unavailable if that fails, and leave nothing."""
    temporary = path.with_suffix(".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(pack(what))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise Unavailable(f"cannot store {path.name} in {path.parent}: {error}") from error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
