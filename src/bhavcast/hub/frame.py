"""The messages that carry quotes, put together from rows that are encoded already.

JSON:        {"t":"u","pos":"20261123T0345Z-9f1c03ab77de5a20:123470","q":[{…},{…}]}
MessagePack: {"t":"u","pos":"…"} and the rows after it, consecutive objects in one frame, no outer count.
Dialects:    the rows alone; messages without quotes are nothing at all.

Fragments of JSON rows begin with a comma, so that any selection of them can be joined as it is; the first one's comma is
cut here.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from bhavcast.domain.shape import Shape

_json = msgspec.json.Encoder()
_msgpack = msgspec.msgpack.Encoder()


def encode(message: Mapping[str, Any], shape: Shape) -> bytes:
    """Encode a message that carries no quotes; nothing in a dialect."""
    if shape.dialect:
        return b""
    return _msgpack.encode(message) if shape.binary else _json.encode(message)


def fragment(encoded: bytes, *, binary: bool) -> bytes:
    """Make an encoded row ready to be joined with others."""
    return encoded if binary or not encoded else b"," + encoded


def ends(head: Mapping[str, Any], shape: Shape) -> tuple[bytes, bytes]:
    """Return what stands before and after the quotes of a frame."""
    if shape.dialect:
        return b"", b""
    if shape.binary:
        return _msgpack.encode(head), b""
    return _json.encode(head)[:-1] + b',"q":[', b"]}"


def rows(head: Mapping[str, Any], body: bytes, shape: Shape) -> tuple[bytes, ...]:
    """Return the parts of a frame with joined fragments as its quotes."""
    before, after = ends(head, shape)
    return before, body if shape.binary else body[1:], after


def join(encoded: Iterable[bytes], *, binary: bool) -> bytes:
    """Join encoded rows as fragments."""
    return b"".join(fragment(each, binary=binary) for each in encoded if each)


def header(length: int, *, binary: bool) -> bytes:
    """Return the header of an unmasked, unfragmented data frame (RFC 6455, section 5.2)."""
    first = b"\x82" if binary else b"\x81"
    if length < 126:
        return first + length.to_bytes(1, "big")
    if length < 65536:
        return first + b"\x7e" + length.to_bytes(2, "big")
    return first + b"\x7f" + length.to_bytes(8, "big")
