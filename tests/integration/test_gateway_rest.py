"""Every REST route over a real socket: what is answered, and in which one shape it is refused."""

import json

import pytest
import pytest_asyncio

from bhavcast.board import encode
from bhavcast.domain import field
from bhavcast.domain.shape import Shape
from tests.served import EPOCH, FRIENDLY, LONG, NOW, OTHER, Served

ROUTES = [
    "/api/stock/500325",
    "/api/stocks/batch?symbols=500325",
    "/api/stocks",
    "/api/market/status",
    "/api/indices",
    "/api/market/movers",
    "/api/market/breadth",
    "/api/ranges/500325",
    "/api/feeds",
    "/health",
    "/health/live",
    "/health/ready",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/",
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def still():
    """A gateway whose market nobody moves; it is shared."""
    async with Served() as served:
        yield served


@pytest_asyncio.fixture(loop_scope="module")
async def served():
    async with Served() as served:
        yield served


pytestmark = pytest.mark.asyncio(loop_scope="module")


def problem(reply, status: int, code: str, **more) -> dict:
    """Check that an answer is a problem in the one shape; return it."""
    assert reply.status == status, reply.body
    assert reply.header("content-type") == "application/problem+json"
    told: dict = reply.json()
    assert told.keys() >= {"type", "title", "status", "code", "detail"}
    assert (told["status"], told["code"]) == (status, code)
    assert told["type"] == f"/docs/errors#{code}"
    assert more.items() <= told.items()
    if "retry_after" in told:
        assert reply.header("retry-after") == str(told["retry_after"])
    assert b"Traceback" not in reply.body
    return told


@pytest.mark.parametrize("route", ROUTES)
async def test_each_route_answers_with_the_headers_that_keep_a_browser_safe(still, route):
    reply = await still.get(route)
    assert reply.status == 200
    assert reply.header("x-content-type-options") == "nosniff"
    assert reply.header("cache-control") == "no-cache"
    assert reply.header("server") is None


@pytest.mark.parametrize("route", ROUTES)
async def test_head_answers_as_get_without_the_body(still, route):
    head, get = await still.get(route, "HEAD"), await still.get(route)
    assert head.status == 200
    assert head.header("content-type") == get.header("content-type")
    if route not in ("/metrics", "/health"):
        assert head.header("content-length") == get.header("content-length")


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_nothing_can_be_written_to(still, route, method):
    reply = await still.get(route, method)
    problem(reply, 405, "method_not_allowed")
    assert "GET" in (reply.header("allow") or "")


async def test_options_tell_what_is_allowed(still):
    reply = await still.get("/api/stock/500325", "OPTIONS")
    assert reply.status == 204
    assert "GET" in (reply.header("allow") or "")


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/api",
        "/api/",
        "/api/stock",
        "/api/stock/a/b",
        "/ws",
        "/api/history/500325",
        "/%00",
        "/openapi.json/x",
        "/openapi.json/openapi.json",
    ],
)
async def test_what_is_not_served_is_not_found(still, path):
    problem(await still.get(path), 404, "not_found")


# -- quotes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("500325", "500325"),
        ("RELIANCE", "500325"),
        ("reliance", "500325"),
        ("INE002A01018", "500325"),
        ("ine002a01018", "500325"),
        ("M%26M", "500520"),
        ("SBIN%23", "500112"),
        ("IDX:SENSEX", "IDX:SENSEX"),
        ("idx:sensex", "IDX:SENSEX"),
        ("IDX%3ASENSEX", "IDX:SENSEX"),
    ],
)
async def test_a_symbol_is_a_code_an_id_an_isin_or_an_index(still, asked, code):
    quote = (await still.get(f"/api/stock/{asked}")).json()
    assert quote["symbol"] == code
    assert quote["current_price"] == 100.0
    assert None not in quote.values()


async def test_a_quote_is_what_the_board_holds(still):
    reply = await still.get("/api/stock/500325?depth=1")
    row = still.gateway.replica.rows["500325"]
    assert reply.json() == encode.full(row, Shape(depth=1))
    assert reply.json()["depth"] == {"bids": [{"price": 99.95, "quantity": 3, "orders": 1}]}
    assert reply.header("x-bhavcast-position") == still.position
    assert int(reply.header("x-bhavcast-age-ms") or 0) >= 500


async def test_a_quote_that_cannot_be_given_is_refused_by_name(still):
    problem(await still.get("/api/stock/999999"), 404, "unknown_symbol", field="symbol")
    problem(await still.get("/api/stock/600001"), 503, "no_data_yet", retry_after=5)
    told = problem(await still.get("/api/stock/TWIN"), 409, "ambiguous_symbol")
    assert told["candidates"] == ["600002", "600003"]
    problem(await still.get("/api/stock/500325?fields=nonsense"), 400, "bad_request", field="fields")
    problem(await still.get("/api/stock/500325?depth=6"), 400, "bad_request", field="depth")
    problem(await still.get("/api/stock/500325?colour=red"), 400, "bad_request", field="colour")


