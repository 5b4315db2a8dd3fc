"""The frames of a flush, sent in C and in Python: byte for byte the same, whatever part of them the kernel takes."""

import contextlib
import socket
from array import array

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bhavcast.domain.shape import Shape
from bhavcast.gateway.burst import send as send_past_transports
from bhavcast.hub import burst
from bhavcast.hub.burst import COST, OWN_COST, Flush
from bhavcast.hub.frame import header
from bhavcast.hub.outbox import Outbox

c = pytest.importorskip("bhavcast.gateway._burst", reason="the wheel was built without a C compiler")

POS = "20261123T0345Z-9f1c03ab77de5a20:123470"
ROW = st.binary(max_size=9) | st.sampled_from([b"", b"x" * 126, b"y" * 70_000])
NOW = 12.5
ALL = 1 << 40
CLIENT = st.tuples(
    st.lists(st.integers(0, 5), max_size=6), st.sampled_from(["wired", "wired", "wireless", "behind", "all"])
)


def packed(slots) -> bytes:
    return array("i", slots).tobytes()


class Wire:
    """A sink of the Python twin: it keeps the whole frame, as a transport would."""

    def __init__(self, wire: int = -1, *, binary: bool = False) -> None:
        self.wire = wire
        self.binary = binary
        self.full = False
        self.frame = b""

    def send(self, *parts: bytes, pos: str | None = None) -> None:
        self.frame += b"".join((header(sum(map(len, parts)), binary=self.binary), *parts))

    def buffered(self) -> int:
        return 0

    def close(self, code: int, reason: str) -> None: ...


class Client(Outbox):
    sink: Wire


def client(slots, kind: str, wire: Wire) -> Client:
    outbox = Client(wire, Shape(binary=wire.binary), 10.0, 0.0)
    outbox.packed = packed(slots)
    outbox.everything = kind == "all"
    outbox.behind = 7 if kind == "behind" else None
    return outbox


def flush_of(rows, *, binary: bool = False) -> Flush:
    rows = [row if binary or not row else b"," + row for row in rows]
    return Flush.at({"t": "u", "pos": POS}, rows, packed(range(len(rows))), Shape(binary=binary))


def drained(end: socket.socket) -> bytes:
    came = bytearray()
    with contextlib.suppress(BlockingIOError):
        while chunk := end.recv(65536):
            came += chunk
    return bytes(came)


def send_in_c(clients, flush: Flush, budget: int = ALL):
    return c.send(clients, flush, NOW, budget, COST, OWN_COST)


@given(st.lists(ROW, min_size=6, max_size=6), st.booleans(), st.lists(CLIENT, max_size=20))
@example([b"y" * 70_000] * 6, False, [(list(range(6)), "wired")])  # more than a small buffer takes
def test_what_is_sent_and_what_is_left_are_the_frames_of_python(rows, binary, clients):
    flush = flush_of(rows, binary=binary)
    twins = [client(slots, kind, Wire(binary=binary)) for slots, kind in clients]
    frames, left = burst.send(set(twins), flush, NOW, ALL)
    pairs = [socket.socketpair() for _ in clients]
    try:
        for near, far in pairs:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            far.setblocking(False)
        wired = [
            client(slots, kind, Wire(-1 if kind == "wireless" else near.fileno(), binary=binary))
            for (slots, kind), (near, _) in zip(clients, pairs, strict=True)
        ]
        unreached = set(wired)
        sent, behind, unsent = send_in_c(unreached, flush)
        assert not unreached
        wireless = {outbox for outbox, rest in unsent if rest is None}
        assert wireless == {outbox for outbox, (_, kind) in zip(wired, clients, strict=True) if kind == "wireless"}, (
            "who has no wire is handed back"
        )
        assert sent == frames - sum(bool(flush.of(outbox)) for outbox in wireless)
        assert {wired.index(each) for each in behind if isinstance(each, Client)} == {
            twins.index(each) for each in left if isinstance(each, Client)
        }
        rest = dict(unsent)
        for outbox, twin, (_, far) in zip(wired, twins, pairs, strict=True):
            if outbox not in wireless:
                assert drained(far) + rest.get(outbox, b"") == twin.sink.frame
                assert outbox.sent_at == twin.sent_at
    finally:
        for pair in pairs:
            for end in pair:
                end.close()


@given(st.lists(ROW, min_size=6, max_size=6), st.lists(CLIENT, max_size=60), st.integers(1, 400_000))
def test_a_slice_ends_when_its_bytes_are_spent_and_goes_on_with_the_others(rows, clients, budget):
    flush = flush_of(rows)
    expected = sum(kind != "behind" and bool(flush.of(client(slots, kind, Wire()))) for slots, kind in clients)
    for send in (burst.send, send_past_transports):
        unreached: set[Outbox] = {client(slots, kind, Wire()) for slots, kind in clients}
        everyone = set(unreached)
        frames, behind, slices = 0, [], 0
        while unreached:
            before = len(unreached)
            some, left = send(unreached, flush, NOW, budget)
            assert len(unreached) < before
            frames += some
            behind += left
            slices += 1
        assert frames == expected
        assert set(behind) == {outbox for outbox in everyone if outbox.behind is not None}
        assert slices <= len(clients)


def test_a_broken_wire_takes_nothing_and_harms_no_other():
    flush = flush_of([b"{}"])
    (gone, peer), (near, far) = socket.socketpair(), socket.socketpair()
    peer.close()
    with gone, near, far:
        first, second, third = (client([0], "wired", Wire(wire)) for wire in (gone.fileno(), near.fileno(), 10_000_000))
        frames, behind, unsent = send_in_c({first, second, third}, flush)
        twin = client([0], "wired", Wire())
        burst.send({twin}, flush, NOW, ALL)
        assert (frames, behind, dict(unsent)) == (3, [], {first: twin.sink.frame, third: twin.sink.frame})
        assert far.recv(65536) == twin.sink.frame


@pytest.mark.parametrize(
    ("slots", "rows", "wire", "error"),
    [
        (packed([1]), [b"x"], 1, IndexError),
        (packed([-1]), [b"x"], 1, IndexError),
        (packed([0]), ["x"], 1, TypeError),
        ("slots", [b"x"], 1, TypeError),
        (packed([0]), [b"x"], "1", TypeError),
    ],
)
def test_what_cannot_be_is_refused(slots, rows, wire, error):
    outbox = client([], "wired", Wire(wire))
    outbox.packed = slots
    with pytest.raises(error):
        send_in_c({outbox}, Flush(rows, b"", POS, b"{", b"}", binary=False))


def test_what_is_no_client_is_refused():
    with pytest.raises(AttributeError):
        send_in_c({1}, flush_of([b"x"]))
    with pytest.raises(TypeError):
        send_in_c([], flush_of([b"x"]))
