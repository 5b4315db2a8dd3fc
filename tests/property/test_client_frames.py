from contextlib import suppress

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bhavcast.client import frames
from bhavcast.client.errors import BadFrame
from bhavcast.client.state import State

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=300)
    | st.binary(max_size=300)
)
values = scalars | st.lists(scalars, max_size=20) | st.dictionaries(st.text(max_size=8), scalars, max_size=20)
objects = st.dictionaries(st.text(max_size=8), values, max_size=4)
HELLO: dict = {"t": "hello"}
FRAMES: list[dict] = [
    HELLO,
    {"t": "ack", "id": 2, "ok": ["1", "2"], "bad": [{"symbol": "x", "code": "unknown_symbol"}]},
    {
        "t": "snap",
        "id": 2,
        "q": [{"symbol": "1", "rev": 5, "depth": {"bids": []}}, {"symbol": "2", "rev": 6, "low": None}],
    },
    {"t": "sync", "id": 2, "count": 2, "pos": "20261123T0345Z-9f1c03ab77de5a20:9"},
    {"t": "u", "pos": "20261123T0345Z-9f1c03ab77de5a20:12", "q": [{"symbol": "1", "rev": 11, "depth": {"bids": None}}]},
    {"t": "resumed", "id": 1, "recovered": False, "changed": 2},
    {"t": "error", "id": 2, "code": "x", "message": "y"},
    {"t": "reset", "epoch": "e"},
    {"t": "status", "symbol": "1", "state": "unknown_symbol"},
]


def pack(message: dict) -> bytes:
    head = {name: value for name, value in message.items() if name != "q"}
    return b"".join(map(msgspec.msgpack.encode, [head, *message.get("q", [])]))


@settings(max_examples=100)
@given(st.lists(objects, min_size=1, max_size=4))
def test_consecutive_objects_come_out_as_they_went_in(rows):
    head, *rest = rows
    found = frames.read(b"".join(map(msgspec.msgpack.encode, rows)))
    assert found.pop("q", []) == rest or "q" in head
    assert found == {name: value for name, value in head.items() if name != "q"}


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_frame_is_a_message_or_a_bad_frame(frame):
    with suppress(BadFrame):
        assert isinstance(frames.read(frame), dict)


@settings(max_examples=400)
@given(
    st.lists(st.tuples(st.sampled_from(FRAMES), st.integers(0, 2**16), st.integers(0, 255)), max_size=12), st.booleans()
)
def test_mutated_frames_are_taken_or_refused_and_the_state_stays_usable(mutations, binary):
    state = State(binary=binary)
    encode = pack if binary else (lambda message: msgspec.json.encode(message).decode())
    state.receive(encode(HELLO))
    state.subscribe(["1", "2"])
    for message, place, byte in mutations:
        raw = bytearray(pack(message) if binary else msgspec.json.encode(message))
        if byte:
            raw[place % len(raw)] = byte
        with suppress(BadFrame):
            state.receive(bytes(raw) if binary else raw.decode("utf-8", "replace"))
    state.disconnected()
    state.receive(encode(HELLO))
    assert state.outgoing()
    assert all(isinstance(quote["rev"], int) for quote in state.quotes.values())


def test_a_torn_object_is_refused():
    whole = pack(FRAMES[2])
    for end in range(len(whole)):
        try:
            found = frames.read(whole[:end])
        except BadFrame:
            continue
        assert pack(found) == whole[:end]  # cut between two objects


def test_a_length_that_promises_more_than_there_is_is_refused_at_once():
    with pytest.raises(BadFrame):
        frames.read(b"\x81\xa1t\xdf\xff\xff\xff\xff")
