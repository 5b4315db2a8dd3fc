"""The hot path and the cold one give equal answers, whatever is asked; only dates and ages may differ."""

import asyncio
import random

import pytest

from bhavcast.domain import field
from tests.served import EPOCH, FRIENDLY, LONG, OTHER, Served

Header = tuple[str, str]
STOCK, BATCH = "/api/stock/", "/api/stocks/batch"
REV = 1_795_405_500_000_000


@pytest.fixture
async def both():
    async with Served() as hot, Served(hot_path=False) as cold:
        yield hot, cold


async def asked_of_both(both, target, *, method="GET", headers: tuple[Header, ...] = ()):
    """Ask both; the hot one three times, for it answers the second time otherwise than the first."""
    hot, cold = both
    expected = await cold.get(target, method, headers)
    first, *others = [await hot.get(target, method, headers) for _ in range(3)]
    assert first.lasting == expected.lasting, f"{method} {target} {headers}"
    for other in others:
        assert other.lasting == expected.lasting, f"{method} {target} {headers}, asked again"
    assert (first.header("x-bhavcast-age-ms") is None) == (expected.header("x-bhavcast-age-ms") is None)
    return expected


TARGETS = [
    *(STOCK + symbol for symbol in ("500325", "RELIANCE", "reliance", "ReLiAnCe", "INE002A01018", "ine002a01018")),
    *(STOCK + symbol for symbol in ("M%26M", "m%26m", "M&M", "SBIN%23", "SBIN#", "%52ELIANCE", "IDX:SENSEX", "IDX%3ASENSEX")),
    *(STOCK + symbol for symbol in ("999999", "600001", "TWIN", "INEZ00101015", "000000", "", "%20", "+", "500325%20", "%00")),
    *(STOCK + symbol for symbol in ("%", "%2", "%zz", "%FF", "%C3%A4", "a%2Fb", "a%2fb", "500325%2F", "500325/", "500325/x")),
    *(STOCK + symbol for symbol in ("x" * 64, "x" * 65, "x" * 5000, "..", ".", "%2e%2e", "500325;a=b", "500325,532540")),
    *(STOCK + "500325" + query for query in ("?", "?fields=ltp", "?fields=quote", "?fields=full", "?fields=", "?fields")),
    *(STOCK + "500325" + query for query in ("?fields=volume,current_price", "?fields=ltp,quote", "?fields=bids", "?fields=x")),
    *(STOCK + "500325" + query for query in ("?depth=0", "?depth=5", "?depth=1&fields=ltp", "?depth=6", "?depth=-1")),
    *(STOCK + "500325" + query for query in ("?depth=abc", "?depth=1.0", "?depth=", "?depth=05", "?depth=%35", "?depth=5&depth=5")),
    *(STOCK + "500325" + query for query in ("?junk=1", "?&", "?&&fields=ltp", "?=", "?fields=ltp&", "?fields=%FF", "?a;b", "?%66ields=ltp")),
    *(STOCK + "500325" + query for query in ("?fields=ltp#x", "#x", "??fields=ltp", "?fields=ltp?", "?Fields=ltp", "?fields=LTP")),
    STOCK[:-1],
    STOCK + "/500325",
    "//api/stock/500325",
    "/API/stock/500325",
    "/api/stocks",
    *(BATCH + query for query in ("", "?", "?symbols", "?symbols=", "?symbols=,", "?symbols=,,500325,", "?symbols=500325")),
    *(BATCH + query for query in ("?symbols=500325,TCS,999999,600001,TWIN", "?symbols=500325,500325", "?symbols=500325%2CTCS")),
    *(BATCH + query for query in ("?symbols=M%26M,SBIN%23", "?symbols=M&M", "?symbols=SBIN#", "?symbols=reliance+", "?symbols=%FF")),
    *(BATCH + query for query in ("?symbols=500325&symbols=TCS", "?symbol=500325", "?symbols=500325&fields=ltp&depth=2", "?depth=9&symbols=TCS")),
    BATCH + "?symbols=" + ",".join(LONG[:500]),
    BATCH + "?symbols=" + ",".join(LONG[:501]),
    BATCH + "?symbols=" + ",".join(LONG[:100]) + "&fields=ltp",
    BATCH + "/?symbols=500325",
    BATCH + "/x",
    BATCH + f"?symbols=500325,TCS&since={EPOCH}:{REV}",
    BATCH + f"?symbols=500325,TCS&since={EPOCH}:{REV + 3}&fields=ltp",
    BATCH + f"?symbols=500325,TCS&s%69nce={EPOCH}:{REV}",
    BATCH + f"?symbols=500325&since={OTHER}:{REV}",
    BATCH + f"?symbols=500325&since={EPOCH}:9{REV}",
    *(BATCH + f"?symbols=500325&since={since}" for since in ("", "x", f"{EPOCH}", f"{EPOCH}:-1", f"{EPOCH}:01", f"{EPOCH}:{10**30}")),
]  # fmt: skip


async def test_every_target_is_answered_alike(both):
    for target in TARGETS:
        await asked_of_both(both, target)


async def test_every_method_is_answered_alike(both):
    for method in ("HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE"):
        for target in (STOCK + "500325", STOCK + "999999", BATCH + "?symbols=500325"):
            await asked_of_both(both, target, method=method)


