"""The Kite API over real sockets: what is wrong, what is refused, who never reads. The client itself: test_kite_client."""

import asyncio
import contextlib
import csv
import io
import json
import struct
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bhavcast.access.allowance import Allowance
from bhavcast.access.doorkeeper import Doorkeeper
from bhavcast.access.keyring import Keyring
from bhavcast.app.config import Limits
from bhavcast.domain.access import Key, digest
from bhavcast.gateway.kite_ticker import HEARTBEAT_S
from bhavcast.gateway.session import FLAWS
from tests.docs.stage import NEXT_EPOCH, PATIENCE_S, Still
from tests.integration.venue import STRANGER, Answer, Venue, request
from tests.waiting import until

RELIANCE, TCS, SENSEX = 128083204, 532540 << 8 | 4, 265

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module")
async def venue() -> AsyncIterator[Venue]:
    async with Venue(kite_api=True) as venue:
        yield venue


@contextlib.asynccontextmanager
async def ticker(venue: Venue) -> AsyncIterator[ClientConnection]:
    address = venue.url.replace("http", "ws", 1) + "/kite?api_key=any&access_token=any"
    async with connect(address, compression=None, proxy=None) as wire:
        yield wire


async def packets(wire: ClientConnection) -> dict[int, bytes]:
    """Return the packets of the next message that is no heartbeat, by token."""
    async with asyncio.timeout(PATIENCE_S):
        while len(message := await wire.recv()) < 2:
            pass
    assert isinstance(message, bytes), message
    found, at = {}, 2
    for _ in range(int.from_bytes(message[:2], "big")):
        length = int.from_bytes(message[at : at + 2], "big")
        packet = message[at + 2 : at + 2 + length]
        found[int.from_bytes(packet[:4], "big")] = packet
        at += 2 + length
    assert at == len(message)
    return found


async def refused(wire: ClientConnection) -> str:
    message = json.loads(await asyncio.wait_for(wire.recv(), PATIENCE_S))
    assert message["type"] == "error"
    return message["data"]


async def test_each_token_is_shown_in_its_mode(venue: Venue):
    async with ticker(venue) as wire:
        await wire.send(json.dumps({"a": "subscribe", "v": [RELIANCE, TCS, SENSEX]}))
        assert {token: len(packet) for token, packet in (await packets(wire)).items()} == {
            RELIANCE: 44,
            TCS: 44,
            SENSEX: 28,
        }
        for mode, token, length in (("ltp", TCS, 8), ("full", SENSEX, 32), ("full", RELIANCE, 184)):
            await wire.send(json.dumps({"a": "mode", "v": [mode, [token]]}))
            assert {token: len(packet) for token, packet in (await packets(wire)).items()} == {token: length}
        await venue.price("532540", 310_100)
        assert (await packets(wire))[TCS] == struct.pack(">II", TCS, 310_100)
        await wire.send(json.dumps({"a": "unsubscribe", "v": [TCS]}))
        await venue.price("532540", 310_200)
        await venue.price("500325", 154_000)
        assert list(await packets(wire)) == [RELIANCE]
    await until(lambda: not venue.gateway.members and not venue.gateway.hub.outboxes)


async def test_a_new_epoch_shows_everything_anew(venue: Venue):
    async with ticker(venue) as wire:
        await wire.send(json.dumps({"a": "mode", "v": ["full", [RELIANCE]]}))
        await packets(wire)
        await venue.begin(NEXT_EPOCH)
        assert len((await packets(wire))[RELIANCE]) == 184


async def test_a_heartbeat_is_one_byte(venue: Venue):
    async with ticker(venue) as wire:
        await until(lambda: len(venue.gateway.members) == 1)
        (member,) = venue.gateway.members
        member.beat(venue.clock.monotonic() + HEARTBEAT_S)
        assert await asyncio.wait_for(wire.recv(), PATIENCE_S) == b"\0"


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ('{"a":"subscribe","v":[4711]}', "unknown_symbol: no instrument has the token 4711"),
        ('{"a":"subscribe","v":["RELIANCE"]}', "bad_request: v: "),
        ('{"a":"subscribe"}', "bad_request: v: "),
        ('{"a":"mode","v":["all",[128083204]]}', "bad_request: v: expected one of ltp, quote, full, got 'all'"),
        ('{"a":"mode","v":["full"]}', "bad_request: v: "),
        ('{"a":"sell","v":[]}', "bad_request: v: "),
        ("{", "bad_request: v: "),
        ("[" * 9000, "bad_request: v: "),
    ],
)
async def test_what_is_wrong_is_told_as_text(venue: Venue, sent: str, said: str):
    async with ticker(venue) as wire:
        await wire.send(sent)
        assert (await refused(wire)).startswith(said)