async def test_an_etag_saves_the_body_until_the_quote_changes(served):
    first = await served.get("/api/stock/500325")
    etag = first.header("etag")
    assert etag == f'"{EPOCH}:{first.json()["rev"]}:ok"'
    again = await served.get("/api/stock/500325", headers=[("If-None-Match", f'"other", W/{etag}')])
    assert (again.status, again.body, again.header("etag")) == (304, b"", etag)
    await served.tick("532540", {field.VOLUME: 9})
    assert (await served.get("/api/stock/500325", headers=[("If-None-Match", etag)])).status == 304
    await served.tick("500325", {field.VOLUME: 9})
    changed = await served.get("/api/stock/500325", headers=[("If-None-Match", etag)])
    assert changed.status == 200
    assert changed.json()["volume"] == 9


async def test_a_batch_answers_each_symbol_in_its_place(still):
    reply = await still.get("/api/stocks/batch?symbols=TCS,999999,600001,TWIN,500325,TCS")
    got = reply.json()
    assert [each["symbol"] for each in got] == ["532540", "999999", "600001", "TWIN", "500325", "532540"]
    assert [each["error"]["code"] for each in got if "error" in each] == [
        "unknown_symbol",
        "no_data_yet",
        "ambiguous_symbol",
    ]
    assert got[2]["error"]["retry_after"] == 5
    assert got[3]["error"]["candidates"] == ["600002", "600003"]


async def test_a_batch_has_its_limits(still):
    assert len((await still.get(f"/api/stocks/batch?symbols={','.join(LONG[:500])}")).json()) == 500
    problem(
        await still.get(f"/api/stocks/batch?symbols={','.join(LONG[:501])}"), 400, "too_many_symbols", field="symbols"
    )
    problem(await still.get("/api/stocks/batch"), 400, "too_many_symbols", field="symbols")
    problem(await still.get("/api/stocks/batch?symbols=500325&symbols=TCS"), 400, "bad_request", field="symbols")


async def test_since_answers_only_what_changed(served):
    first = (await served.get("/api/stocks/batch?symbols=500325,TCS")).header("x-bhavcast-position")
    await served.tick("500325", {field.VOLUME: 9, field.BID_PRICE: None})
    told = (await served.get(f"/api/stocks/batch?symbols=500325,TCS&since={first}")).json()
    assert told["recovered"] is True
    assert told["link"] == "ok"
    assert told["pos"] == served.position
    (row,) = told["q"]
    assert row == {
        "symbol": "500325", "volume": 9, "bid_price": None, "timestamp": encode.iso_ms(NOW), "rev": row["rev"],
    }  # fmt: skip
    later = (await served.get(f"/api/stocks/batch?symbols=500325,TCS&since={told['pos']}")).json()
    assert (later["q"], later["recovered"]) == ([], True)


async def test_since_another_epoch_answers_everything_and_says_so(served):
    pos = served.position
    await served.begin(OTHER)
    await served.heard()
    told = (await served.get(f"/api/stocks/batch?symbols=500325,TCS&since={pos}")).json()
    assert told["recovered"] is False
    assert [row["company_name"] for row in told["q"]] == ["RELIANCE LTD.", "TCS LTD."]


async def test_a_reader_that_is_ahead_gets_nothing_older(still):
    rev = still.board.rev + 1
    for epoch in (EPOCH, OTHER):
        told = problem(await still.get(f"/api/stocks/batch?symbols=TCS&since={epoch}:{rev}"), 503, "behind")
        assert told["retry_after"] == 1


# -- the market ---------------------------------------------------------------------------------------------------------


async def test_scrips_are_listed_searched_and_paged(still):
    page = (await still.get("/api/stocks?limit=3")).json()
    assert [each["symbol"] for each in page["stocks"]] == ["500112", "500325", "500520"]
    following = (await still.get(f"/api/stocks?limit=3&cursor={page['next']}")).json()
    assert [each["symbol"] for each in following["stocks"]] == ["532540", "600001", "600002"]
    assert [each["symbol"] for each in (await still.get("/api/stocks?q=relian")).json()["stocks"]] == ["500325"]
    assert len((await still.get("/api/stocks?group=m&limit=1000")).json()["stocks"]) == 600
    everything = [each["symbol"] for each in (await still.get("/api/stocks?limit=1000")).json()["stocks"]]
    assert "000000" not in everything
    assert len(everything) == len(set(everything)) == 608
    for query in ("limit=0", "limit=1001", "limit=x", "cursor=zzz"):
        problem(await still.get(f"/api/stocks?{query}"), 400, "bad_request", field=query.partition("=")[0])


async def test_status_indices_and_feeds_tell_position_and_clock(still):
    status = (await still.get("/api/market/status")).json()
    assert (status["status"], status["pos"], status["link"]) == ("open", still.position, "ok")
    assert status["clock"]["now"].startswith("2026-11-23T09:15:00")
    assert [each["symbol"] for each in (await still.get("/api/indices")).json()] == ["IDX:SENSEX"]
    assert (await still.get("/api/feeds")).json()["feeds"] == {"script": {"state": "live"}}