async def test_every_header_is_heeded_alike(both):
    etag = (await both[1].get(STOCK + "500325")).header("etag")
    assert etag is not None
    host = f"127.0.0.1:{both[0].port}"
    cases: list[tuple[Header, ...]] = [
        *(
            (("If-None-Match", text),)
            for text in (etag, f"W/{etag}", f'"a", {etag}', f'"a",{etag},"b"', "*", '"a"', "")
        ),
        *((("If-None-Match", text),) for text in (etag.strip('"'), etag[:-1], f"{etag} x", "**", f" {etag} ")),
        (("If-None-Match", '"a"'), ("If-None-Match", etag)),
        (("If-None-Match", etag), ("If-None-Match", '"a"')),
        (("if-none-match", etag), ("IF-MATCH", "x")),
        (("Accept", "text/html"),),
        (("Accept-Encoding", "gzip, br"), ("Accept", "*/*"), ("User-Agent", "test")),
        (("Range", "bytes=0-3"),),
        (("Cookie", "a=b"), ("Authorization", "Bearer x")),
        (("Origin", FRIENDLY),),
        (("Origin", "http://evil.example"),),
        (("Origin", "null"),),
        (("Origin", "http://["),),
        (("X-Forwarded-For", "1.2.3.4"),),
        (("Connection", "close"),),
        (("Connection", "keep-alive"),),
        (("Content-Length", "0"),),
        (("Upgrade", "h2c"), ("Connection", "Upgrade, HTTP2-Settings")),
        (("Expect", "200-ok"),),
        (("User-Agent", "\x80\xff"),),
    ]
    for case in cases:
        for target in (STOCK + "500325", STOCK + "999999", BATCH + "?symbols=500325"):
            await asked_of_both(both, target, headers=case)
    for hosts in (
        ("evil.example",),
        ("127.0.0.1", "127.0.0.1"),
        ("",),
        ("localhost",),
        ("LOCALHOST:1",),
        ("[::1]:5000",),
        ("127.0.0.1.evil.example",),
        ("127.0.0.2",),
        (host,),
    ):
        await asked_of_both(both, STOCK + "500325", headers=tuple(("Host", text) for text in hosts))


async def test_they_stay_alike_while_the_market_moves(both):
    rng = random.Random(7)
    targets = [
        STOCK + "500325",
        STOCK + "tcs?fields=ltp",
        STOCK + "600001",
        BATCH + "?symbols=500325,TCS",
        BATCH + "?symbols=500325,600001,999999",
        BATCH + f"?symbols=500325,TCS,600001&since={EPOCH}:{REV}&depth=2",
    ]
    for step in range(40):
        symbol = rng.choice(("500325", "532540", "600001") if step > 20 else ("500325", "532540"))
        values: field.Values = {field.CURRENT_PRICE: rng.randint(1, 5), field.VOLUME: step}
        for served in both:
            await served.tick(symbol, values)
        await asked_of_both(both, rng.choice(targets))
    for served in both:
        await served.begin(OTHER)
        await served.heard()
    for target in targets:
        await asked_of_both(both, target)


async def test_a_symbol_that_gets_its_first_data_is_no_error_any_more(both):
    target = BATCH + "?symbols=500325,600001"
    before = await asked_of_both(both, target)
    assert before.json()[1]["error"]["code"] == "no_data_yet"
    for served in both:
        await served.tick("600001", {field.CURRENT_PRICE: 5})
    after = await asked_of_both(both, target)
    assert after.json()[1]["current_price"] == 0.05


async def test_what_is_kept_of_a_split_request_is_never_the_answer_to_another(both):
    hot, _ = both
    victim = f"GET /api/stock/532540 HTTP/1.1\r\nHost: 127.0.0.1:{hot.port}\r\nAccept: */*\r\n\r\n".encode()
    async with hot.raw() as attacker:
        await attacker.send(b"GET /api/stock/500325 HTTP/1.1\r\nUser-Agent: ")
        while not any(protocol._head for protocol in _protocols(hot)):  # noqa: ASYNC110 - nothing tells that a part has arrived
            await asyncio.sleep(0.001)
        await attacker.send(victim)
        assert (await attacker.reply()).json()["symbol"] == "500325"
    async with hot.raw() as client:
        for _ in range(3):
            await client.send(victim)
            assert (await client.reply()).json()["symbol"] == "532540"


def _protocols(served):
    return list(served.server._server.server_state.connections)


async def test_ready_answers_stay_within_their_bytes(both, monkeypatch):
    hot, _ = both
    monkeypatch.setattr("bhavcast.gateway.hot.MAX_READY_BYTES", 100_000)
    async with hot.raw() as raw:
        for number in range(100):
            text = ",".join(LONG[number : number + 20])
            await raw.send(f"GET {BATCH}?symbols={text} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert len((await raw.reply()).json()) == 20
        for protocol in _protocols(hot):
            kept = sum(len(key) + len(ready.body) for key, ready in protocol.ready.items())
            assert 0 < kept <= 100_000


async def test_both_count_alike(both):
    hot, cold = both
    for served in both:
        for target in (STOCK + "500325", STOCK + "600001", BATCH + "?symbols=500325,TCS,600001,999999"):
            for _ in range(2):
                await served.get(target)
    assert (hot.gateway.reads, hot.gateway.fresh_reads) == (cold.gateway.reads, cold.gateway.fresh_reads)
    ours = [line for line in (await hot.get("/metrics")).body.decode().splitlines() if "http_requests_total{" in line]
    theirs = [
        line for line in (await cold.get("/metrics")).body.decode().splitlines() if "http_requests_total{" in line
    ]
    assert sorted(ours) == sorted(theirs)
