"""HTTP as bytes: limits, malformed requests, pipelines, requests in pieces, kept connections."""

import asyncio

import pytest

from bhavcast.domain import field
from tests.served import EPOCH, Served

STOCK = b"GET /api/stock/500325 HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n"
COLD = b"GET /api/market/breadth HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(params=["hot", "cold"])
async def served(request):
    async with Served(hot_path=request.param == "hot") as served:
        yield served


@pytest.fixture
async def hot():
    async with Served() as served:
        yield served


def refused(reply, status: int, code: str) -> None:
    assert (reply.status, reply.json()["code"]) == (status, code)
    assert reply.header("content-type") == "application/problem+json"
    assert reply.header("connection") == "close"


async def ask(served, data: bytes, *, end: bool = True):
    async with served.raw() as raw:
        await raw.send(data)
        reply = await raw.reply()
        if end:
            assert await raw.end() == b"", "the connection ends with the refusal"
        return reply


# -- limits -------------------------------------------------------------------------------------------------------------


async def test_a_url_that_is_too_long_is_refused(hot):
    for size in (16 * 1024 + 1, 40_000, 300_000):
        refused(await ask(hot, b"GET /" + b"a" * size + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"), 414, "url_too_long")


async def test_headers_that_are_too_large_are_refused(hot):
    for line in (b"X: " + b"a" * 40_000, b"\r\n".join(b"X-%d: aaaaaaaaaaaaaaa" % number for number in range(3000))):
        request = b"GET / HTTP/1.1\r\nHost: localhost\r\n" + line + b"\r\n\r\n"
        refused(await ask(hot, request), 431, "headers_too_large")


@pytest.mark.parametrize("before", [b"", STOCK, COLD])
async def test_a_head_that_never_ends_is_refused_however_it_comes(hot, before):
    async with hot.raw() as raw:
        await raw.send(before + b"GET / HTTP/1.1\r\nHost: localhost\r\nX-0: ")
        if before:
            assert (await raw.reply()).status == 200
        sent = 0
        while not raw.reader.at_eof() and sent < 10_000_000:
            try:
                await raw.send(b"a" * 1000 if sent % 2000 else b"a\r\nX: b")
                await asyncio.sleep(0)
            except ConnectionError:
                break
            sent += 1000
            if raw.reader._buffer:  # the answer has come
                break
        assert sent < 500_000
        refused(await raw.reply(), 431, "headers_too_large")


async def test_a_body_that_is_too_large_is_refused(served):
    head = b"POST /api/stocks HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    reply = await ask(served, head % 65_537, end=False)
    assert (reply.status, reply.json()["code"]) == (413, "too_large")
    reply = await ask(served, head % 0, end=False)
    assert reply.status == 405


# -- malformed ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\n: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /api/stock/5\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /api/stock/\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",  # a TLS client
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://localhost:99999999/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_refused_in_the_one_shape_and_harms_nobody(hot, request_):
    async with hot.raw() as raw:
        await raw.send(request_)
        reply = await raw.reply()
        assert reply.status in (400, 404, 405, 421), reply.body
        assert reply.header("content-type") == "application/problem+json"
        assert reply.json()["status"] == reply.status
    assert (await ask(hot, STOCK, end=False)).status == 200


# -- pieces and pipelines -----------------------------------------------------------------------------------------------


async def test_a_request_may_come_in_pieces_cut_anywhere(served):
    expected = (await ask(served, STOCK, end=False)).lasting
    for place in range(1, len(STOCK)):
        async with served.raw() as raw:
            await raw.send(STOCK[:place])
            await raw.send(STOCK[place:])
            assert (await raw.reply()).lasting == expected


async def test_a_request_may_come_byte_by_byte(served):
    expected = (await ask(served, STOCK, end=False)).lasting
    async with served.raw() as raw:
        for byte in STOCK:
            await raw.send(bytes([byte]))
        assert (await raw.reply()).lasting == expected


async def test_pipelined_requests_are_answered_in_their_order(served):
    asked = ["500325", "@", "532540", "500112", "@", "@", "999999", "500325"]
    requests = [
        COLD if symbol == "@" else f"GET /api/stock/{symbol} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        for symbol in asked
    ]
    whole = b"".join(requests)
    for size in (len(whole), 300, 100, 37, 1):
        async with served.raw() as raw:
            for start in range(0, len(whole), size):
                await raw.send(whole[start : start + size])
            got = [(await raw.reply()).json() for _ in asked]
        told = ["@" if "advances" in each else each.get("symbol", "999999") for each in got]
        assert told == asked


async def test_what_was_asked_before_does_not_overtake_what_is_being_answered(served):
    async with served.raw() as raw:
        for _ in range(3):
            await raw.send(STOCK)
            assert (await raw.reply()).json()["symbol"] == "500325"
        for _ in range(20):
            # Two writes: the second is the very bytes that are known to be a request for a ready answer.
            raw.writer.write(COLD)
            raw.writer.write(STOCK)
            assert "advances" in (await raw.reply()).json()
            assert (await raw.reply()).json()["symbol"] == "500325"


async def test_an_event_stream_is_not_disturbed_by_another_request_on_its_connection(served):
    async with served.raw() as raw:
        await raw.send(STOCK)
        assert (await raw.reply()).status == 200
        await raw.send(b"GET /api/stream?symbols=500325&hz=0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in await raw.reader.readuntil(b"retry: 2000\n\n\r\n")
        await raw.send(STOCK)
        await raw.reader.readuntil(b'"t":"sync"')
        await served.tick("500325", {field.VOLUME: 1234})
        more = await raw.reader.readuntil(b'"volume":1234')
        assert b"HTTP/1.1" not in more


async def test_a_refusal_does_not_take_the_place_of_an_earlier_answer(hot):
    async with hot.raw() as raw:
        await raw.send(COLD + b"nonsense\r\n\r\n")
        got = await raw.end()
        assert got == b"" or got.startswith(b"HTTP/1.1 200"), got


async def test_a_connection_is_kept_for_many_requests_and_closed_on_request(served):
    async with served.raw() as raw:
        for number in range(50):
            await served.tick("500325", {field.VOLUME: 100 + number})
            await raw.send(STOCK)
            assert (await raw.reply()).json()["volume"] == 100 + number
        await raw.send(STOCK.replace(b"Accept: */*", b"Connection: close"))
        assert (await raw.reply()).header("connection") == "close"
        assert await raw.end() == b""


async def test_old_http_is_answered_and_closed(served):
    async with served.raw() as raw:
        await raw.send(b"GET /api/stock/500325 HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert (await raw.reply()).status == 200
        assert await raw.end() == b""


async def test_a_body_nobody_asked_for_does_not_shift_the_next_answer(served):
    with_body = STOCK.replace(b"Accept: */*", b"Content-Length: 5") + b"hello"
    async with served.raw() as raw:
        await raw.send(with_body + STOCK.replace(b"500325", b"532540"))
        assert [(await raw.reply()).json()["symbol"] for _ in range(2)] == ["500325", "532540"]


async def test_who_leaves_in_the_middle_of_anything_is_forgotten(hot):
    for part in (b"", b"GET", STOCK[:-2], STOCK, COLD):
        async with hot.raw() as raw:
            await raw.send(part)
    assert (await ask(hot, STOCK, end=False)).header("x-bhavcast-position") == hot.position
    assert hot.position.startswith(EPOCH)
