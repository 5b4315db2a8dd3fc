"""The hot path answers what the framework answers: the same requests to both, over the same replica, byte for byte."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio
import structlog

from bhavcast.access.allowance import Allowance
from bhavcast.access.doorkeeper import Doorkeeper
from bhavcast.access.keyring import Keyring
from bhavcast.domain.access import Key, digest
from bhavcast.telemetry.clock import ManualClock, SystemClock
from tests.docs.stage import EPOCH, NEXT_EPOCH, Still
from tests.integration.venue import DESK, STRANGER, Answer, Line, Venue, request

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

# `date` is the second it was answered in, the age is the moment's, the id the request's, and both take from one bucket.
# Nothing of the connection is left out: both keep it.
MOMENTARY = ("date", "x-bhavcast-age-ms", "x-request-id", "ratelimit-remaining", "ratelimit-reset")
REQUEST_ID = re.compile(rb'"request_id":"[^"]+"')
STOCK, BATCH = "/api/stock/", "/api/stocks/batch"
TARGETS = (
    # names
    STOCK + "500325",
    STOCK + "reliance",
    STOCK + "RELIANCE",
    STOCK + "ine002a01018",
    STOCK + "M%26M",
    STOCK + "m%26m",
    STOCK + "M&M",
    STOCK + "SBIN%23",
    STOCK + "SBIN%2523",
    STOCK + "SBIN#",
    STOCK + "SBIN#?depth=9",
    STOCK + "IDX:SENSEX",
    STOCK + "idx%3asensex",
    STOCK + "IDX:NONE",
    STOCK + "TWIN",
    STOCK + "600001",
    STOCK + "700001",
    STOCK + "000000",
    STOCK + "999999",
    STOCK + "%35%30%30%33%32%35",
    STOCK + "500325%20",
    STOCK + "%20500325",
    STOCK + "500325+",
    STOCK + "%",
    STOCK + "%4",
    STOCK + "%zz",
    STOCK + "%FF",
    STOCK + "%C3%A9",
    STOCK + "%E2%82%AC%00%0A",
    STOCK + "A" * 64,
    STOCK + "A" * 65,
    STOCK + "A" * 4000,
    # paths
    STOCK,
    STOCK + "?depth=1",
    STOCK[:-1],
    STOCK + "500325/",
    STOCK + "500325/x",
    STOCK + "500325%2F",
    STOCK + "500325%2fx",
    STOCK + "/500325",
    STOCK + ".",
    STOCK + "..",
    STOCK + "../stocks/batch?symbols=500325",
    STOCK + "a;b=c",
    STOCK + "batch",
    "/api//stock/500325",
    "/API/STOCK/500325",
    "/api/stock%2F500325",
    "/api/stocks/%62atch?symbols=500325",
    "/api/st%6Fck/500325",
    BATCH + "/",
    BATCH + "/?symbols=500325",
    BATCH + "x?symbols=500325",
    "/api/stocks?limit=1",
    "http://localhost/api/stock/500325",
    # queries
    STOCK + "500325?",
    STOCK + "500325??",
    STOCK + "500325?depth=0",
    STOCK + "500325?depth=5",
    STOCK + "500325?depth=05",
    STOCK + "500325?depth=6",
    STOCK + "500325?depth=",
    STOCK + "500325?depth=%35",
    STOCK + "500325?depth=1&depth=1",
    STOCK + "500325?depth=1&",
    STOCK + "500325?&depth=1",
    STOCK + "500325?depth=1;fields=ltp",
    STOCK + "500325?fields=ltp",
    STOCK + "500325?fields=LTP",
    STOCK + "500325?fields=",
    STOCK + "500325?fields=,",
    STOCK + "500325?fields=volume,volume",
    STOCK + "500325?fields=volume%2Cbid_price",
    STOCK + "500325?fields=volume&depth=1",
    STOCK + "500325?fields=nonsense",
    STOCK + "500325?=1",
    STOCK + "500325?x=%FF",
    STOCK + "500325?fields=%FF",
    STOCK + "500325?" + "&".join(f"a{n}=1" for n in range(17)),
    STOCK + "500325?symbols=1",
    STOCK + "500325?depth=1#piece",
    STOCK + "500325?fields=ltp&x=" + "y" * 9000,
    # batches
    BATCH,
    BATCH + "?",
    BATCH + "?symbols",
    BATCH + "?symbols=",
    BATCH + "?symbols=,",
    BATCH + "?symbols=500325",
    BATCH + "?symbols=500325,",
    BATCH + "?symbols=,500325,,532540",
    BATCH + "?symbols=500325%2C532540",
    BATCH + "?symbols=500325,500325",
    BATCH + "?symbols=M%26M,SBIN%23,IDX:SENSEX,%20tcs+",
    BATCH + "?symbols=M&M",
    BATCH + "?symbols=999999,TWIN,600001",
    BATCH + "?symbols=500325,999999&fields=ltp&depth=1",
    BATCH + "?symbols=%FF",
    BATCH + "?symbols=%E2%82%AC",
    BATCH + "?symbols=" + "A" * 65,
    BATCH + "?symbols=" + ",".join(["532540"] * 500),
    BATCH + "?symbols=" + ",".join(["532540"] * 501),
    BATCH + "?symbols=500325&symbols=532540",
    BATCH + "?symbols=500325&since=",
    BATCH + "?symbols=500325&since=x",
    BATCH + f"?symbols=500325,999999&since={EPOCH}:0",
    BATCH + f"?symbols=500325,532540&since={EPOCH}:1795405500001001",
    BATCH + f"?symbols=500325&since={NEXT_EPOCH}:0&fields=ltp",
    BATCH + f"?symbols=500325&since={EPOCH}:9000000000000000000",
    BATCH + f"?symbols=500325&since={EPOCH}:99999999999999999999",
)
HEADERS = (
    ("If-None-Match: *",),
    ("If-None-Match: {etag}",),
    ("If-None-Match: W/{etag}",),
    ('If-None-Match: "a", {etag}',),
    ('If-None-Match: "a",{etag} ,W/"b"',),
    ('If-None-Match: "a"',),
    ("If-None-Match:",),
    ("If-None-Match: ,",),
    ("If-None-Match: {etag}", 'If-None-Match: "a"'),
    ('If-None-Match: "a"', "If-None-Match: {etag}"),
    ("if-none-match:   {etag}   ",),
    ("IF-NONE-MATCH: {etag}", "Accept: */*", "Accept: text/html", "User-Agent: x"),
    ("If-None-Match: \xff\xfe",),
    ("Accept: text/html",),
    ("Accept-Encoding: gzip, br",),
    ("Cookie: a=b",),
    ("X-Own: 1", "X-Own: 2"),
    ("Range: bytes=0-3",),
    ("If-Match: *",),
    ("If-Modified-Since: Mon, 23 Nov 2026 00:00:00 GMT",),
    ("Content-Length: 0",),
    ("Content-Length: 3", "", "abc"),
    ("Transfer-Encoding: chunked", "", "3", "abc", "0", ""),
    ("Expect: 100-continue", "Content-Length: 0"),
    (f"Origin: {DESK}",),
    (f"Origin: {STRANGER}",),
    ("Origin: null",),
    (f"Origin: {DESK}", f"Origin: {STRANGER}"),
    ("Host: localhost",),
    ("Host: evil.example",),
    ("Connection: keep-alive",),
    ("Connection: Upgrade", "Upgrade: h2c"),
    ("Forwarded: for=1.2.3.4", "X-Forwarded-For: 1.2.3.4"),
    ("Cache-Control: no-cache", "Pragma: no-cache"),
    ("traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",),
)
METHODS = ("HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")
HOSTS = ("localhost", "LocalHost:1", "127.0.0.1", "[::1]", "[::1", "evil.example", "", "localhost.", "a b", None)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def both() -> AsyncIterator[Venue]:
    async with Venue(also_cold=True) as venue:
        yield venue


def told(answer: Answer) -> tuple[int, list[tuple[str, str]], bytes]:
    """Return what has to be equal; the order of headers tells a client nothing."""
    kept = sorted((name, "*" if name in MOMENTARY else value) for name, value in answer.headers)
    return answer.status, kept, REQUEST_ID.sub(b'"request_id":"*"', answer.body)


async def same(hot: Line, cold: Line, data: bytes) -> Answer:
    """Ask both; return the answer, which is one."""
    answers = [await line.ask(data) for line in (hot, cold)]
    assert told(answers[0]) == told(answers[1]), data[:300]
    return answers[0]


async def agree(venue: Venue, asked: list[bytes]) -> None:
    """Ask everything twice, so that the second may be a ready answer; then both must be alive on the same connection."""
    assert venue.cold_listener is not None
    cold_port = venue.cold_listener.getsockname()[1]
    async with venue.line() as hot, venue.line(cold_port) as cold:
        for data in asked:
            for _ in range(2):
                await same(hot, cold, data)
            alive = await same(hot, cold, request("/health/live"))
            assert alive.status == 200, data[:300]


def with_etag(etag: str) -> list[bytes]:
    targets = (STOCK + "500325", BATCH + "?symbols=500325", STOCK + "999999", STOCK + "600001", "/health")
    asked = []
    for target in targets:
        for headers in HEADERS:
            body = "\r\n".join(headers[headers.index("") + 1 :]) if "" in headers else ""
            lines = headers[: headers.index("")] if "" in headers else headers
            ending = b"\r\n\r\n" if body.endswith("0\r\n") else b""
            whole = request(target, *[line.format(etag=etag) for line in lines], body=body.encode())
            asked.append(whole + ending[:2])
    return asked


@pytest.mark.parametrize("part", range(4))
async def test_any_url_gets_one_answer(both: Venue, part: int):
    await agree(both, [request(target) for target in TARGETS[part::4]])


@pytest.mark.parametrize("part", range(4))
async def test_any_header_gets_one_answer(both: Venue, part: int):
    etag = (await both.read(STOCK + "500325")).header("etag")
    assert etag is not None
    await agree(both, with_etag(etag)[part::4])


async def test_any_method_gets_one_answer(both: Venue):
    targets = (STOCK + "500325", STOCK + "999999", BATCH + "?symbols=500325", BATCH)
    await agree(both, [request(target, method=method) for target in targets for method in METHODS])


async def test_any_host_gets_one_answer(both: Venue):
    targets = (STOCK + "500325", BATCH + "?symbols=500325", STOCK + "999999")
    await agree(both, [request(target, host=host) for target in targets for host in HOSTS])


async def test_other_ways_to_write_the_same_request_get_one_answer(both: Venue):
    target = (STOCK + "500325").encode()
    lines = [
        b"\r\nGET %b HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\r\n\r\nGET %b HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET %b HTTP/1.1\r\nhOsT:localhost\r\n\r\n",
        b"GET %b HTTP/1.1\r\nHost: \t localhost \t \r\n\r\n",
        b"GET %b HTTP/1.1\r\nAccept: */*\r\nHost: localhost\r\nUser-Agent: a: b\r\n\r\n",
    ]
    await agree(both, [line % target for line in lines])


async def test_whoever_wants_the_connection_closed_gets_one_answer(both: Venue):
    assert both.cold_listener is not None
    ports = (both.port, both.cold_listener.getsockname()[1])
    old = b"GET /api/stock/500325 HTTP/1.0\r\nHost: localhost\r\n"
    closing = request(STOCK + "500325", "Connection: close")
    for data in (closing, old + b"\r\n", old + b"Connection: keep-alive\r\n\r\n"):
        answers, alive = [], []
        for port in ports:
            async with both.line(port) as line:
                answers.append(told(await line.ask(data)))
                if b"keep-alive" in data:
                    line.writer.write_eof()
                alive.append(await line.ended())
        assert answers[0] == answers[1]
        assert alive == [b"", b""]


async def test_a_ready_answer_follows_its_quote():
    async with Venue(also_cold=True) as venue:
        assert venue.cold_listener is not None
        asked = [STOCK + "500325", STOCK + "RELIANCE?depth=5&fields=ltp", BATCH + "?symbols=532540,500325"]
        asked += [STOCK + "600001", BATCH + "?symbols=500325,600001", BATCH + "?symbols=600001"]
        asked += [BATCH + f"?symbols=500325,532540&since={EPOCH}:{venue.board.rev}"]
        async with venue.line() as hot, venue.line(venue.cold_listener.getsockname()[1]) as cold:

            async def round_() -> list[Answer]:
                got = []
                for target in asked:
                    first = await same(hot, cold, request(target))
                    again = await same(hot, cold, request(target))
                    assert told(again) == told(first)
                    got.append(first)
                    if etag := first.header("etag"):
                        held = await same(hot, cold, request(target, f"If-None-Match: {etag}"))
                        assert held.status == 304
                return got

            before = await round_()
            etag = before[0].header("etag")
            conditional = request(STOCK + "500325", f"If-None-Match: {etag}")
            assert [(await same(hot, cold, conditional)).status for _ in range(2)] == [304, 304]
            await venue.price("500325", 153300)
            after = await round_()
            assert after[0].told["current_price"] == 1533.0
            # What was a ready 304 is an answer now, and a 304 again for the new tag only.
            assert [(await same(hot, cold, conditional)).status for _ in range(2)] == [200, 200]
            await venue.price("532540", 310020)  # another quote: nothing of the first but the position
            third = await round_()
            assert third[0].body == after[0].body
            assert third[0].header("x-bhavcast-position") != after[0].header("x-bhavcast-position")
            assert third[2].body != after[2].body
            await venue.price("600001", 500)  # was no_data_yet
            assert [each.status for each in await round_()] == [200] * len(asked)
            await venue.begin(NEXT_EPOCH)
            await venue.settled()
            anew = await round_()
            assert (anew[0].header("etag") or "").startswith(f'"{NEXT_EPOCH}:')
            venue.gateway.drain()
            for target in asked:
                (await same(hot, cold, request(target))).refused(503, "draining")


# -- who asks -----------------------------------------------------------------------------------------------------------

VIEWER = Key(id="1", name="desk", role="viewer", sha256=digest("desk-key"), created=0)
OPERATOR = Key(id="2", name="ops", role="operator", sha256=digest("ops-key"), created=0)
EXPIRED = Key(id="3", name="old", role="viewer", sha256=digest("old-key"), created=0, expires=1)
REVOKED = Key(id="4", name="gone", role="admin", sha256=digest("gone-key"), created=0, revoked=1)
CREDENTIALS = (
    (),
    ("Authorization: Bearer desk-key",),
    ("authorization: bearer   desk-key  ",),
    ("X-API-Key: desk-key",),
    ("X-API-Key: ops-key", "X-Request-ID: mine-1"),
    ("Authorization: Basic ZGVzazprZXk=",),
    ("Authorization: Basic ZGVzazprZXk=", "X-API-Key: desk-key"),
    ("Authorization: Bearer",),
    ("Authorization: Bearer wrong-key",),
    ("X-API-Key: old-key",),
    ("X-API-Key: gone-key",),
    ("X-API-Key: " + "x" * 5000,),
    ("X-API-Key: \xff",),
    ("Authorization: Bearer desk-key", "X-API-Key: desk-key"),
    ("X-API-Key: desk-key", "X-API-Key: desk-key"),
    ("X-API-Key: desk-key", "Host: evil.example"),
    ("X-API-Key: desk-key", f"Origin: {DESK}"),
    ("X-API-Key: desk-key", f"Origin: {STRANGER}"),
    ("X-API-Key: desk-key", "Forwarded: for=1.2.3.4"),
    ("X-API-Key: desk-key", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https"),
    ("X-Forwarded-For: 127.0.0.1",),
    ("Cookie: bhavcast_session=none-of-ours",),
    ("X-API-Key: desk-key", "X-Request-ID: " + "x" * 200),
    ("X-API-Key: desk-key", 'X-Request-ID: a"b'),
    ("X-API-Key: desk-key", "If-None-Match: *"),
)


def guarded(keys: tuple[Key, ...] = (VIEWER, OPERATOR, EXPIRED, REVOKED), **allowance: float) -> Doorkeeper:
    given = Allowance(**{"failures_per_minute": 1_000_000, **allowance})  # type: ignore[arg-type]  # by name
    return Doorkeeper(Keyring(keys), Still(), allowance=given)


async def test_whoever_asks_gets_one_answer():
    targets = (
        STOCK + "500325",
        STOCK + "999999",
        BATCH + "?symbols=500325,999999",
        "/api/indices",
        "/health/ready",
        "/api/no",
    )
    async with Venue(also_cold=True, keeper=guarded()) as venue:
        await agree(venue, [request(target, *headers) for target in targets for headers in CREDENTIALS])
        answers = [await venue.read(targets[0], *headers) for headers in CREDENTIALS[:12]]
        assert [each.status for each in answers] == [401, 200, 200, 200, 200, 401, 200, 401, 401, 401, 401, 401]
        assert [each.told["code"] for each in answers[-4:]] == [
            "unauthenticated",
            "key_expired",
            "key_expired",
            "unauthenticated",
        ]
        assert answers[4].header("x-request-id") == "mine-1"
        assert answers[0].header("www-authenticate") == 'Bearer realm="bhavcast"'


async def test_the_admin_routes_want_an_operator_whatever_else_is_open():
    for keeper, name, status in (
        (guarded(()), "X-API-Key: ops-key", 401),
        (guarded(()), "Accept: */*", 401),
        (guarded(), "X-API-Key: desk-key", 403),
        (guarded(), "X-API-Key: ops-key", 409),  # this gateway runs without its sources
    ):
        async with Venue(also_cold=True, keeper=keeper) as venue:
            asked = request("/api/admin/feeds/sim/pause", name, method="POST")
            await agree(venue, [asked])
            assert (await venue.ask(asked)).status == status


async def test_one_request_too_many_gets_one_answer():
    """Two doors that know nothing of each other, so that both count alike; no token comes back meanwhile."""
    shown = []
    for hot in (True, False):
        door = guarded(requests_burst=3, requests_per_second=0.0001)
        async with Venue(hot_path=hot, keeper=door) as venue, venue.line() as line:
            answers = []
            for name in ("desk-key", "ops-key", "wrong-key"):
                target = STOCK + "500325"
                answers += [await line.ask(request(target, f"X-API-Key: {name}")) for _ in range(5)]
            shown.append([(told(each), each.header("ratelimit-remaining")) for each in answers])
            for each in (answers[3], answers[4], answers[8], answers[13]):
                assert each.refused(429, "rate_limited")["retry_after"] == 10_000
            assert [each.header("ratelimit-remaining") for each in answers[:5]] == ["2", "1", "0", "0", "0"]
            assert {each.header("ratelimit-limit") for each in answers} == {"3"}
            assert (await line.ask(request("/"))).status == 429  # the address has no request left, for pages neither
    assert shown[0] == shown[1]


async def test_a_key_that_comes_goes_or_ends_is_felt_on_connections_that_are_open():
    keyring = Keyring()
    clock = SystemClock()
    async with (
        Venue(also_cold=True, keeper=Doorkeeper(keyring, clock)) as venue,
        venue.line() as hot,
        venue.line(venue.cold_port) as cold,
    ):
        bare, keyed = request(STOCK + "500325"), request(STOCK + "500325", "X-API-Key: desk-key")

        async def asked(data: bytes) -> list[int]:
            return [(await same(hot, cold, data)).status for _ in range(2)]

        assert await asked(bare) == [200, 200]
        assert await asked(keyed) == [401, 401]
        keyring.replace([VIEWER])
        assert await asked(bare) == [401, 401]
        assert await asked(keyed) == [200, 200]
        keyring.replace([msgspec.structs.replace(VIEWER, revoked=1)])
        assert await asked(keyed) == [401, 401]
        assert await asked(bare) == [401, 401]


async def test_what_was_found_of_a_visitor_is_not_believed_past_the_end_of_the_key():
    clock = ManualClock()
    ends = msgspec.structs.replace(VIEWER, expires=clock.wall_ms() + 5000)
    async with Venue(keeper=Doorkeeper(Keyring([ends]), clock)) as venue, venue.line() as line:
        venue.gateway.clock = clock
        keyed = request(STOCK + "500325", "X-API-Key: desk-key")
        assert [(await line.ask(keyed)).status for _ in range(2)] == [200, 200]
        clock.advance(4.9)
        assert (await line.ask(keyed)).status == 200
        clock.advance(0.1)
        (await line.ask(keyed)).refused(401, "key_expired")


async def test_a_ready_answer_without_a_key_is_nobodys_but_the_connections():
    """The bytes are the same from every address, and each has its own allowance and its own right to read."""
    door = guarded((), requests_burst=4, requests_per_second=0.0001)
    async with Venue(keeper=door) as venue:
        data = request(STOCK + "500325")
        async with venue.line() as line:
            assert [(await line.ask(data)).status for _ in range(5)] == [200] * 4 + [429]
        reader, writer = await asyncio.open_connection("127.0.0.1", venue.port, local_addr=("127.0.0.2", 0))
        other = Line(reader, writer)
        assert [(await other.ask(data)).status for _ in range(5)] == [200] * 4 + [429]
        writer.close()


@pytest.mark.parametrize("hot", [True, False])
async def test_a_head_or_url_without_end_is_refused_on_both_paths(hot: bool):
    async with Venue(hot_path=hot) as venue:
        for data, status, code in (
            (b"GET /" + b"x" * 40_000, 414, "url_too_long"),
            (b"GET /" + b"x" * 17_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414, "url_too_long"),
            (b"GET http://" + b"x" * 17_000 + b"/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 414, "url_too_long"),
            (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 40_000, 431, "headers_too_large"),
            (b"NONSENSE\r\n\r\n", 400, "malformed_request"),
        ):
            async with venue.line() as line:
                await line.send(data)
                answer = await line.answer()
                answer.refused(status, code)
                assert answer.header("x-content-type-options") == "nosniff"
                assert await line.ended() == b""


async def test_both_paths_log_the_same_and_never_a_key():
    logged = []
    for hot in (True, False):
        async with Venue(hot_path=hot, keeper=guarded()) as venue, venue.line() as line:
            venue.server.accesses.flush()
            with structlog.testing.capture_logs() as lines:
                for _ in range(3):
                    await line.ask(request(STOCK + "500325?fields=ltp", "X-API-Key: desk-key"))
                await line.ask(request(STOCK + "bhk_secret?fields=ltp", "X-API-Key: desk-key", "X-Request-ID: r-1"))
                await line.ask(request(STOCK + "500325", "X-API-Key: wrong-key", "X-Request-ID: r-2"))
                venue.server.accesses.flush()
            text = repr(lines)
            assert "-key" not in text
            assert "secret" not in text
            assert "ltp" not in text
            kept = [each for each in lines if each["event"] == "request"]
            # A second may end in between, and its sum is written then.
            sums = Counter[tuple[str, str, int]]()
            for each in lines:
                if each["event"] == "requests":
                    sums[each["route"], each["key"], each["status"]] += each["count"]
            logged.append(([{name: value for name, value in each.items() if name != "ms"} for each in kept], sums))
    assert logged[0] == logged[1]
    singly, sums = logged[0]
    assert sums == {("/api/stock/{symbol}", "desk", 200): 3}
    assert [(each["status"], each["code"], each["key"], each["request_id"]) for each in singly] == [
        (404, "unknown_symbol", "desk", "r-1"),
        (401, "unauthenticated", "-", "r-2"),
    ]
