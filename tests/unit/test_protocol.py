"""What a client may say on `/ws`, and what it is told of what it may not."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bhavcast.domain.errors import BadRequest
from bhavcast.gateway import protocol

VALID = [
    {"t": "sub", "id": 1, "symbols": ["500325"], "hz": 10, "fields": "quote", "depth": 5},
    {"t": "sub", "symbols": "*", "fields": ["volume"]},
    {"t": "unsub", "id": 0, "symbols": ["RELIANCE"]},
    {"t": "set", "id": 4, "symbols": ["TCS"], "hz": 0.5, "heartbeat_ms": 1000},
    {"t": "set"},
    {"t": "list", "id": 5},
    {"t": "resume", "id": 6, "pos": "x", "symbols": ["500325"], "depth": 0},
    {"t": "resume", "pos": "x", "symbols": ["500325"], "seen": 7, "more": True, "stamps": True},
    {"t": "auth", "id": 7, "key": "k"},
]


def encoded(message, *, binary: bool) -> bytes:
    return msgspec.msgpack.encode(message) if binary else msgspec.json.encode(message)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("message", VALID)
def test_every_message_reads_as_what_it_says(message, binary):
    read = protocol.read(encoded(message, binary=binary), binary=binary)
    told = msgspec.to_builtins(read)
    assert {name: value for name, value in told.items() if value is not None and value is not False} == message
    assert protocol.message_id(encoded(message, binary=binary), binary=binary) == message.get("id")


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"t": "sub", "symbols": 5}, "symbols"),
        ({"t": "sub", "symbols": [5]}, "symbols"),
        ({"t": "sub", "symbols": [], "hz": "fast"}, "hz"),
        ({"t": "sub", "symbols": [], "depth": 1.5}, "depth"),
        ({"t": "set", "heartbeat_ms": []}, "heartbeat_ms"),
        ({"t": "list", "id": "one"}, "id"),
        ({"t": "dance"}, "t"),
        ({"t": "resume", "symbols": []}, "pos"),
        ({"t": "list", "more": 1}, "more"),
        ({}, "t"),
        ([], None),
        (None, None),
    ],
)
def test_what_is_wrong_is_named(message, field, binary):
    with pytest.raises(BadRequest) as refused:
        protocol.read(encoded(message, binary=binary), binary=binary)
    assert refused.value.field == field
    assert refused.value.detail.startswith("expected ")
    assert ", got " in refused.value.detail


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_a_message_or_a_refusal(payload, binary):
    try:
        protocol.read(payload, binary=binary)
    except BadRequest:
        number = protocol.message_id(payload, binary=binary)
        assert number is None or isinstance(number, int)


@given(st.sampled_from(VALID), st.booleans(), st.data())
def test_any_damaged_message_is_a_message_or_a_refusal(message, binary, data):
    payload = bytearray(encoded(message, binary=binary))
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    try:
        protocol.read(bytes(payload), binary=binary)
    except BadRequest:
        protocol.message_id(bytes(payload), binary=binary)


@pytest.mark.parametrize(
    ("asked", "given_"), [(0, 0), (50, 20), (20, 20), (19.9, 10), (7, 5), (1, 1), (0.3, 0.2), (0.01, 0.2)]
)
def test_a_rate_is_the_nearest_that_is_not_above(asked, given_):
    assert protocol.rate(asked) == given_


@pytest.mark.parametrize("hz", [-1, -0.1, 50.1, float("inf"), float("nan")])
def test_a_rate_that_is_none_is_refused(hz):
    with pytest.raises(BadRequest, match="every batch"):
        protocol.rate(hz)


def test_heartbeats_have_their_bounds():
    assert [protocol.heartbeat(ms) for ms in (250, 60_000)] == [250, 60_000]
    for ms in (249, 60_001, -1):
        with pytest.raises(BadRequest):
            protocol.heartbeat(ms)
