"""Socket.IO over real sockets: the python-socketio client as it is, and bare requests for what no client would send."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
import socketio
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bhavcast.app.config import Limits
from bhavcast.gateway import engineio
from bhavcast.gateway import socketio as served
from bhavcast.gateway.gateway import BURST_S
from bhavcast.gateway.session import FLAWS
from bhavcast.hub.outbox import HIGH_WATER
from tests.docs.stage import NEXT_EPOCH, PATIENCE_S
from tests.integration.venue import STRANGER, Venue
from tests.waiting import until

TRANSPORTS = pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]], ids="+".join)
QUOTE = {
    "symbol": "500325",
    "price": 1532.9,
    "change": -15.4,
    "pChange": -0.99,
    "timestamp": "2026-11-23T09:15:01.240+05:30",
}

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module")
async def venue() -> AsyncIterator[Venue]:
    async with Venue() as venue:
        yield venue


class Program:
    """A program that uses the client library, and remembers what it heard."""

    def __init__(self) -> None:
        self.client = socketio.AsyncClient(reconnection=False)
        self.heard: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self.client.on("*", self._hear)
        self.client.on("disconnect", self._gone)

    async def _hear(self, event: str, told: Any = None) -> None:
        self.heard.put_nowait((event, told))

    async def _gone(self, reason: str) -> None:
        self.heard.put_nowait(("disconnect", reason))

    async def until(self, wanted: str) -> Any:
        """Hear until an event of this name; return what it tells."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                event, told = await self.heard.get()
                if event == wanted:
                    return told


@contextlib.asynccontextmanager
async def program(venue: Venue, transports: list[str]) -> AsyncIterator[Program]:
    running = Program()
    await running.client.connect(venue.url, transports=transports)
    try:
        await running.until("connection_established")
        yield running
    finally:
        await running.client.disconnect()


@TRANSPORTS
async def test_a_program_subscribes_and_hears_every_change(venue: Venue, transports: list[str]):
    async with program(venue, transports) as follower:
        await follower.client.emit("subscribe", {"symbols": ["RELIANCE", "999999"]})
        confirmed = await follower.until("subscription_confirmed")
        assert confirmed["symbols"] == ["500325"]
        assert [(bad["symbol"], bad["code"]) for bad in confirmed["bad"]] == [("999999", "unknown_symbol")]
        assert await follower.until("batch_data") == {"type": "initial_data", "data": [QUOTE]}
        for price in (154_000, 154_100, 154_200):
            await venue.price("500325", price)
            update = await follower.until("stock_update")
            assert update["type"] == "stock_update"
            assert update["data"] == QUOTE | {
                "price": price / 100,
                "change": (price - 154_830) / 100,
                "pChange": update["data"]["pChange"],
                "timestamp": update["data"]["timestamp"],
            }
        await follower.client.emit("unsubscribe", {"symbols": "RELIANCE"})
        assert (await follower.until("subscription_confirmed"))["active"] == 0
    await until(lambda: not venue.gateway.members)
    assert not venue.gateway.hub.outboxes


async def test_every_question_has_its_answer(venue: Venue):
    async with program(venue, ["websocket"]) as asker:
        acknowledged = await asker.client.call("subscribe_batch", {"symbols": ["TCS", "500325"]})
        assert (acknowledged["symbols"], acknowledged["active"]) == (["532540", "500325"], 2)
        await asker.client.emit("request_symbol_data", {"symbol": "TCS"})
        data = await asker.until("symbol_data")
        assert data == {"symbol": "532540", "data": (await venue.get("/api/stock/TCS")).json()}
        await asker.client.emit("get_connection_info")
        info = await asker.until("connection_info")
        assert (info["transport"], info["symbols"], info["active"]) == ("websocket", ["532540", "500325"], 2)
        await asker.client.emit("ping")
        assert (await asker.until("pong"))["timestamp"].startswith("2026-11-23T09:15:02")


