"""Clients that split, pipeline, flood, stall and garble: nobody else may notice, and nothing may grow without end."""

import asyncio
import contextlib
import gzip
import socket

import msgspec
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from bhavcast.app.config import Limits
from bhavcast.domain import field
from bhavcast.gateway.gateway import BURST_S
from bhavcast.gateway.hot import BATCH, HotProtocol
from tests.docs.stage import PATIENCE_S
from tests.integration.test_serving_stream import Ear, ear
from tests.integration.venue import HANDSHAKE, Line, Venue, request
from tests.waiting import until

HOT = request("/api/stock/500325")
COLD = request("/api/market/breadth")
BIDS = tuple((100 + level, 5, 1) for level in range(5))


pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(params=["hot", "cold"], scope="module", loop_scope="module")
async def venue(request):
    async with Venue(hot_path=request.param == "hot") as venue:
        yield venue


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hot():
    async with Venue() as venue:
        yield venue


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def quiet(request):
    """Leave the shared gateways as they were found: with nobody there."""
    yield
    for name in {"hot", "venue"} & set(request.fixturenames):
        shared = request.getfixturevalue(name)
        connections, gateway = shared.server._server.server_state.connections, shared.gateway
        await until(lambda: not (connections or gateway.members or gateway.hub.outboxes))  # noqa: B023 - waited for here


def protocols(venue: Venue) -> list[HotProtocol]:
    return [each for each in venue.server._server.server_state.connections if isinstance(each, HotProtocol)]


# -- ready answers ------------------------------------------------------------------------------------------------------


async def test_the_last_part_of_a_split_request_is_never_the_key_to_its_answer(hot):
    victim = request("/api/stock/532540", "Accept: */*")
    async with hot.line() as attacker:
        await attacker.send(b"GET /api/stock/500325 HTTP/1.1\r\nUser-Agent: ")
        await until(lambda: any(each._head for each in protocols(hot)))
        assert (await attacker.ask(victim)).told["symbol"] == "500325", "the second part was a header's value"
    async with hot.line() as client:
        assert [(await client.ask(victim)).told["symbol"] for _ in range(3)] == ["532540"] * 3


async def test_a_symbol_that_gets_its_first_data_is_no_error_any_more(venue):
    asked = request(f"{BATCH.decode()}?symbols=500325,600001")
    async with venue.line() as line:
        for _ in range(2):
            assert (await line.ask(asked)).told[1]["error"]["code"] == "no_data_yet"
        await venue.price("600001", 500)
        for _ in range(2):
            assert (await line.ask(asked)).told[1]["current_price"] == 5.0


async def test_ready_answers_stay_within_their_bytes(hot):
    async with hot.line() as line:
        await line.ask(request("/api/stock/500325"))
        (protocol,) = protocols(hot)
        type(protocol).max_ready_bytes = 20_000
        for number in range(200):
            await line.ask(request("/api/stock/500325", f"User-Agent: {number}"))
        kept = sum(len(key) + len(ready.body) for key, ready in protocol.ready.items())
        assert 0 < kept <= 20_000


async def test_what_was_asked_before_does_not_overtake_what_is_being_answered(venue):
    async with venue.line() as line:
        for _ in range(3):
            assert (await line.ask(HOT)).told["symbol"] == "500325"
        for _ in range(20):
            # Two writes: the second is the very bytes that are known to ask for a ready answer.
            line.writer.write(COLD)
            line.writer.write(HOT)
            assert "advances" in (await line.answer()).told
            assert (await line.answer()).told["symbol"] == "500325"


async def test_an_event_stream_is_not_disturbed_by_another_request_on_its_connection(venue):
    async with venue.line() as line:
        await line.ask(HOT)
        await line.send(request("/api/stream?symbols=500325&hz=0"))
        await line.reader.readuntil(b'"t":"sync"')
        await line.send(HOT)
        await venue.tick("500325", {field.VOLUME: 1234})
        assert b"HTTP/1.1" not in await line.reader.readuntil(b'"volume":1234')
    # Its second request stopped the reading: that it has gone is noticed when an event cannot be written.
    for volume in range(1235, 1400):
        await venue.tick("500325", {field.VOLUME: volume})
        await asyncio.sleep(0.005)
        if not venue.gateway.members:
            break
    assert not venue.gateway.members, "a stream with a request behind it ends with its connection too"