async def test_movers_and_breadth_leave_out_indices_and_the_canary(served):
    await served.tick("500325", {field.CURRENT_PRICE: 120_00})
    await served.tick("532540", {field.CURRENT_PRICE: 50_00})
    await served.tick("000000", {field.CURRENT_PRICE: 1})
    gains = (await served.get("/api/market/movers?by=gain&limit=2")).json()
    assert gains[0]["symbol"] == "500325"
    assert [each["symbol"] for each in (await served.get("/api/market/movers?by=loss")).json()] == ["532540"]
    breadth = (await served.get("/api/market/breadth")).json()
    assert (breadth["advances"], breadth["declines"], breadth["not_traded"]) == (603, 1, 3)
    problem(await served.get("/api/market/movers?by=luck"), 400, "bad_request", field="by")
    problem(await served.get("/api/market/movers?limit=0"), 400, "bad_request", field="limit")


async def test_ranges_are_of_the_symbol_in_any_writing(still):
    assert (await still.get("/api/ranges/M%26M")).json()["symbol"] == "500520"
    problem(await still.get("/api/ranges/999999"), 404, "unknown_symbol")
    problem(await still.get("/api/ranges/TWIN"), 409, "ambiguous_symbol")


async def test_health_says_what_is_wrong(served):
    assert (await served.get("/health")).json()["status"] == "healthy"
    await served.fact("feeds", {"script": {"state": "stale"}})
    reply = await served.get("/health")
    assert (reply.status, reply.json()["reasons"]) == (200, ["feed script is stale"])


async def test_metrics_are_prometheus_text_and_name_the_routes(served):
    await served.get("/api/stock/500325")
    await served.get("/nothing")
    text = (await served.get("/metrics")).body.decode()
    assert 'http_requests_total{method="GET",route="/api/stock/{symbol}",status="200"} 1.0' in text
    assert 'status="404"' in text
    assert "nothing" not in text, "what a stranger asks for is no label"


async def test_openapi_describes_every_route(still):
    paths = json.loads((await still.get("/openapi.json")).body)["paths"]
    for route in ROUTES[:-3]:
        path = route.partition("?")[0].replace("500325", "{symbol}")
        assert path in paths


# -- who may come -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", [*ROUTES, "/api/stream?symbols=TCS"])
async def test_another_host_is_not_answered_for(still, route):
    for host in ("evil.example", "127.0.0.1.evil.example", "evil.example:5000", "", "[", "localhost.evil.example"):
        problem(await still.get(route, headers=[("Host", host)]), 421, "foreign_host", field="Host")
    problem(await still.get(route, headers=[("Host", "localhost"), ("Host", "localhost")]), 421, "foreign_host")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:5000", "127.0.0.1", "127.8.8.8", "[::1]:5000"])
async def test_loopback_is_answered_by_any_name(still, host):
    assert (await still.get("/api/stock/500325", headers=[("Host", host)])).status == 200


async def test_a_page_that_is_allowed_may_read_and_a_foreign_one_may_not(still):
    ours = await still.get("/api/stock/500325", headers=[("Origin", FRIENDLY)])
    assert ours.header("access-control-allow-origin") == FRIENDLY
    assert ours.header("vary") == "Origin"
    assert "ETag" in (ours.header("access-control-expose-headers") or "")
    own = f"http://127.0.0.1:{still.port}"
    assert (await still.get("/api/feeds", headers=[("Origin", own)])).header("access-control-allow-origin") == own
    for origin in (
        "http://evil.example",
        "null",
        "http://[",
        "",
        "http://pages.example:8081",
        "https://pages.example:8080",
    ):
        foreign = await still.get("/api/stock/500325", headers=[("Origin", origin)])
        assert foreign.header("access-control-allow-origin") is None
        problem(
            await still.get("/api/stream?symbols=TCS", headers=[("Origin", origin)]),
            403,
            "foreign_origin",
            field="Origin",
        )
        problem(await still.get("/api/stock/500325", "POST", headers=[("Origin", origin)]), 403, "foreign_origin")


async def test_a_preflight_is_answered_for_allowed_pages(still):
    asked = [("Origin", FRIENDLY), ("Access-Control-Request-Method", "GET")]
    reply = await still.get("/api/stock/500325", "OPTIONS", asked)
    assert (reply.status, reply.header("access-control-allow-origin")) == (204, FRIENDLY)


async def test_a_fault_is_told_by_its_id_alone(served, monkeypatch):
    def fault(*_):
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr("bhavcast.gateway.market.breadth", fault)
    for target in ("/api/market/breadth",):
        told = problem(await served.get(target), 500, "internal")
        assert "a secret" not in json.dumps(told)
        assert len(told["detail"].rpartition(" ")[2]) == 16
    monkeypatch.setattr("bhavcast.gateway.sse.parameters", fault)
    problem(await served.get("/api/stream?symbols=TCS"), 500, "internal")


async def test_a_gateway_that_drains_says_so(served):
    served.gateway.drain()
    for route in ("/api/stock/500325", "/api/stocks", "/api/stream?symbols=TCS", "/"):
        problem(await served.get(route), 503, "draining", retry_after=5)
    assert (await served.get("/health/live")).status == 200
    problem(await served.get("/health/ready"), 503, "unavailable")
    assert (await served.get("/health")).status == 503
