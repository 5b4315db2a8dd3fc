"""Read and write the messages of `/ws`, in both encodings.

JSON, one object:           {"t":"u","pos":"20261123T0345Z-9f1c03ab77de5a20:123470","q":[{"symbol":"500325",…},…]}
MessagePack, consecutive:   {"t":"u","pos":"20261123T0345Z-9f1c03ab77de5a20:123470"} {"symbol":"500325",…} …

Without a count in the second form, objects are counted by walking over them, and decoded as one array.
"""

import struct
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from bhavcast.client.errors import BadFrame

Frame = bytes | str
JSON_PROTOCOL: Final = "bhavcast.v1.json"
MSGPACK_PROTOCOL: Final = "bhavcast.v1.msgpack"

# What a decoder can say to whatever comes, deep nesting and bad UTF-8 included.
UNREADABLE: Final = (msgspec.DecodeError, ValueError, RecursionError)

_decode_json = msgspec.json.Decoder(dict[str, Any]).decode
_decode_msgpack = msgspec.msgpack.Decoder(list[dict[str, Any]]).decode
_encode_json = msgspec.json.Encoder().encode
_encode_msgpack = msgspec.msgpack.Encoder().encode


def read(frame: Frame) -> dict[str, Any]:
    """Decode one message with its rows, if it has any, as the list `q`: text is JSON, bytes are MessagePack.

    Raises:
        BadFrame: it is not such a message.
    """
    try:
        if isinstance(frame, str):
            return _decode_json(frame)
        head, *rows = _decode_msgpack(b"\xdd" + struct.pack(">I", _count(frame)) + frame)
    except (*UNREADABLE, IndexError) as error:
        encoding = "JSON" if isinstance(frame, str) else "MessagePack"
        raise BadFrame(f"expected a message in {encoding}, got {frame[:60]!r}: {error}") from error
    if rows or head.get("t") in ("snap", "u"):
        head["q"] = rows
    return head


def write(message: Mapping[str, Any], *, binary: bool) -> Frame:
    """Encode one message."""
    return _encode_msgpack(message) if binary else _encode_json(message).decode()


# Per first byte of a MessagePack object: how many bytes it takes itself, and how many objects follow that are part of
# it. Source: github.com/msgpack/msgpack, spec.md, "Formats".
_SIZE: Final = [1] * 256
_PARTS: Final = [0] * 256
for _byte in range(16):
    _PARTS[0x80 + _byte] = 2 * _byte  # fixmap
    _PARTS[0x90 + _byte] = _byte  # fixarray
for _byte in range(32):
    _SIZE[0xA0 + _byte] = 1 + _byte  # fixstr
for _byte, _bytes in {0xCA: 5, 0xCB: 9, 0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9}.items():
    _SIZE[_byte] = _bytes  # floats and integers
for _byte, _bytes in {0xD4: 3, 0xD5: 4, 0xD6: 6, 0xD7: 10, 0xD8: 18}.items():
    _SIZE[_byte] = _bytes  # fixext
# bin and ext, str: a length of 1, 2 or 4 bytes; array and map: a count of 2 or 4 bytes.
_LENGTH: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_EXTRA: Final = {0xC7: 1, 0xC8: 1, 0xC9: 1}  # ext: the type stands after the length
_MANY: Final = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
for _byte in (*_LENGTH, *_MANY):
    _SIZE[_byte] = 0


def _count(frame: bytes) -> int:
    """Return how many objects stand in a frame, each whole."""
    size, parts = _SIZE, _PARTS
    at = count = 0
    end = len(frame)
    while at < end:
        count += 1
        todo = 1
        while todo:
            byte = frame[at]
            step = size[byte]
            todo += parts[byte] - 1
            if step:
                at += step
            elif byte in _LENGTH:
                width = _LENGTH[byte]
                at += 1 + width + _EXTRA.get(byte, 0) + int.from_bytes(frame[at + 1 : at + 1 + width], "big")
            else:
                width, each = _MANY[byte]
                todo += each * int.from_bytes(frame[at + 1 : at + 1 + width], "big")
                at += 1 + width
    if at != end:
        raise ValueError("the last object is cut off")
    return count