# -- bytes --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [b"", HOT, COLD], ids=["first", "after a hot one", "after a cold one"])
async def test_a_head_that_never_ends_is_refused_however_it_comes(hot, before):
    async with hot.line() as line:
        await line.send(before + b"GET / HTTP/1.1\r\nHost: localhost\r\nX-0: ")
        if before:
            assert (await line.answer()).status == 200
        sent = 0
        answer = asyncio.ensure_future(line.answer())
        while not answer.done() and sent < 5_000_000:
            with contextlib.suppress(ConnectionError):
                await line.send(b"a" * 1000 if sent % 2000 else b"a\r\nX: b")
            await asyncio.sleep(0)
            sent += 1000
        (await answer).refused(431, "headers_too_large")
        assert sent < 500_000


BEGUN = {
    "nothing": b"",
    "empty lines": b"\r\n",
    "a head": b"GET /api/stock/500325 HTTP/1.1\r\nHost: loc",
    "a handshake": request("/ws", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")[:-2],
    "a body": request("/api/market/breadth", "Content-Length: 9", method="POST", body=b"{"),
}
BEFORE = {"first": b"", "after a hot one": HOT, "after a cold one": COLD}


@pytest.mark.parametrize(
    ("begun", "before"),
    # Between two requests a connection may be idle for longer.
    [(begun, before) for begun in BEGUN for before in BEFORE if begun != "nothing" or before == "first"],
)
async def test_a_request_that_does_not_come_whole_is_sent_away_and_the_others_have_every_price(
    venue, monkeypatch, begun, before
):
    monkeypatch.setattr("bhavcast.gateway.connection.REQUEST_S", 0.3)
    before, begun = BEFORE[before], BEGUN[begun]
    async with venue.line() as slow, ear(venue) as quick:
        await opened(quick)
        if before:
            assert (await slow.ask(before)).status == 200
        await slow.send(begun)
        ended = asyncio.ensure_future(slow.ended())
        price = 150_000
        while not ended.done():
            price += 5
            await venue.price("500325", price)
            assert (await quick.wait("u"))["q"][0]["current_price"] == price / 100
            with contextlib.suppress(ConnectionError):
                await slow.send(begun[-1:] if begun == b"\r\n" else b"")
        told = await ended
        # Where an application is being asked already, the end of the connection says it.
        # Who still sends may be cut off before it has read the answer.
        cut_off = begun == b"\r\n" and not told
        assert told.startswith((b"HTTP/1.1 408", b"HTTP/1.1 405")) or b"POST" in begun or cut_off
        assert b"500325" not in told


async def test_pipelines_cut_anywhere_are_answered_in_their_order(venue):
    asked = ["500325", "", "532540", "500520", "", "", "500112", "500325"]
    whole = b"".join(request(f"/api/stock/{symbol}") if symbol else COLD for symbol in asked)
    for size in (len(whole), 200, 37, 1):
        async with venue.line() as line:
            for start in range(0, len(whole), size):
                await line.send(whole[start : start + size])
            assert [(await line.answer()).told.get("symbol", "") for _ in asked] == asked


async def test_a_refusal_does_not_take_the_place_of_an_earlier_answer(hot):
    async with hot.line() as line:
        await line.send(COLD + b"nonsense\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            got = await line.ended()
            assert got == b"" or got.startswith(b"HTTP/1.1 200"), got


async def test_a_body_that_is_none_is_refused_as_what_it_belongs_to(hot):
    answer = await hot.ask(request("/", "Transfer-Encoding: chunked", method="POST", body=b"zz\r\n"))
    answer.refused(400, "malformed_request")


async def test_a_body_nobody_asked_for_does_not_shift_the_next_answer(venue):
    async with venue.line() as line:
        await line.send(request("/api/stock/500325", "Content-Length: 5", body=b"hello") + request("/api/stock/532540"))
        assert [(await line.answer()).told["symbol"] for _ in range(2)] == ["500325", "532540"]


async def test_who_leaves_in_the_middle_of_anything_is_forgotten(hot):
    for part in (b"", b"GET", HOT[:-2], HOT, COLD, request("/api/stream?symbols=500325")):
        async with hot.line() as line:
            await line.send(part)


@pytest.mark.parametrize("origin", ["http://[", "null", "", "http://\x80"])
async def test_an_origin_that_is_none_is_a_foreign_one(venue, origin):
    assert (await venue.read("/api/stock/500325", f"Origin: {origin}")).header("access-control-allow-origin") is None
    (await venue.read("/api/stream?symbols=500325", f"Origin: {origin}")).refused(403, "foreign_origin")


async def test_a_fault_of_a_stream_is_told_by_its_id_alone(venue, monkeypatch):
    def fault(*_):
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr("bhavcast.gateway.sse.parameters", fault)
    answer = await venue.read("/api/stream?symbols=500325")
    answer.refused(500, "internal")
    assert b"secret" not in answer.body


# -- streams ------------------------------------------------------------------------------------------------------------


async def opened(wire: Ear) -> None:
    await wire.wait("hello")
    await wire.sub("500325")


def frame(data: bytes, first: int = 0x81) -> bytes:
    """Write a masked frame down; the mask is zero."""
    size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
    return bytes([first]) + size + b"\0\0\0\0" + data


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(b"{}", 0xC1), 1002),  # a reserved bit
        (b"\x81\x02{}", 1002),  # not masked
        (frame(b"{}", 0x80), 1002),  # goes on with nothing
        (frame(b"{}", 0x83), 1002),  # no such kind
        (frame(b"\xff\xfe"), 1007),
        (frame(b"{}", 0x82), 1003),
    ],
    ids=range(6),
)
async def test_a_frame_that_may_not_be_ends_the_connection_and_the_session(hot, sent, code):
    async with ear(hot) as wire:
        await opened(wire)
        wire.wire.transport.write(sent)
        assert (await wire.end())[0] == code


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"\x90",
        b"\x81\x80\x01",  # a map as the key of a map
        b"\x82\xa1t\xa3sub\xa7symbols\xd6\xff\x00\x00\x00\x00",  # a time where symbols should be
        b"\x82\xa1t\xa3sub\xa1x\xc7\x0c\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",  # no such time
        b"\x81\xa1t\xd9\xff",
        b"\x81\xa1t\xa1\xff",
        b"\x83\xa1t\xa4list\xa2id\x01\xa1x\xc7\x05\x01hello",
        b"\xdd\xff\xff\xff\xff",
        b"\x91" * 5000,
        msgspec.msgpack.encode({"t": "list", "id": 2**63}),
        msgspec.msgpack.encode({"t": "list", "id": 1.5}),
    ],
    ids=range(13),
)
async def test_whatever_bytes_come_are_answered(hot, payload):
    async with ear(hot, binary=True) as wire:
        await wire.wire.send(payload)
        assert (await wire.wait("error"))["code"] == "bad_request"
        await wire.sub("500325")
        assert wire.held["500325"]["id"] == "RELIANCE"