async def test_too_many_flaws_or_instruments(venue: Venue):
    async with ticker(venue) as wire:
        for _ in range(FLAWS):
            await wire.send("?")
        with contextlib.suppress(ConnectionClosed):
            while True:
                await asyncio.wait_for(wire.recv(), PATIENCE_S)
        assert wire.close_code == 4503
    async with Venue(kite_api=True, limits=Limits(symbols=1)) as small, ticker(small) as wire:
        await wire.send(json.dumps({"a": "subscribe", "v": [RELIANCE, TCS]}))
        assert (await refused(wire)).startswith("too_many_symbols: v: expected at most 1")


async def test_who_never_reads_costs_the_others_nothing_and_is_closed(venue: Venue):
    async with ticker(venue) as wire, ticker(venue) as sleeper:
        await wire.send(json.dumps({"a": "subscribe", "v": [RELIANCE]}))
        await packets(wire)
        await sleeper.send(json.dumps({"a": "mode", "v": ["full", [RELIANCE]]}))
        await packets(sleeper)
        (asleep,) = [each for each in venue.gateway.hub.outboxes if each.shape.dialect == "kite/full"]
        sleeper.transport.pause_reading()
        price = 154_000
        while not asleep.full:
            asleep.sink.send(bytes(2) * 8192)
        for _ in range(5):
            price += 100
            await venue.price("500325", price)
            assert struct.unpack_from(">I", (await packets(wire))[RELIANCE], 4) == (price,)
        assert asleep.behind is not None, "passed over, not queued for"
        now = venue.clock.monotonic()
        venue.gateway.hub.sweep(now)
        venue.gateway.hub.sweep(now + 11)
        await until(lambda: len(venue.gateway.members) == 1)
        sleeper.transport.abort()


async def test_instruments_are_unique_and_every_token_is_found(venue: Venue):
    rows = list(csv.DictReader(io.StringIO((await venue.get("/instruments")).text)))
    assert (await venue.get("/instruments/BSE")).headers["content-type"] == "text/csv"
    tokens = {row["tradingsymbol"]: int(row["instrument_token"]) for row in rows}
    assert len(tokens) == len({*tokens.values()}) == len(rows)
    assert (tokens["RELIANCE"], tokens["SENSEX"], tokens["SBIN"]) == (RELIANCE, SENSEX, 500112 << 8 | 4)
    assert "TWIN" not in tokens, "the name of two is the name of none"
    asked = "&".join(f"i=BSE:{each.replace('&', '%26').replace('#', '%23')}" for each in tokens)
    for told, row in (await venue.get(f"/quote/ltp?{asked}")).json()["data"].items():
        assert row["instrument_token"] == tokens[told.removeprefix("BSE:")]


@pytest.mark.parametrize(
    ("path", "status", "kind", "says"),
    [
        ("/quote", 400, "InputException", "i: expected at least one instrument"),
        ("/quote?x=1", 400, "InputException", "i: expected at least one instrument"),
        ("/quote?" + "&".join(["i=BSE:TCS"] * 501), 400, "InputException", "i: expected at most 500 instruments"),
        ("/quote/ltp?i=%ff", 400, "InputException", "i: expected"),
    ],
)
async def test_a_refusal_has_that_apis_shape(venue: Venue, path: str, status: int, kind: str, says: str):
    answer = await venue.get(path)
    told = answer.json()
    assert (answer.status_code, told["status"], told["error_type"], told["data"]) == (status, "error", kind, None)
    assert says in told["message"]


