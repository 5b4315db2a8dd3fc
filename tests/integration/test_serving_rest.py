"""Every REST route and every refusal, asked over real sockets, with and without the hot path."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import structlog

from bhavcast.domain import field
from bhavcast.domain.span import SPANS, Span
from tests.docs.stage import EPOCH, NEXT_EPOCH
from tests.integration.venue import DESK, PAGE, STRANGER, Answer, Venue, request

RELIANCE = "/api/stock/500325"
ROUTES = (
    RELIANCE,
    "/api/stocks/batch?symbols=500325",
    "/api/stocks",
    "/api/market/status",
    "/api/indices",
    "/api/market/movers",
    "/api/market/breadth",
    "/api/ranges/500325",
    "/api/feeds",
    "/api/gaps",
    "/health",
    "/health/live",
    "/health/ready",
    "/metrics",
    "/openapi.json",
    "/",
)


# Opening and closing a server takes longer than most of what is asked here: who only reads shares one.
pytestmark = pytest.mark.asyncio(loop_scope="module")
BOTH = pytest.mark.parametrize("hot", [True, False], ids=["hot", "cold"])


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[True, False], ids=["hot", "cold"])
async def venue(request: pytest.FixtureRequest) -> AsyncIterator[Venue]:
    """Both ways of serving; nothing ticks."""
    async with Venue(hot_path=request.param) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hall() -> AsyncIterator[Venue]:
    """As it is run: with the hot path; nothing ticks."""
    async with Venue() as opened:
        yield opened


# -- what is answered -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ROUTES)
async def test_every_route_answers_and_carries_the_safe_headers(hall: Venue, target: str):
    answer = await hall.read(target)
    assert answer.status == 200
    assert answer.body
    assert answer.header("x-content-type-options") == "nosniff"
    assert answer.header("referrer-policy") == "no-referrer"
    assert answer.header("cache-control") == "no-cache"
    assert answer.header("cross-origin-resource-policy") == "same-site"
    assert answer.header("server") is None
    assert answer.header("date") is not None


@pytest.mark.parametrize("target", ROUTES)
async def test_the_head_of_what_can_be_had_can_be_asked_for(hall: Venue, target: str):
    async with hall.line() as line:
        full = await line.ask(request(target))
        head = await line.ask(request(target, method="HEAD"))
        again = await line.ask(request(target))  # nothing of a body lies between
        assert (head.status, again.status) == (200, 200)
        assert head.header("content-type") == full.header("content-type")
        if target not in ("/metrics", "/api/feeds", "/api/market/status"):
            assert head.header("content-length") == full.header("content-length")


async def test_figures_name_their_form_and_character_set_once(hall: Venue):
    assert (await hall.read("/metrics")).header("content-type") == "text/plain; version=0.0.4; charset=utf-8"


@pytest.mark.parametrize("target", ROUTES)
async def test_nothing_can_be_written_to(hall: Venue, target: str):
    answer = await hall.ask(request(target, "Content-Length: 2", method="POST", body=b"{}"))
    answer.refused(405, "method_not_allowed")
    assert "GET" in (answer.header("allow") or "")


async def test_what_is_not_served_is_not_served_by_any_method(hall: Venue):
    for target in ("/nothing", "/api/nothing"):
        (await hall.ask(request(target, method="POST"))).refused(404, "not_found")


async def test_a_quote_has_the_numbers_that_ticked(venue: Venue):
    answer = await venue.read(RELIANCE)
    assert answer.header("content-type") == "application/json"
    assert answer.header("x-bhavcast-position") == f"{EPOCH}:{venue.board.rev}"
    assert answer.header("x-bhavcast-age-ms") == "760"
    quote = answer.told
    assert (quote["symbol"], quote["id"], quote["current_price"]) == ("500325", "RELIANCE", 1532.9)
    assert "close_price" not in quote  # not given is absent, never zero
    assert "depth" not in quote
    deep = (await venue.read(RELIANCE + "?depth=1&fields=current_price")).told
    assert deep["depth"]["bids"] == [{"price": 1532.65, "quantity": 126, "orders": 6}]
    assert deep.keys() == {"symbol", "current_price", "depth", "rev"}


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("500325", "500325"),
        ("RELIANCE", "500325"),
        ("reliance", "500325"),
        ("INE002A01018", "500325"),
        ("ine002a01018", "500325"),
        ("M%26M", "500520"),
        ("m%26m", "500520"),
        ("M&M", "500520"),
        ("SBIN%23", "890112"),
        ("SBIN", "500112"),
        ("INE062A01020", "500112"),  # of two scrips the one that settles T+1
        ("IDX:SENSEX", "IDX:SENSEX"),
        ("idx:sensex", "IDX:SENSEX"),
        ("IDX%3ASENSEX", "IDX:SENSEX"),
        ("%35%30%30%33%32%35", "500325"),
        ("700001", "700001"),  # suspended, and it has traded
    ],
)
async def test_a_scrip_is_found_by_whatever_it_is_called(venue: Venue, name: str, code: str):
    assert (await venue.read(f"/api/stock/{name}")).told["symbol"] == code
    listed = name.replace("M&M", "M%26M")
    assert [each["symbol"] for each in (await venue.read(f"/api/stocks/batch?symbols={listed}")).told] == [code]


async def test_an_id_of_several_scrips_names_them(venue: Venue):
    told = (await venue.read("/api/stock/twin")).refused(409, "ambiguous_symbol")
    assert told["candidates"] == ["600002", "600003"]
    [element] = (await venue.read("/api/stocks/batch?symbols=TWIN")).told
    assert element["symbol"] == "TWIN"
    assert element["error"]["code"] == "ambiguous_symbol"
    assert element["error"]["candidates"] == ["600002", "600003"]
    (await venue.read("/api/ranges/TWIN")).refused(409, "ambiguous_symbol")


@pytest.mark.parametrize(
    ("target", "status", "code", "named"),
    [
        ("/api/stock/999999", 404, "unknown_symbol", "symbol"),
        ("/api/stock/SENSEX", 404, "unknown_symbol", "symbol"),
        ("/api/stock/" + "A" * 65, 404, "unknown_symbol", "symbol"),
        ("/api/stock/%FF", 400, "bad_request", "symbol"),
        ("/api/stock/%00", 404, "unknown_symbol", "symbol"),
        ("/api/stock/600001", 503, "no_data_yet", None),
        ("/api/stock/500325?depth=6", 400, "bad_request", "depth"),
        ("/api/stock/500325?depth=-1", 400, "bad_request", "depth"),
        ("/api/stock/500325?depth=two", 400, "bad_request", "depth"),
        ("/api/stock/500325?fields=price", 400, "bad_request", "fields"),
        ("/api/stock/500325?colour=red", 400, "bad_request", "colour"),
        ("/api/stock/500325?depth=1&depth=2", 400, "bad_request", "depth"),
        ("/api/stock/500325?junk", 400, "bad_request", "query"),
        ("/api/stocks/batch", 400, "too_many_symbols", "symbols"),
        ("/api/stocks/batch?symbols=", 400, "too_many_symbols", "symbols"),
        ("/api/stocks/batch?symbols=,,", 400, "bad_request", "symbols"),
        ("/api/stocks/batch?symbols=500325,,532540", 400, "bad_request", "symbols"),
        ("/api/stocks/batch?symbols=500325,", 400, "bad_request", "symbols"),
        ("/api/stocks/batch?symbols=500325&since=yesterday", 400, "bad_request", "since"),
        ("/api/stocks?limit=0", 400, "bad_request", "limit"),
        ("/api/stocks?limit=1001", 400, "bad_request", "limit"),
        ("/api/stocks?limit=many", 400, "bad_request", "limit"),
        ("/api/stocks?cursor=nonsense", 400, "bad_request", "cursor"),
        ("/api/market/movers?by=colour", 400, "bad_request", "by"),
        ("/api/market/movers?limit=201", 400, "bad_request", "limit"),
        ("/api/gaps?symbol=999999", 404, "unknown_symbol", "symbol"),
        ("/api/gaps?from=yesterday", 400, "bad_request", "from"),
        ("/api/gaps?from=9999-99-99", 400, "bad_request", "from"),
        ("/api/ranges/999999", 404, "unknown_symbol", "symbol"),
        ("/api/nothing", 404, "not_found", None),
        ("/nothing", 404, "not_found", None),
        ("/nothing.json", 404, "not_found", None),
        ("/openapi.json/more", 404, "not_found", None),
        ("/openapi.json/openapi.json", 404, "not_found", None),
        ("/ws", 426, "bad_handshake", None),
        ("/api/stock/", 404, "not_found", None),
        ("/api/stock/500325/more", 404, "not_found", None),
        ("/api/stock", 404, "not_found", None),
        ("/../etc/passwd", 404, "not_found", None),
    ],
)
async def test_what_is_wrong_is_refused_by_name(venue: Venue, target: str, status: int, code: str, named: str | None):
    assert (await venue.read(target)).refused(status, code).get("field") == named


@pytest.mark.parametrize("target", [*ROUTES[:-1], "/api/session"])
async def test_a_query_that_a_route_does_not_know_is_refused_by_name(hall: Venue, target: str):
    sign = "&" if "?" in target else "?"
    told = (await hall.read(f"{target}{sign}colour=red")).refused(400, "bad_request")
    assert told["field"] == "colour"
    assert told["detail"].endswith("got 'colour'")
    assert (await hall.read(f"{target}{sign}junk")).refused(400, "bad_request")["field"] == "query"


async def test_every_query_that_the_document_names_is_known_and_stands_once(hall: Venue):
    described = (await hall.read("/openapi.json")).told["paths"]
    named = [
        (path.replace("{symbol}", "500325"), each["name"])
        for path, methods in described.items()
        for each in methods.get("get", {}).get("parameters", [])
        if each["in"] == "query"
    ]
    assert len(named) > 10
    for path, name in named:
        told = (await hall.read(f"{path}?{name}=1&{name}=1")).refused(400, "bad_request")
        assert (told["field"], told["detail"]) == (name, "expected it once, got it twice"), path


async def test_lists_are_paged_searched_and_grouped(hall: Venue):
    first = (await hall.read("/api/stocks?limit=4")).told
    rest = (await hall.read(f"/api/stocks?limit=1000&cursor={first['next']}")).told
    codes = [each["symbol"] for each in first["stocks"] + rest["stocks"]]
    assert rest["next"] is None
    assert len(codes) == len(set(codes)) == 10
    assert "000000" not in codes  # the canary is of the service, not of the market
    assert [each["symbol"] for each in (await hall.read("/api/stocks?q=reliance")).told["stocks"]] == ["500325"]
    grouped = (await hall.read("/api/stocks?group=x")).told["stocks"]
    assert [each["symbol"] for each in grouped] == ["600001"]


async def test_the_market_is_told(hall: Venue):
    status = (await hall.read("/api/market/status")).told
    assert status["status"] == "open"
    assert status["pos"] == f"{EPOCH}:{hall.board.rev}"
    assert [each["symbol"] for each in (await hall.read("/api/indices")).told] == ["IDX:SENSEX"]
    losers = (await hall.read("/api/market/movers?by=loss&limit=1")).told
    assert [each["symbol"] for each in losers] == ["500325"]
    breadth = (await hall.read("/api/market/breadth")).told
    assert breadth["declines"] == 2
    ranges = (await hall.read("/api/ranges/RELIANCE")).told
    assert ranges["day"] == {"high": 1533.45, "low": 1532.65}
    assert ranges["week"] == {"high": 1533.45, "low": 1532.65, "days": 1, "from": ranges["date"]}
    assert ranges["year"] == {"high": 1880.5, "low": 1005.35}
    assert (await hall.read("/api/feeds")).told["feeds"]["sim"]["state"] == "live"
    assert (await hall.read("/health")).told["status"] == "healthy"


async def test_every_route_is_described_with_an_example(hall: Venue):
    described = (await hall.read("/openapi.json")).told["paths"]
    assert {"/ws", "/api/stream", "/api/stock/{symbol}", "/metrics"} <= described.keys()
    for path, methods in described.items():
        for method, told in methods.items():
            good = {status: answer for status, answer in told["responses"].items() if status < "300"}
            contents = [each for answer in good.values() for each in answer.get("content", {}).values()]
            assert told["description"] or told["summary"], (method, path)
            assert "204" in good or (all(each.get("examples") for each in contents) and contents), (method, path)
    stream = described["/api/stream"]["get"]
    assert {each["name"] for each in stream["parameters"]} == {"symbols", "hz", "fields", "depth", "Last-Event-ID"}
    assert "text/event-stream" in stream["responses"]["200"]["content"]


async def test_ranges_are_made_of_the_days_that_are_known_and_say_how_many(hall: Venue, monkeypatch):
    week, year = Span(739_570, 2, 160000, 150000), Span(739_500, 40, 190000, 150000)
    spans = {"500325": [week, None, year], "532540": [None, None, year]}
    monkeypatch.setitem(hall.gateway.replica.facts, SPANS, spans)
    told = (await hall.read("/api/ranges/RELIANCE")).told
    assert told["week"] == {"high": 1600.0, "low": 1500.0, "days": 3, "from": "2025-11-15"}
    assert told["month"] == {**told["day"], "days": 1, "from": told["date"]}
    assert told["year"] == {"high": 1900.0, "low": 1005.35}, "the source's word, and what is known beyond it"
    told = (await hall.read("/api/ranges/532540")).told
    assert told["year"]["from"] == "2025-09-06"


async def test_the_ledger_of_gaps_is_told_by_scrip_and_time(venue: Venue):
    def gap(source: str | None, begin: int, end: int | None) -> dict:
        kind = "journal" if source is None else "feed"
        return {
            "kind": kind,
            "source": source,
            "from": begin,
            "to": end,
            "from_rev": 1,
            "to_rev": None,
            "reason": "why",
        }

    day = 1_795_405_500_000  # 09:15 in India
    ledger = [gap("sim", day, day + 1000), gap("other", day, day + 2000), gap(None, day, None)]
    venue.gateway.replica.facts["gaps"] = ledger
    told = (await venue.read("/api/gaps")).told["gaps"]
    assert [each["source"] for each in told] == ["sim", "other", None]
    assert told[0]["from"] == "2026-11-23T09:15:00.000+05:30"
    assert told[2]["to"] is None
    told = (await venue.read("/api/gaps?symbol=RELIANCE")).told["gaps"]
    assert [each["source"] for each in told] == ["sim", None]
    for moment in ("2026-11-23T09:15:01.500", "2026-11-23T09:15:01.500%2B05:30", "2026-11-23T03:45:01.5Z"):
        told = (await venue.read(f"/api/gaps?from={moment}")).told["gaps"]
        assert [each["source"] for each in told] == ["other", None], moment


# -- what has not changed ---------------------------------------------------------------------------------------------------


@BOTH
async def test_an_unchanged_quote_is_not_sent_again(hot: bool):
    async with Venue(hot_path=hot) as venue, venue.line() as line:
        first = await line.ask(request(RELIANCE))
        etag = first.header("etag")
        assert etag == f'"{EPOCH}:{first.told["rev"]}:ok"'
        for condition in (etag, f"W/{etag}", f'"another", {etag}', "*"):
            same = await line.ask(request(RELIANCE, f"If-None-Match: {condition}"))
            assert (same.status, same.body, same.header("etag")) == (304, b"", etag)
            assert same.header("content-length") is None
        assert (await line.ask(request(RELIANCE, 'If-None-Match: "another"'))).status == 200
        await venue.price("532540", 310020)
        assert (await line.ask(request(RELIANCE, f"If-None-Match: {etag}"))).status == 304
        await venue.price("500325", 153300)
        fresh = await line.ask(request(RELIANCE, f"If-None-Match: {etag}"))
        assert (fresh.status, fresh.told["current_price"]) == (200, 1533.0)
        assert fresh.header("etag") != etag
        await venue.begin(NEXT_EPOCH)
        await venue.settled()
        assert (await line.ask(request(RELIANCE, f"If-None-Match: {fresh.header('etag')}"))).status == 200


async def since(venue: Venue, pos: str, symbols: str = "500325,532540") -> Answer:
    return await venue.read(f"/api/stocks/batch?symbols={symbols}&since={pos}")


@BOTH
async def test_since_tells_what_changed_and_nothing_else(hot: bool):
    async with Venue(hot_path=hot) as venue:
        held = f"{EPOCH}:{venue.board.rev}"
        nothing = (await since(venue, held)).told
        assert nothing == {"pos": held, "recovered": True, "link": "ok", "q": []}
        await venue.tick("500325", {field.CURRENT_PRICE: 153300, field.YEAR_HIGH: None}, after_ms=5)
        await venue.settled()
        told = (await since(venue, held)).told
        assert told["pos"] == f"{EPOCH}:{venue.board.rev}"
        assert told["recovered"] is True
        [row] = told["q"]
        assert (row["symbol"], row["current_price"], row["rev"]) == ("500325", 1533.0, venue.board.rev)
        assert row["year_high"] is None  # cleared: the reader has to forget it
        assert "open" not in row
        assert (await since(venue, told["pos"])).told["q"] == []
        unknown = (await since(venue, told["pos"], "999999")).told["q"]
        assert [each["error"]["code"] for each in unknown] == ["unknown_symbol"]


async def test_since_another_epoch_begins_anew(venue: Venue):
    told = (await since(venue, f"{NEXT_EPOCH}:{venue.board.rev}")).told
    assert told["recovered"] is False
    assert [each["symbol"] for each in told["q"]] == ["500325", "532540"]
    assert told["q"][0] == (await venue.read(RELIANCE)).told


async def test_since_a_later_position_is_behind(venue: Venue):
    answer = await since(venue, f"{EPOCH}:{venue.board.rev + 1}")
    assert answer.refused(503, "behind")["retry_after"] == 1


async def test_a_batch_is_in_request_order_with_errors_in_place(venue: Venue):
    answer = await venue.read("/api/stocks/batch?symbols=532540,999999,RELIANCE,600001,532540")
    told = answer.told
    assert [each["symbol"] for each in told] == ["532540", "999999", "500325", "600001", "532540"]
    assert [each.get("error", {}).get("code") for each in told] == [None, "unknown_symbol", None, "no_data_yet", None]
    assert answer.header("x-bhavcast-age-ms") == "760"  # of the oldest


async def test_a_batch_has_at_most_500_symbols(venue: Venue):
    most = ",".join(["500325"] * 500)
    assert len((await venue.read(f"/api/stocks/batch?symbols={most}")).told) == 500
    (await venue.read(f"/api/stocks/batch?symbols={most},500325")).refused(400, "too_many_symbols")


# -- who may ask --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [RELIANCE, "/health", "/api/stream?symbols=500325", "/nothing"])
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", None])
async def test_a_host_that_is_not_ours_is_refused(venue: Venue, target: str, host: str | None):
    answer = await venue.ask(request(target, host=host))
    assert answer.status == 421 or host is None  # without a Host it is not HTTP/1.1
    answer.refused(421, "foreign_host")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:5000", "127.0.0.1:1", "[::1]:5000", "gw.example", "127.9.9.9"]
)
async def test_loopback_and_the_configured_name_are_ours(venue: Venue, host: str):
    assert (await venue.ask(request(RELIANCE, host=host))).status == 200


async def test_two_hosts_are_none(venue: Venue):
    (await venue.read(RELIANCE, "Host: localhost")).refused(421, "foreign_host")


@pytest.mark.parametrize(
    "origin", [STRANGER, "null", "http://localhost.evil.example", "http://[", "http://localhost:1"]
)
async def test_a_foreign_page_gets_no_stream_and_no_permission(venue: Venue, origin: str):
    (await venue.read("/api/stream?symbols=500325", f"Origin: {origin}")).refused(403, "foreign_origin")
    upgrade = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    (await venue.read("/ws", *upgrade, key, f"Origin: {origin}")).refused(403, "foreign_origin")
    plain = await venue.read(RELIANCE, f"Origin: {origin}")
    assert plain.status == 200  # the browser keeps it from the page
    assert plain.header("access-control-allow-origin") is None


async def test_an_allowed_page_may_read(venue: Venue):
    for origin in (DESK, "http://localhost"):
        answer = await venue.read(RELIANCE, f"Origin: {origin}")
        assert answer.header("access-control-allow-origin") == origin
        assert answer.header("vary") == "Origin"
        assert "ETag" in (answer.header("access-control-expose-headers") or "")
    missing = await venue.read("/api/stock/999999", f"Origin: {DESK}")
    missing.refused(404, "unknown_symbol")
    assert missing.header("access-control-allow-origin") == DESK


async def test_a_preflight_is_answered(venue: Venue):
    asked = ("Access-Control-Request-Method: GET", "Access-Control-Request-Headers: if-none-match")
    answer = await venue.ask(request(RELIANCE, f"Origin: {DESK}", *asked, method="OPTIONS"))
    assert (answer.status, answer.header("access-control-allow-origin")) == (204, DESK)
    assert "If-None-Match" in (answer.header("access-control-allow-headers") or "")
    foreign = await venue.ask(request(RELIANCE, f"Origin: {STRANGER}", *asked, method="OPTIONS"))
    assert foreign.header("access-control-allow-origin") is None


async def test_options_without_a_preflight_name_the_methods(venue: Venue):
    for target, allowed in (
        (RELIANCE, "GET, HEAD, OPTIONS"),
        ("/api/session", "DELETE, GET, HEAD, OPTIONS, POST"),
        ("/ws", "GET, HEAD, OPTIONS"),
    ):
        answer = await venue.ask(request(target, method="OPTIONS"))
        assert (answer.status, answer.header("allow")) == (204, allowed)
        refused = await venue.ask(request(target, method="TRACE"))
        refused.refused(405, "method_not_allowed")
        assert refused.header("allow") == allowed


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_a_foreign_page_cannot_write(venue: Venue, method: str):
    (await venue.ask(request(RELIANCE, f"Origin: {STRANGER}", method=method))).refused(403, "foreign_origin")


async def test_a_page_is_served_and_not_sent_again(venue: Venue):
    answer = await venue.read("/")
    assert answer.body == PAGE.body
    assert "default-src 'none'" in (answer.header("content-security-policy") or "")
    for condition in (PAGE.etag, f'"other", {PAGE.etag}', f"W/{PAGE.etag}", "*"):
        assert (await venue.read("/", f"If-None-Match: {condition}")).status == 304


# -- bytes ------------------------------------------------------------------------------------------------------------------


async def test_a_url_has_its_limit(hall: Venue):
    most = hall.gateway.limits.url_bytes
    fits = RELIANCE + "?" + "x" * (most - len(RELIANCE) - 1)
    (await hall.read(fits)).refused(400, "bad_request")
    for longer in (fits + "x", fits + "x" * 3 * most):
        async with hall.line() as line:
            answer = await line.ask(request(longer))
            answer.refused(414, "url_too_long")
            assert answer.header("connection") == "close"
            assert await line.ended() == b""


async def test_headers_have_their_limit(hall: Venue):
    async with hall.line() as line:
        assert (await line.ask(request(RELIANCE, "X-Fits: " + "x" * 8_000))).status == 200
        (await line.ask(request(RELIANCE, "X-Long: " + "x" * 40_000))).refused(431, "headers_too_large")
        assert await line.ended() == b""
    async with hall.line() as line:  # one that never ends, in pieces
        await line.send(b"GET /health HTTP/1.1\r\n")
        for number in range(40):
            line.writer.write(b"X-%d: %b\r\n" % (number, b"x" * 1_000))
        (await line.answer()).refused(431, "headers_too_large")


async def test_a_body_has_its_limit(venue: Venue):
    most = venue.gateway.limits.body_bytes
    said = await venue.ask(request("/health", f"Content-Length: {most + 1}", method="POST"))
    said.refused(413, "too_large")
    said = await venue.ask(request("/health", "Content-Length: 99999999999999999", method="POST"))
    said.refused(413, "too_large")


@pytest.mark.parametrize(
    "junk",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"hello there\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost localhost\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: many\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
    ],
)
async def test_what_is_not_http_is_refused_and_cut_off(hall: Venue, junk: bytes):
    async with hall.line() as line:
        answer = await line.ask(junk)
        answer.refused(400, "malformed_request")
        assert answer.header("connection") == "close"
        assert await line.ended() == b""


async def test_a_pipeline_is_answered_in_order(venue: Venue):
    asked = [RELIANCE, "/health/live", "/api/stock/532540", "/api/stocks?limit=1", "/nothing", RELIANCE, "/", RELIANCE]
    async with venue.line() as line:
        for _ in range(3):
            await line.send(b"".join(map(request, asked)))
            answers = [await line.answer() for _ in asked]
            assert [each.status for each in answers] == [200, 200, 200, 200, 404, 200, 200, 200]
            assert [answers[index].told["symbol"] for index in (0, 2, 5, 7)] == ["500325", "532540", "500325", "500325"]
            assert answers[1].told == {"status": "live"}


async def test_a_request_may_be_cut_at_any_byte(hall: Venue):
    whole = request(RELIANCE, "Accept: */*")
    async with hall.line() as line:
        line.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        expected = (await line.ask(whole)).body
        for cut in range(1, len(whole)):
            await line.send(whole[:cut])
            await asyncio.sleep(0)
            await line.send(whole[cut:])
            assert (await line.answer()).body == expected, cut
        for each in whole:
            await line.send(bytes([each]))
            await asyncio.sleep(0.0005)  # so that each byte travels by itself
        assert (await line.answer()).body == expected
        # The end of one request and the beginning of the next in one piece.
        for cut in range(1, len(whole), 7):
            await line.send(whole + whole[:cut])
            assert (await line.answer()).body == expected
            await line.send(whole[cut:])
            assert (await line.answer()).body == expected


async def test_a_connection_is_kept_until_the_client_wants_it_closed(venue: Venue):
    async with venue.line() as line:
        for target in (RELIANCE, RELIANCE, "/health", "/api/stock/999999", RELIANCE, "/nothing", RELIANCE):
            assert (await line.ask(request(target))).header("connection") is None
        last = await line.ask(request(RELIANCE, "Connection: close"))
        assert last.header("connection") == "close"
        assert await line.ended() == b""
    async with venue.line() as line:
        old = await line.ask(b"GET /api/stock/500325 HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert (old.status, old.told["symbol"]) == (200, "500325")
        assert await line.ended() == b""


@BOTH
async def test_nobody_is_answered_while_it_drains_but_the_one_who_asks_how_it_is(hot: bool):
    async with Venue(hot_path=hot) as venue, venue.line() as line:
        assert (await line.ask(request(RELIANCE))).status == 200
        assert (await line.ask(request(RELIANCE))).status == 200
        venue.gateway.drain()
        (await line.ask(request(RELIANCE))).refused(503, "draining")
        (await line.ask(request("/health/ready"))).refused(503, "unavailable")
        assert (await line.ask(request("/health/live"))).status == 200
        assert (await line.ask(request("/health"))).status == 503


async def test_a_fault_is_told_by_an_id_alone():
    async with Venue() as venue:
        venue.gateway.replica.facts["feeds"] = {"sim": "no state of a feed"}
        with structlog.testing.capture_logs() as logged:
            told = (await venue.read("/metrics")).refused(500, "internal")
        (incident,) = [entry["incident"] for entry in logged if "incident" in entry]
        assert incident in told["detail"]
        assert "indices" not in told["detail"], "what Python says of it"
        assert "Traceback" not in told["detail"]


async def test_no_answer_waits_for_an_acknowledgement(hall: Venue):
    assert hall.listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    async with hall.line() as line:
        loop = asyncio.get_running_loop()
        took = []
        for _ in range(20):
            began = loop.time()
            await line.ask(request("/health/live"))
            took.append(loop.time() - began)
        assert min(took[5:]) < 0.03  # each would be 40 ms