@pytest.mark.parametrize(
    ("event", "told", "code", "wrong"),
    [
        ("subscribe", {"symbols": 5}, "bad_request", "symbols"),
        ("subscribe", {"symbols": []}, "too_many_symbols", "symbols"),
        ("subscribe", {}, "bad_request", "symbols"),
        ("subscribe", None, "bad_request", None),
        ("subscribe_batch", {"symbols": ["500325"] * (served.BATCH + 1)}, "too_many_symbols", "symbols"),
        ("request_symbol_data", {"symbol": ["500325"]}, "bad_request", "symbol"),
        ("request_symbol_data", {"symbol": "600001"}, "no_data_yet", "symbol"),
        ("request_symbol_data", {"symbol": "nothing"}, "unknown_symbol", "symbol"),
        ("sell", {}, "bad_request", "event"),
    ],
)
async def test_what_is_wrong_is_told_with_the_field(venue: Venue, event: str, told: Any, code: str, wrong: str | None):
    async with program(venue, ["websocket"]) as asker:
        await asker.client.emit(event, told)
        error = await asker.until("error")
        assert (error["code"], error.get("field"), error["event"]) == (code, wrong, event)
        assert error["message"]


async def test_a_new_epoch_shows_everything_anew(venue: Venue):
    async with program(venue, ["websocket"]) as follower:
        await follower.client.emit("subscribe", {"symbols": ["500325"]})
        await follower.until("batch_data")
        await venue.begin(NEXT_EPOCH)
        assert [each["symbol"] for each in (await follower.until("batch_data"))["data"]] == ["500325"]
        await venue.price("500325", 155_000)
        assert (await follower.until("stock_update"))["data"]["price"] == 1550.0


async def test_whoever_comes_to_a_service_that_ends_is_sent_away(venue: Venue):
    async with program(venue, ["websocket"]) as follower, program(venue, ["polling"]) as poller:
        await until(lambda: any(each.polled for each in sockets(venue)))
        ending = asyncio.create_task(venue.server.stop())
        for each in (follower, poller):
            assert (await each.until("error"))["code"] == "draining"
            await until(lambda: not each.client.connected)  # noqa: B023 - called here and now
        await ending


# -- bare -------------------------------------------------------------------------------------------------------------


def address(venue: Venue, transport: str, **more: str) -> str:
    query = "&".join(f"{name}={value}" for name, value in ({"EIO": "4", "transport": transport} | more).items())
    return f"{venue.url if transport == 'polling' else venue.url.replace('http', 'ws', 1)}/socket.io/?{query}"


async def begun(venue: Venue, http: httpx.AsyncClient) -> str:
    """Begin a session that polls, up to its first event; return its address."""
    opened = await http.get(address(venue, "polling"))
    told = json.loads(opened.text[1:])
    assert opened.text[0] == "0"
    assert told["upgrades"] == ["websocket"]
    url = address(venue, "polling", sid=told["sid"])
    assert (await http.post(url, content="40")).text == "ok"
    packets = (await http.get(url)).text.split("\x1e")
    assert packets[0].startswith("40{")
    assert packets[1].startswith('42["connection_established",')
    return url


async def test_a_poll_waits_for_news_and_prices_never_pile_up(venue: Venue):
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as http:
        url = await begun(venue, http)
        await http.post(url, content='42["subscribe",{"symbols":["500325"]}]')
        assert (await http.get(url)).text.count("\x1e") == 1
        polling = asyncio.create_task(http.get(url))
        await until(lambda: any(each.polled for each in sockets(venue)))
        await venue.price("500325", 154_000)
        assert '"price":1540.0' in (await polling).text
        # Nobody fetches: what waits stays one packet, and the next tells the latest.
        (session,) = sockets(venue)
        skips = venue.gateway.hub.skips
        for price in range(154_100, 156_100, 100):
            await venue.price("500325", price)
            await until(lambda: venue.gateway.hub.skips > skips or bool(session.full))
        last = ""
        async with asyncio.timeout(PATIENCE_S):
            while '"price":1560.0' not in last:
                last = (await http.get(url)).text
                assert last.count("stock_update") <= 2 * 1, "one event of one change"


