"""The framing of everything that Bhavcast keeps record by record: the journal and recordings of feeds.

A file is a header and then records, numbers big-endian:

    42 48 41 56 43 41 53 54  4a  00 01  0a      header: BHAVCAST, J (a journal), version 1, newline
    03  00 00 00 04  24 4c c8 59  6d 40 76 70    head: type 3, 4 bytes, their CRC-32, the CRC-32 of the head so far
    93 01 02 03                                 payload: MessagePack

The head has a sum of its own because its length must be believed before the payload is there: with it, a file that
ends inside a record was *torn* (a process killed in mid-write leaves a prefix of what it wrote), and anything else that
does not add up is *damage*. The two have different consequences, see docs/adr/0003-journal-format.md.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from bhavcast.domain import format as formats
from bhavcast.domain.errors import BadRecord

JOURNAL: Final = b"J"
RECORDING: Final = b"R"
FORMATS: Final = {JOURNAL: formats.JOURNAL, RECORDING: formats.RECORDING}
# A checkpoint of 20,000 scrips is below 8 MiB, a recording's universe likewise: a longer record is none of ours.
MAX_LENGTH: Final = 64 * 1024 * 1024
MOST_VERSION: Final = 0xFF  # files count no additions: what may be in a record is for the record to say

_MAGIC: Final = b"BHAVCAST"
_HEADER: Final = struct.Struct(">8scHc")
_SUMMED: Final = struct.Struct(">BII")
_HEAD: Final = struct.Struct(">BIII")
_SUMMED_SIZE: Final = _SUMMED.size
HEADER_SIZE: Final = _HEADER.size
HEAD_SIZE: Final = _HEAD.size


class Record(NamedTuple):
    """One whole record: where it begins in the file, its type, its payload, and where the next one begins."""

    offset: int
    type: int
    payload: bytes
    end: int


def header(kind: bytes, version: int | None = None) -> bytes:
    """Return the bytes with which a file of this kind begins, of the version that is written now or another."""
    return _HEADER.pack(_MAGIC, kind, FORMATS[kind].written if version is None else version, b"\n")


def version_of(head: bytes) -> int | None:
    """Return the version of a file by its first bytes; None where it is no file of ours."""
    if len(head) < HEADER_SIZE:
        return None
    magic, kind, version, newline = _HEADER.unpack_from(head)
    ours = magic == _MAGIC and kind in FORMATS and newline == b"\n" and version <= MOST_VERSION
    return version if ours else None


def frame(type_: int, payload: bytes) -> bytes:
    """Return one record, ready to be written in one piece; `type_` is 1 to 255."""
    if not (0 < type_ < 256 and len(payload) <= MAX_LENGTH):
        raise ValueError(f"a record has a type of 1 to 255 and at most {MAX_LENGTH} bytes, got {type_}, {len(payload)}")
    summed = _SUMMED.pack(type_, len(payload), zlib.crc32(payload))
    return b"".join((summed, zlib.crc32(summed).to_bytes(4, "big"), payload))


class Decoder:
    """Turn bytes, in whatever pieces they come, into records.

    `push` what was read, `pull` until it answers None. `offset` is where the next record begins, so after the last
    piece it is the length of what is whole, and `pending` the number of bytes of a torn record after it. `version` is
    that of the file, once its header has been read.
    """

    def __init__(self, kind: bytes, *, offset: int = 0) -> None:
        """Begin at a file's header, or at the `offset` of a record."""
        self._kind = kind
        self._buffer = bytearray()
        self._at = 0
        self.offset = offset
        self.version = 0

    @property
    def pending(self) -> int:
        """How many bytes were pushed that are not yet a record."""
        return len(self._buffer) - self._at

    def push(self, chunk: bytes | memoryview) -> None:
        """Take the next piece."""
        del self._buffer[: self._at]
        self._at = 0
        self._buffer += chunk

    def pull(self) -> Record | None:
        """Return the next record, or None where it is not all there yet.

        Raises:
            BadRecord: the bytes are no record; there is no way past them, so every further call says the same.
            UnknownFormat: the file is of a version that this program does not read; likewise.
        """
        if self.offset == 0 and not self._read_header():
            return None
        if self.pending < HEAD_SIZE:
            return None
        buffer, begin = self._buffer, self._at + HEAD_SIZE
        type_, length, payload_sum, head_sum = _HEAD.unpack_from(buffer, self._at)
        with memoryview(buffer) as view:
            if zlib.crc32(view[self._at : self._at + _SUMMED_SIZE]) != head_sum:
                raise BadRecord(f"a damaged record head at byte {self.offset}", offset=self.offset)
            if type_ == 0 or length > MAX_LENGTH:
                raise BadRecord(f"type {type_}, length {length} at byte {self.offset}", offset=self.offset)
            if self.pending < HEAD_SIZE + length:
                return None
            payload = bytes(view[begin : begin + length])
        if zlib.crc32(payload) != payload_sum:
            raise BadRecord(f"a damaged record of type {type_} at byte {self.offset}", offset=self.offset)
        record = Record(self.offset, type_, payload, self.offset + HEAD_SIZE + length)
        self._at = begin + length
        self.offset = record.end
        return record

    def _read_header(self) -> bool:
        if self.pending < HEADER_SIZE:
            return False
        magic, kind, version, newline = _HEADER.unpack_from(self._buffer, self._at)
        if magic != _MAGIC or newline != b"\n":
            raise BadRecord("not a file of Bhavcast: it does not begin with BHAVCAST", offset=0)
        if kind != self._kind:
            raise BadRecord(f"expected a file of kind {self._kind!r}, this one is {kind!r}", offset=0)
        if version > MOST_VERSION:
            raise BadRecord(f"an impossible version, {version}", offset=0)
        self.version = FORMATS[kind].check(version, "the file")
        self._at += HEADER_SIZE
        self.offset = HEADER_SIZE
        return True


def records(chunks: Iterable[bytes], decoder: Decoder) -> Iterator[Record]:
    """Yield the whole records of a file's pieces; what is left over is for the caller to judge (`decoder.pending`)."""
    for chunk in chunks:
        decoder.push(chunk)
        while (record := decoder.pull()) is not None:
            yield record