async def test_who_does_not_get_as_far_as_a_route_is_refused_in_that_apis_shape_too(venue: Venue):
    keyring = Keyring([Key(id="1", name="desk", role="viewer", sha256=digest("bhk_desk"), created=0)])
    keeper = Doorkeeper(keyring, Still(), allowance=Allowance(requests_burst=3, requests_per_second=0.001))
    cases = [
        (401, "TokenException", "unauthenticated: ", ()),
        (401, "TokenException", "unauthenticated: ", ("Authorization: token any:bhk_other",)),
        (421, "InputException", "foreign_host: Host: ", ("Host: evil.example",)),
        (413, "InputException", "too_large: ", ("Content-Length: 1000000",)),
        (429, "NetworkException", "rate_limited: ", ()),
    ]
    async with Venue(kite_api=True, keeper=keeper) as guarded:
        for status, kind, begins, headers in [cases[0], *cases, cases[-1]]:
            host = None if "Host: evil.example" in headers else "localhost"
            answer = await guarded.ask(request("/quote/ltp?i=BSE:TCS", *headers, host=host))
            told = answer.told
            assert (answer.status, answer.header("content-type")) == (status, "application/json")
            assert (told["status"], told["error_type"], told["data"]) == ("error", kind, None)
            assert told["message"].startswith(begins)
            assert (answer.header("retry-after") is None) == (status != 429)
        (await guarded.read("/api/stock/500325")).refused(429, "rate_limited")


SHAKE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
KEY = "/kite?api_key=any&access_token=bhk_desk"


def kite_refusal(answer: Answer) -> tuple[int, str, str]:
    """Check that it has that API's shape and no other; return status, kind and code."""
    told = answer.told
    assert answer.header("content-type") == "application/json"
    assert answer.header("x-request-id")
    assert told.keys() == {"status", "message", "error_type", "data"}
    assert (told["status"], told["data"]) == ("error", None)
    return answer.status, told["error_type"], told["message"].partition(":")[0]


@pytest.mark.parametrize(
    ("path", "headers", "refused"),
    [
        ("/kite", SHAKE, (401, "TokenException", "unauthenticated")),
        ("/kite?access_token=bhk_other", SHAKE, (401, "TokenException", "unauthenticated")),
        (KEY, (*SHAKE, f"Origin: {STRANGER}"), (403, "TokenException", "foreign_origin")),
        (KEY, (*SHAKE, "Host: evil.example"), (421, "InputException", "foreign_host")),
        (KEY, SHAKE[:3], (400, "InputException", "bad_handshake")),
        (KEY, (*SHAKE[:2], "Sec-WebSocket-Version: 8", SHAKE[3]), (400, "InputException", "bad_handshake")),
        (KEY, (*SHAKE, "Sec-WebSocket-Protocol: chat"), (400, "InputException", "bad_handshake")),
        ("/kite", ("X-API-Key: bhk_desk",), (426, "InputException", "bad_handshake")),
        ("/kite?" + "x" * 17000, SHAKE, (414, "InputException", "url_too_long")),
        (KEY, (*SHAKE, "X-More: " + "x" * 17000), (431, "InputException", "headers_too_large")),
        ("/quote?" + "x" * 17000, (), (414, "InputException", "url_too_long")),
    ],
)
@pytest.mark.parametrize("hot_path", [True, False])
async def test_a_refused_handshake_has_that_apis_shape(path: str, headers, refused, hot_path: bool):
    keyring = Keyring([Key(id="1", name="desk", role="viewer", sha256=digest("bhk_desk"), created=0)])
    keeper = Doorkeeper(keyring, Still(), anonymous_read="never")
    async with Venue(kite_api=True, keeper=keeper, hot_path=hot_path, limits=Limits(url_bytes=16384)) as guarded:
        host = None if "Host: evil.example" in headers else "localhost"
        answer = await guarded.ask(request(path, *headers, host=host))
        assert kite_refusal(answer) == refused
        # On the same address the other routes say no as they always do.
        (await guarded.ask(request("/nothing", "X-API-Key: bhk_desk", *SHAKE))).refused(404, "not_found")


@pytest.mark.parametrize(
    ("code", "status", "limits"),
    [("too_many_connections", 503, Limits(connections=1)), ("draining", 503, Limits())],
)
async def test_a_handshake_that_finds_no_place_is_refused_in_that_apis_shape(code, status, limits):
    async with Venue(kite_api=True, limits=limits) as full, ticker(full):
        await until(lambda: len(full.gateway.members) == 1)
        full.gateway.draining = code == "draining"
        answer = await full.ask(request("/kite", *SHAKE))
        assert kite_refusal(answer) == (status, "NetworkException", code)
        full.gateway.draining = False