async def test_two_polls_at_once_end_the_session(venue: Venue):
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as http:
        url = await begun(venue, http)
        first = asyncio.create_task(http.get(url))
        await until(lambda: any(each.polled for each in sockets(venue)))
        second = await http.get(url)
        assert (second.status_code, second.json()["field"]) == (400, "sid")
        assert (await first).text.endswith("1")
        assert (await http.get(url)).status_code == 400
        assert not sockets(venue)


@pytest.mark.parametrize(
    ("query", "status", "wrong"),
    [
        ("EIO=3&transport=polling", 400, "EIO"),
        ("transport=polling", 400, "EIO"),
        ("EIO=4", 400, "transport"),
        ("EIO=4&transport=flashsocket", 400, "transport"),
        ("EIO=4&transport=websocket", 400, "transport"),
        ("EIO=4&transport=polling&sid=nobody", 400, "sid"),
        ("&".join(["a=b"] * 40), 400, "query"),
    ],
)
async def test_a_request_that_cannot_be_served_is_refused(venue: Venue, query: str, status: int, wrong: str):
    answer = await venue.get(f"/socket.io/?{query}")
    assert (answer.status_code, answer.json()["field"]) == (status, wrong)
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"{venue.url.replace('http', 'ws', 1)}/socket.io/?{query.replace('polling', 'x')}x"):
            pass
    assert refused.value.response.status_code == status


async def test_a_foreign_page_gets_no_session(venue: Venue):
    assert (await venue.get("/socket.io/?EIO=4&transport=polling", Origin=STRANGER)).status_code == 403
    with pytest.raises(InvalidStatus) as refused:
        async with connect(address(venue, "websocket"), additional_headers={"Origin": STRANGER}):
            pass
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    "sent",
    [
        "x",
        "",
        "b",
        "4",
        '45-["a",{}]',
        "42{}",
        "42[5]",
        '42["subscribe",',
        "49",
        '42["a",1,2]',
        "42" + "[" * 5000,
        "40",
    ],
)
async def test_no_packet_harms(venue: Venue, sent: str):
    async with connect(address(venue, "websocket")) as wire:
        await wire.recv()
        await wire.send("40")
        for _ in range(2):
            await wire.recv()
        await wire.send(sent)
        try:
            assert "error" in await asyncio.wait_for(wire.recv(), PATIENCE_S)
        except ConnectionClosed:
            assert wire.close_code == 4503
    await until(lambda: not venue.gateway.members)


async def test_a_namespace_that_is_not_here_is_refused(venue: Venue):
    async with connect(address(venue, "websocket")) as wire:
        await wire.recv()
        await wire.send("40/admin,")
        assert await wire.recv() == '44/admin,{"message":"Invalid namespace"}'


async def test_too_many_flaws_end_it(venue: Venue):
    async with connect(address(venue, "websocket")) as wire:
        for _ in range(FLAWS):
            await wire.send("42[]")
        with contextlib.suppress(ConnectionClosed):
            while True:
                await asyncio.wait_for(wire.recv(), PATIENCE_S)
        assert wire.close_code == 4503


async def test_a_client_without_a_pong_or_a_connect_is_forgotten(venue: Venue):
    async with httpx.AsyncClient(trust_env=False) as http:
        await begun(venue, http)
        await http.get(address(venue, "polling"))
        assert len(venue.gateway.members) == 2
        now = venue.clock.monotonic()
        for later in (0.0, served.CONNECT_WITHIN_S + 1, engineio.PING_INTERVAL_S + 2):
            for member in list(venue.gateway.members):
                member.beat(now + later)
        assert len(venue.gateway.members) == 1
        for member in list(venue.gateway.members):
            member.beat(now + engineio.PING_INTERVAL_S + engineio.PING_TIMEOUT_S + 4)
        assert not venue.gateway.members
        assert not sockets(venue)


async def test_more_sessions_than_the_limit_are_refused():
    async with Venue(limits=Limits(connections=1)) as small, httpx.AsyncClient(trust_env=False) as http:
        await begun(small, http)
        assert (await http.get(address(small, "polling"))).status_code == 503
        with pytest.raises(InvalidStatus):
            async with connect(address(small, "websocket")):
                pass


