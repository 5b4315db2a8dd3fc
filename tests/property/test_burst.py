"""The frames of a flush, sent in C and in Python: byte for byte the same, whatever part of them the kernel takes."""

import contextlib
import socket
from array import array

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bhavcast.domain.shape import Shape
from bhavcast.hub.burst import Flush
from bhavcast.hub.frame import header

c = pytest.importorskip("bhavcast.gateway._burst", reason="the wheel was built without a C compiler")

POS = "20261123T0345Z-9f1c03ab77de5a20:123470"
ROW = st.binary(max_size=9) | st.sampled_from([b"", b"x" * 126, b"y" * 70_000])


def packed(slots) -> bytes:
    return array("i", slots).tobytes()


def framed(flush: Flush, slots: bytes) -> bytes | None:
    rows = flush.join(slots)
    if not rows:
        return None
    parts = (flush.before, rows, flush.after)
    return b"".join((header(sum(map(len, parts)), binary=flush.binary), *parts))


def drained(end: socket.socket) -> bytes:
    came = bytearray()
    with contextlib.suppress(BlockingIOError):
        while chunk := end.recv(65536):
            came += chunk
    return bytes(came)


@given(st.lists(ROW, min_size=1, max_size=6), st.booleans(), st.data())
@example([b"y" * 70_000] * 6, False, None)  # more than a small buffer takes
def test_what_is_sent_and_what_is_left_are_the_frame(rows, binary, data):
    flush = Flush.at(
        {"t": "u", "pos": POS}, [row if binary or not row else b"," + row for row in rows], Shape(binary=binary)
    )
    slots = st.lists(st.integers(0, len(rows) - 1), max_size=6).map(packed)
    turn = [packed(range(6))] if data is None else data.draw(st.lists(slots, max_size=4))
    pairs = [socket.socketpair() for _ in turn]
    try:
        for near, far in pairs:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            far.setblocking(False)
        wires = [(near.fileno(), each) for (near, _), each in zip(pairs, turn, strict=True)]
        rest = dict(c.send([*wires, (-1, packed([0]))], flush.rows, flush.before, flush.after, binary))
        assert rest.pop(len(turn)) == b"", "no descriptor: not sent"
        for number, each in enumerate(turn):
            expected = framed(flush, each)
            if expected is None:
                assert rest[number] is None
            else:
                assert drained(pairs[number][1]) + rest.get(number, b"") == expected
    finally:
        for pair in pairs:
            for end in pair:
                end.close()


def test_a_broken_wire_takes_nothing_and_harms_no_other():
    flush = Flush.at({"t": "u", "pos": POS}, [b",{}"], Shape())
    (gone, peer), (near, far) = socket.socketpair(), socket.socketpair()
    peer.close()
    with gone, near, far:
        wires = [(gone.fileno(), packed([0])), (near.fileno(), packed([0])), (10_000_000, packed([0]))]
        rest = dict(c.send(wires, flush.rows, flush.before, flush.after, False))
        whole = framed(flush, packed([0]))
        assert rest == {0: whole, 2: whole}
        assert far.recv(65536) == whole


@pytest.mark.parametrize(
    ("wires", "rows", "error"),
    [
        ([(1, packed([1]))], [b"x"], IndexError),
        ([(1, packed([-1]))], [b"x"], IndexError),
        ([(1, packed([0]))], ["x"], TypeError),
        ([(1, "slots")], [b"x"], TypeError),
        ([1], [b"x"], TypeError),
        ([("1", b"")], [b"x"], TypeError),
    ],
)
def test_what_cannot_be_is_refused(wires, rows, error):
    with pytest.raises(error):
        c.send(wires, rows, b"{", b"}", False)