async def test_a_body_that_is_none_is_refused_in_the_shape_of_its_route_and_the_next_thing_is_not():
    async with Venue(kite_api=True) as venue:
        chunked = request("/quote", "Transfer-Encoding: chunked", method="POST") + b"nonsense\r\n"
        assert kite_refusal(await venue.ask(chunked))[::2] == (400, "malformed_request")
        async with venue.line() as line:
            assert (await line.ask(request("/quote?i=BSE:TCS"))).status == 200
            (await line.ask(b"nonsense\r\n\r\n")).refused(400, "malformed_request")


async def test_what_is_refused_is_counted_for_the_route_that_was_asked_for(venue: Venue):
    counters = venue.server.counters
    for path in ("/kite", "/socket.io/?EIO=4&transport=websocket", "/ws", "/nowhere"):
        route = {"/nowhere": "other"}.get(path, path.partition("?")[0])
        before = counters.route(route).requests.get(("GET", 403), 0)
        with pytest.raises(InvalidStatus):
            async with connect(venue.url.replace("http", "ws", 1) + path, additional_headers={"Origin": STRANGER}):
                pass
        assert counters.route(route).requests[("GET", 403)] == before + 1, path
    before = counters.route("/quote/ltp").requests.get(("GET", 421), 0)
    await venue.ask(request("/quote/ltp", host="evil.example"))
    assert counters.route("/quote/ltp").requests[("GET", 421)] == before + 1


async def test_what_names_nothing_is_left_out(venue: Venue):
    answer = await venue.get("/quote/ltp?i=NSE:TCS&i=BSE:TWIN&i=BSE:600001&i=TCS&i=265&i=BSE:nobody")
    assert list(answer.json()["data"]) == ["265"]


async def test_foreign_pages_and_other_methods_are_refused(venue: Venue):
    with pytest.raises(InvalidStatus) as answered:
        async with connect(venue.url.replace("http", "ws", 1) + "/kite", additional_headers={"Origin": STRANGER}):
            pass
    assert answered.value.response.status_code == 403
    line = await venue.ask(b"PUT /quote HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
    assert (line.status, line.told["status"]) == (405, "error")
    assert (await venue.ask(b"HEAD /quote?i=BSE:TCS HTTP/1.1\r\nHost: localhost\r\n\r\n")).status == 200


async def test_it_is_off_unless_it_is_wanted():
    async with Venue() as plain:
        assert (await plain.get("/quote?i=BSE:TCS")).status_code == 404
        with pytest.raises(InvalidStatus) as answered:
            async with ticker(plain):
                pass
        assert answered.value.response.status_code == 404


async def test_a_key_is_the_access_token():
    keyring = Keyring([Key(id="1", name="desk", role="viewer", sha256=digest("bhk_desk"), created=0)])
    keeper = Doorkeeper(keyring, Still(), anonymous_read="never")
    async with Venue(kite_api=True, keeper=keeper) as venue:
        right, wrong = {"Authorization": "token any:bhk_desk"}, {"Authorization": "token any:bhk_other"}
        assert (await venue.get("/quote/ltp?i=BSE:TCS", **right)).json()["data"]
        for headers in (wrong, {}):
            assert (await venue.get("/quote/ltp?i=BSE:TCS", **headers)).status_code == 401
        address = venue.url.replace("http", "ws", 1)
        query = "?EIO=4&transport=websocket"
        for path, more in (
            ("/kite?api_key=any&access_token=bhk_other", {}),
            ("/kite", {}),
            (f"/socket.io/{query}", {}),
            (f"/socket.io/{query}", {"X-API-Key": "bhk_other"}),
        ):
            with pytest.raises(InvalidStatus) as answered:
                async with connect(address + path, additional_headers=more):
                    pass
            assert answered.value.response.status_code == 401, path
        async with (
            connect(address + "/kite?api_key=any&access_token=bhk_desk") as tick,
            connect(address + f"/socket.io/{query}", additional_headers={"X-API-Key": "bhk_desk"}) as told,
        ):
            await tick.send(json.dumps({"a": "subscribe", "v": [RELIANCE]}))
            assert RELIANCE in await packets(tick)
            assert str(await told.recv()).startswith("0{")
            # The key goes: who came with it has to go too.
            keyring.replace([])
            now = venue.clock.monotonic() + 60
            for member in list(venue.gateway.members):
                member.beat(now)
            for wire in (tick, told):
                with contextlib.suppress(ConnectionClosed):
                    while True:
                        await asyncio.wait_for(wire.recv(), PATIENCE_S)
                assert wire.close_code == 4500
        await until(lambda: not venue.gateway.members)