@pytest.mark.parametrize(
    "payload", ["", "null", "[]", "{", '{"t":1}', "[" * 5000, '{"t":"list","id":' + "9" * 400 + "}"]
)
async def test_whatever_text_comes_is_answered(hot, payload):
    async with ear(hot) as wire:
        await wire.wire.send(payload)
        assert (await wire.wait("error"))["code"] == "bad_request"
        await wire.sub("500325")


async def test_a_lone_surrogate_is_answered_too(hot):
    async with ear(hot) as wire:
        await wire.wire.send('{"t":"sub","symbols":["\\ud800"]}')
        assert (await wire.wait("hello"))["t"] == "hello"
        assert (await wire.next())["t"] in ("error", "ack")
        await wire.sub("500325")


async def test_a_client_that_asks_and_never_reads_is_not_listened_to(hot):
    async with ear(hot) as quick, ear(hot) as greedy:
        await opened(quick)
        await greedy.wait("hello")
        (outbox,) = [each for each in hot.gateway.hub.outboxes if not each.slots]
        greedy.wire.transport.pause_reading()
        asked = msgspec.json.encode({"t": "unsub", "id": 1, "symbols": ["unknown"] * 500})
        for _ in range(200):
            greedy.wire.transport.write(frame(asked))
        await until(lambda: outbox.sink.full)
        for price in range(163300, 163310):  # the others have their turn
            await hot.price("500325", price)
            await quick.wait("u")
        most = outbox.sink.buffered()
        for price in range(163310, 163330):
            await hot.price("500325", price)
            await quick.wait("u")
        assert outbox.sink.buffered() <= most < 500_000, "an answer is 20 kilobytes, and 200 are asked for"
        greedy.wire.transport.resume_reading()
        assert [len((await greedy.wait("ack"))["bad"]) for _ in range(200)] == [500] * 200


