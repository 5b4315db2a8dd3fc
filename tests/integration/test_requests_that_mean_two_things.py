"""Requests that two readers would understand differently: they end the connection, or mean what the standard says."""

import contextlib

import pytest
import pytest_asyncio

from tests.integration.venue import Venue, request

SMUGGLED = request("/api/stock/532540")

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(params=["hot", "cold"], scope="module", loop_scope="module")
async def venue(request):
    async with Venue(hot_path=request.param == "hot") as venue:
        yield venue


@pytest.mark.parametrize(
    "attack",
    [
        request("/", "Content-Length: 4", "Transfer-Encoding: chunked", method="POST", body=b"0\r\n\r\n" + SMUGGLED),
        request("/", "Transfer-Encoding: chunked", "Content-Length: 4", method="POST", body=b"0\r\n\r\n" + SMUGGLED),
        request("/", "Transfer-Encoding: chunked, identity", method="POST", body=b"0\r\n\r\n" + SMUGGLED),
        request("/", "Transfer-Encoding: xchunked", method="POST", body=b"0\r\n\r\n" + SMUGGLED),
        request("/", "Transfer-Encoding : chunked", method="POST", body=b"0\r\n\r\n" + SMUGGLED),
        request("/", "Content-Length: 1", "Content-Length: 2", method="POST", body=b"ab" + SMUGGLED),
        request("/", "Content-Length: +2", method="POST", body=b"ab" + SMUGGLED),
        request("/", "Content-Length: 0x2", method="POST", body=b"ab" + SMUGGLED),
        request("/", "Content-Length: 99999999999999999999", method="POST", body=b"ab" + SMUGGLED),
        request("/", "Transfer-Encoding: chunked", method="POST", body=b"2\nab\n0\n\n" + SMUGGLED),
        request("/", "Transfer-Encoding: chunked", method="POST", body=b"ffffffffffffffffff\r\n" + SMUGGLED),
        b"GET /api/stock/500325 HTTP/1.1\r\nHost: localhost\r\nX: a\r\n\tHost: evil\r\n\r\n" + SMUGGLED,
        b"GET /api/stock/500325 HTTP/1.1\nHost: localhost\n\n" + SMUGGLED,
        b"GET /api/stock/500325 HTTP/1.1\r\nHost: localhost\r\nX: \0\r\n\r\n" + SMUGGLED,
        b"GET /api/stock/500325\0 HTTP/1.1\r\nHost: localhost\r\n\r\n" + SMUGGLED,
        b"GET /api/stock/500325 HTTP/1.1\r\nHost: localhost\r\nbad name: x\r\n\r\n" + SMUGGLED,
        b"GET /api/stock/500325 HTTP/3.7\r\nHost: localhost\r\n\r\n" + SMUGGLED,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SMUGGLED,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + SMUGGLED,
    ],
    ids=range(19),
)
async def test_bytes_that_two_readers_would_cut_differently_end_the_connection(venue, attack):
    async with venue.line() as line:
        await line.send(attack)
        with contextlib.suppress(ConnectionError):
            told = await line.ended()
            assert told.count(b"HTTP/1.1 ") <= 1, told
            assert b'"symbol":"532540"' not in told, "what was hidden behind it was answered"
            assert told == b"" or told.startswith((b"HTTP/1.1 400", b"HTTP/1.1 405")), told


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        (("Host: localhost", "Host: evil.example"), 421),
        (("Host: evil.example",), 421),
        ((), 421),
        *[
            ((f"Host: {host}",), 421)
            for host in ("localhost:99x", "localhost:65536", "[::1", "localhost/x", "x@localhost", "::1:1")
        ],
    ],
)
async def test_a_host_that_is_not_exactly_ours_is_refused(venue, headers, code):
    (await venue.ask(request("/api/stock/500325", *headers, host=None))).refused(code, "foreign_host")


STOCK = "/api/stock/500325"


@pytest.mark.parametrize("upgrade", [(), ("Upgrade: websocket", "Connection: Upgrade")], ids=["http", "handshake"])
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "user@localhost", "localhost:99999", "localhost@evil.example", "[::1"]
)
async def test_the_host_of_a_whole_url_counts_and_not_the_header(venue, host, upgrade):
    path = "/ws" if upgrade else STOCK
    answer = await venue.ask(request(f"http://{host}{path}", *upgrade))
    assert answer.status in (400, 421)
    answer.refused(answer.status, "foreign_host" if answer.status == 421 else "malformed_request")


async def test_a_whole_url_with_our_host_is_a_request_like_any_other(venue):
    asked = request(f"http://localhost{STOCK}", host="evil.example")
    async with venue.line() as line:
        for _ in range(2):
            assert (await line.ask(asked)).told["symbol"] == "500325"
        assert (await line.ask(request("HTTPS://[::1]:5000/api/stocks/batch?symbols=500325"))).status == 200
    (await venue.ask(request(f"http://localhost{STOCK}", host=None))).refused(421, "foreign_host")
    (await venue.ask(request(f"http://localhost{STOCK}", "Host: localhost"))).refused(421, "foreign_host")
    async with venue.line() as line:
        head = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
        await line.send(request("http://localhost/ws", *head, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="))
        assert (await line.head()).status == 101


@pytest.mark.parametrize("target", [f"ftp://localhost{STOCK}", f"httpx://localhost{STOCK}", f"ws://localhost{STOCK}"])
async def test_a_url_of_another_scheme_is_refused(venue, target):
    (await venue.ask(request(target))).refused(400, "malformed_request")


@pytest.mark.parametrize(
    "target",
    [
        "/api/stock/..%2f..%2fetc%2fpasswd",
        "/../../etc/passwd",
        "/lib/..%2f..%2fapp.js",
        "/api/stock/%00",
        "/%2e%2e/x",
        "//evil.example/x",
        "/api//stock/500325",
        "/api/stock/%ff",
        "/.env",
    ],
)
async def test_a_path_that_leads_elsewhere_leads_nowhere(venue, target):
    answer = await venue.read(target)
    assert answer.status in (400, 404, 421), answer
    assert answer.told["code"] in ("bad_request", "not_found", "unknown_symbol", "foreign_host", "malformed_request")