async def test_what_is_posted_counts_by_packets_and_one_too_many_brings_none_of_them():
    async with Venue(limits=Limits(messages_per_second=1)) as venue, httpx.AsyncClient(trust_env=False) as http:
        now = venue.clock.monotonic()
        venue.clock.monotonic = lambda: now
        url = await begun(venue, http)  # one was posted: the connect
        assert (await http.post(url, content="\x1e".join(['42["ping"]'] * (BURST_S - 2)))).text == "ok"
        assert (await http.get(url)).text.count("pong") == BURST_S - 2
        refused = await http.post(url, content="\x1e".join(['42["ping"]'] * 3))
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
        assert refused.json()["code"] == "rate_limited"
        venue.clock.monotonic = lambda: now + 2
        assert (await http.post(url, content="\x1e".join(['42["ping"]'] * 3))).text == "ok"
        assert (await http.get(url)).text.count("pong") == 3, (
            "the session goes on, and heard nothing of the refused ones"
        )
        # So many are never there at once: to come again with them would be in vain.
        refused = await http.post(url, content="\x1e".join(['42["ping"]'] * (BURST_S + 1)))
        assert (refused.status_code, refused.json()["code"]) == (413, "too_large")


async def test_answers_that_nobody_fetches_end_the_session():
    limits = Limits(messages_per_second=100_000)
    async with Venue(limits=limits) as venue, httpx.AsyncClient(trust_env=False) as http:
        url = await begun(venue, http)
        question = '42["get_connection_info"]'
        body = "\x1e".join([question] * engineio.MAX_PACKETS)
        for _ in range(40):
            if (await http.post(url, content=body)).status_code != 200:
                break
        assert not sockets(venue)
        more = "\x1e".join([question] * (engineio.MAX_PACKETS + 1))
        assert (await http.post(await begun(venue, http), content=more)).status_code == 413


async def test_who_never_reads_costs_the_others_nothing_and_is_closed(venue: Venue):
    codes = [row.symbol for row in venue.gateway.everyone()]
    async with program(venue, ["websocket"]) as follower:
        await follower.client.emit("subscribe", {"symbols": codes})
        await follower.until("batch_data")
        sleeper = socket.create_connection(("127.0.0.1", venue.port))
        with sleeper:
            sleeper.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            handshake = (
                "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            sleeper.sendall(handshake.encode())
            await asyncio.to_thread(sleeper.recv, 4096)
            sleeper.sendall(masked("40") + masked(json.dumps(["subscribe", {"symbols": codes}]), "42"))
            await until(lambda: len(venue.gateway.hub.outboxes) == 2)
            asleep = next(each for each in venue.gateway.hub.outboxes if each.sink is not engine_of(follower, venue))
            await until(lambda: len(asleep.slots) == len(codes))
            price = 154_000
            while not asleep.full:
                sleeper.sendall(masked('42["get_connection_info"]'))
                await asyncio.sleep(0)
            for _ in range(5):
                price += 100
                await venue.price("500325", price)
                assert (await follower.until("stock_update"))["data"]["price"] == price / 100
            assert asleep.sink.buffered() < 4 * HIGH_WATER
            assert asleep.behind is not None, "passed over, not queued for"
            now = venue.clock.monotonic()
            venue.gateway.hub.sweep(now)
            venue.gateway.hub.sweep(now + 11)
            await until(lambda: len(venue.gateway.members) == 1)
        await venue.price("500325", price + 100)
        assert (await follower.until("stock_update"))["data"]["price"] == (price + 100) / 100


def masked(text: str, before: str = "") -> bytes:
    """Return a text frame as a client sends it, under a mask of zeros."""
    data = (before + text).encode()
    length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
    return b"\x81" + length + bytes(4) + data


def sockets(venue: Venue) -> list[engineio.EngineSocket]:
    members = [each for each in venue.gateway.members if isinstance(each, served.SocketIo)]
    return [each._engine for each in members]


def engine_of(follower: Program, venue: Venue) -> engineio.EngineSocket:
    sid = follower.client.eio.sid
    return next(each for each in sockets(venue) if each.sid == sid)