async def test_an_event_stream_that_nobody_reads_is_cut_off(hot):
    hot.gateway.hub.slow_after_s = 0.3
    bare = socket.socket()
    bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    bare.setblocking(False)
    await asyncio.get_running_loop().sock_connect(bare, ("127.0.0.1", hot.port))
    reader, writer = await asyncio.open_connection(sock=bare, limit=1024)
    async with asyncio.timeout(2 * PATIENCE_S), ear(hot) as quick:
        await Line(reader, writer).send(request("/api/stream?symbols=*&hz=0&depth=5"))
        await opened(quick)
        await until(lambda: len(hot.gateway.members) == 2)
        price = 153300
        while len(hot.gateway.members) > 1:
            price += 1
            for symbol in ("532540", "500520", "500112", "890112"):
                await hot.tick(symbol, {field.VOLUME: price, field.BIDS: ((price, 1, 1), *BIDS[1:])})
            await hot.price("500325", price)
            await quick.wait("u")
        await until(lambda: len(hot.server._server.server_state.connections) == 1)
    writer.close()


async def test_everything_does_not_hold_what_is_hidden(hot):
    async with ear(hot) as wire:
        await wire.wait("hello")
        await wire.sub("*")
        assert "000000" not in wire.held
        await hot.tick("000000", {field.VOLUME: 1})
        await hot.price("500325", 173300)
        assert [row["symbol"] for row in (await wire.wait("u"))["q"]] == ["500325"]
        await wire.sub("000000")
        await hot.tick("000000", {field.VOLUME: 2})
        assert [row["symbol"] for row in (await wire.wait("u"))["q"]] == ["000000"], "but whoever asks for it gets it"


# -- too much -------------------------------------------------------------------------------------------------------------


async def test_what_is_too_large_is_refused_by_its_name(hot):
    (await hot.read("/api/stock/" + "a" * 20_000)).refused(414, "url_too_long")
    too_long = request("/api/market/breadth", "Content-Length: 70000", method="POST", body=b"x" * 70_000)
    assert (await hot.ask(too_long)).status in (405, 413)


CHUNKED = request("/", "Transfer-Encoding: chunked", method="POST")


@pytest.mark.parametrize(
    "begun",
    [
        CHUNKED + b"1;x=",
        CHUNKED + b"0\r\nX: ",
        CHUNKED + b"1\r\na\r\n0\r\nX: ",
    ],
    ids=["extension", "trailer", "trailer after a body"],
)
@pytest.mark.parametrize("piece", [b"a" * 1000, b"a\r\nX: b"], ids=["long", "many"])
async def test_what_follows_a_body_and_never_ends_is_cut_off(venue, begun, piece):
    if b";" in begun and b"\r\n" in piece:
        return
    async with venue.line() as line:
        await line.send(begun)
        ended = asyncio.ensure_future(line.ended())
        sent = 0
        while not ended.done() and sent < 2_000_000:
            with contextlib.suppress(ConnectionError):
                await line.send(piece * 10)
            await asyncio.sleep(0)
            sent += 10 * len(piece)
        told = await ended
        assert told.count(b"HTTP/1.1 ") <= 1, "the answer to what came is the only one"
        assert told.startswith((b"HTTP/1.1 405", b"HTTP/1.1 431")) or not told
    assert sent < 2_000_000


async def test_a_body_in_the_smallest_chunks_is_a_body(venue):
    body = b"1\r\na\r\n" * 20_000 + b"0\r\nX: y\r\n\r\n"
    async with venue.line() as line:
        assert (await line.ask(CHUNKED + body)).status in (405, 413)
        assert (await line.ask(HOT)).told["symbol"] == "500325", "where it ends is known"


async def test_a_trailer_is_no_header(venue):
    begun = request("/api/session", "Transfer-Encoding: chunked", method="POST")
    trailers = b"0\r\nOrigin: https://evil.example\r\nX-API-Key: bhk_wrong\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n"
    plain, with_trailers = await venue.ask(begun + b"0\r\n\r\n"), await venue.ask(begun + trailers)
    assert plain.refused(401, "unauthenticated")["detail"] == with_trailers.refused(401, "unauthenticated")["detail"]


async def test_a_long_url_does_not_take_the_answer_of_the_request_before_it(venue):
    async with venue.line() as line:
        await line.send(COLD + request("/api/stock/" + "a" * 20_000))
        with contextlib.suppress(ConnectionError):
            told = await line.ended()
            assert not told or told.startswith(b"HTTP/1.1 200"), told[:200]


@pytest.mark.parametrize("size", [100, 1000])
async def test_headers_within_their_bytes_are_taken_and_more_are_not(venue, size):
    def headers(total: int) -> list[str]:
        return [f"X: {'a' * (size - 7)}"] * (total // size)

    assert (await venue.read("/api/stock/500325", *headers(14_000))).status == 200
    (await venue.read("/api/stock/500325", *headers(18_000))).refused(431, "headers_too_large")


async def test_a_compressed_body_is_never_unpacked(venue):
    bomb = gzip.compress(b"0" * 10_000_000)
    answer = await venue.ask(
        request("/", "Content-Encoding: gzip", f"Content-Length: {len(bomb)}", method="POST", body=bomb)
    )
    assert answer.status in (405, 413)


async def test_a_message_that_is_too_long_ends_the_stream_and_compression_is_never_agreed(hot):
    async with ear(hot) as wire:
        await opened(wire)
        assert not wire.wire.protocol.extensions
        wire.wire.transport.write(b"\x81\xff" + (2**40).to_bytes(8, "big") + b"\0\0\0\0")
        assert (await wire.end())[0] == 1009
    async with hot.line() as line:
        head = request(
            "/ws", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Extensions: permessage-deflate",
        )  # fmt: skip
        await line.send(head)
        answer = await line.head()
        assert (answer.status, answer.header("sec-websocket-extensions")) == (101, None)


async def test_a_storm_of_subscriptions_ends_with_the_limit_and_the_others_have_every_price(hot):
    async with ear(hot) as quick, ear(hot) as storm:
        await opened(quick)
        await storm.wait("hello")
        for number in range(500):
            kind = ("sub", "unsub")[number % 2]
            message = msgspec.json.encode({"t": kind, "id": number, "symbols": ["*", "group:A", *["nobody"] * 400]})
            storm.wire.transport.write(frame(message))

        async def answered() -> None:
            last = 0
            while last < 499:
                last = (await storm.wait("ack"))["id"]

        # Read all the while: on a busy machine it could otherwise be sent away for reading nothing.
        reading = asyncio.create_task(answered())
        for price in range(183300, 183320):
            await hot.price("500325", price)
            assert (await quick.wait("u"))["q"][0]["current_price"] == price / 100
        await reading
        assert len(hot.gateway.hub.outboxes) == 2


async def test_who_asks_for_much_at_once_is_heard_a_slice_at_a_time_and_the_others_have_their_turn():
    async with Venue() as venue, venue.line() as line:
        # Every message is more than a slice, and a rest lasts for one turn of the loop.
        venue.server.slice_s, venue.server.rest = -1.0, 0.0
        await heard_a_slice_at_a_time(venue, line)


async def heard_a_slice_at_a_time(venue: Venue, line: Line) -> None:
    async with ear(venue) as storm:
        await storm.wait("hello")
        most = venue.gateway.limits.messages_per_second
        for number in range(most):
            kind = ("sub", "unsub")[number % 2]
            storm.wire.transport.write(frame(msgspec.json.encode({"t": kind, "id": number, "symbols": "*"})))
        answered: list[int] = []

        async def listen() -> None:
            while not answered or answered[-1] < most - 1:
                answered.append((await storm.wait("ack"))["id"])

        listening = asyncio.create_task(listen())
        await until(lambda: answered)
        assert (await line.ask(HOT)).status == (await line.ask(COLD)).status == 200
        assert len(answered) < most, "two requests waited for all of them"
        await listening


FRAMES = {
    "messages": frame(b"6"),
    "pings": frame(b"", 0x89),
    "pongs": frame(b"", 0x8A),
    "pieces": frame(b"x", 0x00),
    "empty pieces": frame(b"", 0x00),
}


@pytest.mark.parametrize("path", ["/ws", "/kite", "/socket.io/?EIO=4&transport=websocket"])
@pytest.mark.parametrize("each", FRAMES.values(), ids=list(FRAMES))
async def test_every_frame_counts_whatever_is_in_it(each: bytes, path: str):
    begins, ends = frame(b"x", 0x01), frame((1000).to_bytes(2, "big"), 0x88)  # pieces need a first one
    async with Venue(kite_api=True, limits=Limits(messages_per_second=1)) as venue:
        now = venue.clock.monotonic()
        venue.clock.monotonic = lambda: now
        for last, end in ((each, (4013, "too_many_requests: retry_ms=1000")), (ends, (1000, ""))):
            first = begins if each[0] == 0x00 else each
            async with connect(venue.url.replace("http", "ws", 1) + path, proxy=None) as wire:
                wire.transport.write(first + each * (BURST_S - 1) + last)
                with contextlib.suppress(ConnectionClosed):
                    while True:
                        await asyncio.wait_for(wire.recv(), PATIENCE_S)
                assert (wire.close_code, wire.close_reason) == end
            await until(lambda: not venue.gateway.members)


async def test_who_leaves_while_not_listened_to_is_forgotten():
    async with Venue() as venue:
        venue.server.slice_s, venue.server.rest = -1.0, 1e9
        async with ear(venue) as one, ear(venue) as other:
            for each in (one, other):
                await each.wait("hello")
                for number in range(3):
                    each.wire.transport.write(frame(msgspec.json.encode({"t": "list", "id": number})))
                assert (await each.wait("list"))["id"] == 0
            # What comes is not read meanwhile; a stop of the service, and a client that is cut off, end it all the same.
            for outbox in list(venue.gateway.hub.outboxes):
                outbox.sink.close(4008, "slow")
            await until(lambda: not venue.gateway.members)


async def test_a_handshake_behind_an_answer_that_is_not_finished_is_none(venue):
    async with venue.line() as line:
        await line.send(request("/api/stream?symbols=500325") + HANDSHAKE)
        assert b"HTTP/1.1 101" not in await line.ended()
    async with venue.line() as line:
        await line.send(request("/api/stream?symbols=500325"))
        assert (await line.head()).status == 200
        await until(lambda: bool(venue.gateway.members))
        await line.send(HANDSHAKE)
        assert b"HTTP/1.1 101" not in await line.ended()
        await until(lambda: not venue.gateway.members)
