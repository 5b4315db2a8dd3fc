"""Each link of the system, and what a network can do to it: that is told, nobody hangs, the others notice nothing, and
afterwards all is whole again. The table is docs/explanation/links.md.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from bhavcast.app.config import Limits
from bhavcast.app.control import LineControl
from bhavcast.app.control_socket import SocketControl, listening, socket_of
from bhavcast.bus.address import Address
from bhavcast.client.events import Link
from bhavcast.client.stream import Client
from bhavcast.domain import field
from bhavcast.domain.errors import Conflict
from bhavcast.gateway.websocket import WebSocket
from tests.integration.test_redis_line import Reader, Writer, _quiet
from tests.integration.venue import Venue
from tests.proxy import Proxy
from tests.redis_servers import running
from tests.scripted_line import Line
from tests.waiting import until

pytestmark = pytest.mark.slow

PATIENCE_S = 30.0
GONE = (OSError, EOFError, ConnectionClosed, InvalidHandshake, TimeoutError, httpx.HTTPError)
FAULTS: dict[str, Callable[[Proxy], None]] = {
    "delayed": lambda wire: wire.slow_down(delay_s=0.1),
    "throttled": lambda wire: wire.slow_down(rate=4000.0),
    "silent": lambda wire: wire.fall_silent(),
    "cut": lambda wire: wire.cut(refuse=True),
    "reset": lambda wire: wire.reset(),
    "half closed towards the server": lambda wire: wire.half_close("server"),
    "half closed towards the client": lambda wire: wire.half_close("client"),
}


class World(Protocol):
    """A link in its place: the two it connects, and somebody beside whom its faults must not reach."""

    wire: Proxy

    async def healthy(self) -> None:
        """See something that is said now arrive, here and beside."""

    async def told(self, fault: str) -> None:
        """Wait until the fault is visible, or what is said gets through it."""

    async def beside(self) -> None:
        """See that the others have what is said meanwhile."""


# -- ingest and Redis --------------------------------------------------------------------------------------------------------


class IngestAndRedis:
    """A writer behind the wire; a reader that hears what comes of it."""

    def __init__(self, wire: Proxy, writer: Writer, reader: Reader) -> None:
        self.wire, self._writer, self._reader = wire, writer, reader
        self._price = 151_000
        self._connects = 0.0

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, folder: Path) -> AsyncIterator["IngestAndRedis"]:
        for cast in running("standalone", folder / "redis"):
            async with Proxy(folder / "wire", cast.servers[0].folder / "s") as wire:
                cast.address, direct = Address.parse(f"unix://{wire.path}"), cast.address
                writer = await Writer(cast, folder, "one").start()
                cast.address = direct
                reader = Reader(cast, {})
                try:
                    yield cls(wire, writer, reader)
                finally:
                    wire.heal()
                    await reader.close()
                    await writer.bus.close()

    async def say(self) -> None:
        """A price; however Redis is, ingest and its journal go on."""
        self._price += 5
        before = self._writer.board.rev
        async with asyncio.timeout(2.0):
            await self._writer.price(self._price, after_ms=1000)
        assert self._writer.board.rev > before
        assert not self._writer.line.journal.failing

    async def healthy(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await self.say()
            while not await _quiet(self._writer):
                await self.say()
        await self._reader.reaches(self._writer.board)
        assert self._reader.link == "ok"
        self._connects = self._writer.bus.counts()["bus_connects_total"]

    async def told(self, fault: str) -> None:
        writer = self._writer
        if fault in ("delayed", "throttled"):
            before = self._reader.top
            await self.say()
            await until(lambda: self._reader.top > before)
            return
        async with asyncio.timeout(PATIENCE_S):
            while writer.bus.publisher.failing is None and writer.bus.counts()["bus_connects_total"] == self._connects:
                await self.say()
                await asyncio.sleep(0.01)
        if fault in ("silent", "cut"):
            await until(lambda: self._reader.link == "degraded")

    async def beside(self) -> None:
        """A reader loses nothing that it had."""
        assert not self._reader.task.done()
        assert self._reader.replica.rev >= self._reader.top


# -- gateway and Redis -------------------------------------------------------------------------------------------------------


class GatewayAndRedis:
    """A reader behind the wire, and one that is not."""

    def __init__(self, wire: Proxy, writer: Writer, behind: Reader, other: Reader) -> None:
        self.wire, self._writer, self._behind, self._other = wire, writer, behind, other
        self._price = 151_000
        self._connects = 0.0

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, folder: Path) -> AsyncIterator["GatewayAndRedis"]:
        for cast in running("standalone", folder / "redis"):
            async with Proxy(folder / "wire", cast.servers[0].folder / "s") as wire:
                writer = await Writer(cast, folder, "one").start()
                saw: dict = {}
                other = Reader(cast, saw)
                cast.address = Address.parse(f"unix://{wire.path}")
                behind = Reader(cast, saw)
                try:
                    yield cls(wire, writer, behind, other)
                finally:
                    wire.heal()
                    await behind.close()
                    await other.close()
                    await writer.bus.close()

    async def say(self) -> None:
        self._price += 5
        await self._writer.price(self._price, after_ms=1000)

    async def healthy(self) -> None:
        await self.say()
        await self._writer.bus.flush()
        await self._behind.reaches(self._writer.board)
        await until(lambda: self._behind.link == "ok")
        await self.beside()
        self._connects = self._behind.bus.counts()["bus_connects_total"]

    async def told(self, fault: str) -> None:
        if fault in ("delayed", "throttled"):
            await self.say()
            await self._behind.reaches(self._writer.board)
        elif fault in ("silent", "cut"):
            await until(lambda: self._behind.link != "ok")
        else:
            await until(lambda: self._behind.bus.counts()["bus_connects_total"] > self._connects)

    async def beside(self) -> None:
        await self.say()
        await self._writer.bus.flush()
        await self._other.reaches(self._writer.board)
        assert self._other.link == "ok"
        assert self._other.bus.follower.holes == 0


# -- gateway and ingest: what operators ask for --------------------------------------------------------------------------------


class ControlSocket:
    """An operator's gateway that asks through the wire, and one that does not."""

    def __init__(self, wire: Proxy, line: Line, behind: Path, direct: Path) -> None:
        self.wire, self._line = wire, line
        self._behind, self._direct = SocketControl(behind, within_s=0.5), SocketControl(direct, within_s=5.0)

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, folder: Path) -> AsyncIterator["ControlSocket"]:
        line = (await Line(folder / "journal", "2026-11-23 09:15:05").start()).supervised()
        ingest, behind = folder / "ingest", folder / "gateway"
        ingest.mkdir()
        behind.mkdir()
        async with (
            listening(ingest, LineControl(line.line), within_s=0.5),
            Proxy(socket_of(behind), socket_of(ingest)) as wire,
        ):
            yield cls(wire, line, behind, ingest)

    async def healthy(self) -> None:
        await self._behind.pause("script")
        await self._behind.resume("script")

    async def told(self, fault: str) -> None:
        """An answer in time, whichever: done, or why that is not known."""
        before = self.wire.carried
        asking = asyncio.create_task(self._behind.pause("script"))
        if fault in ("reset", "half closed towards the server", "half closed towards the client"):
            self.wire.fall_silent()  # so that it is under way
            await until(lambda: self.wire.carried > before)
            FAULTS[fault](self.wire)
            self.wire.heal()
        async with asyncio.timeout(5.0):
            if fault in ("delayed", "throttled", "half closed towards the server"):
                with contextlib.suppress(Conflict):
                    await asking
            else:
                with pytest.raises(Conflict):
                    await asking

    async def beside(self) -> None:
        await self._direct.pause("script")
        await self._direct.resume("script")
        await self._line.line.say(facts={})


# -- clients and a gateway ---------------------------------------------------------------------------------------------------


class Follower(Protocol):
    """A client of some protocol: comes again by itself, and tells the volume that it last saw of a scrip."""

    volume: int
    losses: int  # how often it saw that the line was lost

    async def run(self, url: str) -> None:
        """Follow until cancelled."""


class OfWebSocket:
    """The client library; `silence` as it has it, but for one that shall notice soon."""

    def __init__(self, silence: float = 2.0) -> None:
        self.volume = self.losses = 0
        self._silence = silence

    async def run(self, url: str) -> None:
        stream = url.replace("http", "ws", 1) + "/ws"
        client = Client(stream, hz=0, silence=self._silence, sleep=lambda _: asyncio.sleep(0.02))
        await client.subscribe("500325")
        try:
            async for event in client.events():
                if isinstance(event, Link):
                    self.losses += not event.up
                self.volume = client.quotes.get("500325", {}).get("volume", self.volume)
        finally:
            await client.aclose()


class Returning:
    """One whose protocol has no way of its own to come again."""

    def __init__(self) -> None:
        self.volume = self.losses = 0

    async def run(self, url: str) -> None:
        while True:
            with contextlib.suppress(*GONE):
                await self.visit(url)
            self.losses += 1
            await asyncio.sleep(0.02)  # or it would knock at a closed door as fast as it can

    async def visit(self, url: str) -> None:
        """Follow until the line is lost."""
        raise AssertionError("each protocol has its own")


class OfEvents(Returning):
    """Server-Sent Events, as a browser would follow them."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, str] = {}

    async def visit(self, url: str) -> None:
        asked = {"symbols": "500325", "hz": "0"}
        async with (
            httpx.AsyncClient(trust_env=False, timeout=2.0) as http,
            http.stream("GET", f"{url}/api/stream", params=asked, headers=self._last) as told,
        ):
            async for line in told.aiter_lines():
                if line.startswith("id: "):
                    self._last = {"Last-Event-ID": line.removeprefix("id: ")}
                self.volume = _volume(line, '"volume":', self.volume)


def on_websocket(url: str, path: str) -> connect:
    return connect(
        url.replace("http", "ws", 1) + path, compression=None, proxy=None, open_timeout=2.0, close_timeout=0.1
    )


class OfSocketIo(Returning):
    """Socket.IO over a WebSocket; it has no volume, so the price stands for it."""

    async def visit(self, url: str) -> None:
        async with on_websocket(url, "/socket.io/?EIO=4&transport=websocket") as wire:
            await wire.send("40")
            await wire.send('42["subscribe",{"symbols":["500325"]}]')
            while True:
                async with asyncio.timeout(2.0):
                    self.volume = _volume(str(await wire.recv()), '"price":', self.volume)


class OfKite(Returning):
    """The Kite ticker, whose packets begin with token and price."""

    async def visit(self, url: str) -> None:
        async with on_websocket(url, "/kite?api_key=any&access_token=any") as wire:
            await wire.send('{"a":"mode","v":["ltp",[128083204]]}')
            while True:
                async with asyncio.timeout(3.0):  # its heartbeats come every 2 s
                    frame = await wire.recv()
                if isinstance(frame, bytes) and len(frame) >= 12:
                    self.volume = int.from_bytes(frame[8:12])


class OfHttp(Returning):
    """One who asks again and again on a connection that is kept."""

    async def visit(self, url: str) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=2.0) as http:
            while True:
                answer = await http.get(f"{url}/api/stock/500325")
                self.volume = answer.json()["volume"]
                await asyncio.sleep(0.005)  # two hundred times a second is enough to notice


def _volume(text: str, name: str, before: int) -> int:
    _, found, rest = text.rpartition(name)
    return round(float(rest.partition(",")[0].strip("}]")) * (100 if name == '"price":' else 1)) if found else before


class ClientAndGateway:
    """A client behind the wire, and one of the library that is not."""

    def __init__(self, wire: Proxy, venue: Venue, client: Follower) -> None:
        self.wire, self._venue, self._client, self._other = wire, venue, client, OfWebSocket(PATIENCE_S)
        self._price = 153_300
        self._losses = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, kind: Callable[[], Follower]) -> AsyncIterator["ClientAndGateway"]:
        async with Venue(kite_api=True) as venue, Proxy(None, ("127.0.0.1", venue.port)) as wire:
            venue.gateway.heartbeat_ms = 100
            world = cls(wire, venue, kind())
            following = [
                asyncio.create_task(world._client.run(f"http://127.0.0.1:{wire.port}")),
                asyncio.create_task(world._other.run(venue.url)),
            ]
            try:
                yield world
            finally:
                wire.heal()
                for task in following:
                    task.cancel()
                for ended in await asyncio.gather(*following, return_exceptions=True):
                    if isinstance(ended, Exception):
                        raise ended
                wire.cut()
                await until(lambda: not venue.gateway.members)
                assert not venue.gateway.hub.outboxes, "nothing is left of anyone"
                assert not venue.gateway.hub.pumping

    async def say(self) -> None:
        """A price, which is the volume as well."""
        self._price += 5
        await self._venue.tick("500325", {field.CURRENT_PRICE: self._price, field.VOLUME: self._price})
        await self._venue.settled()

    def _has(self, client: Follower) -> bool:
        return client.volume == self._price

    async def healthy(self) -> None:
        await self.say()
        await until(lambda: self._has(self._client))
        await until(lambda: self._has(self._other))
        self._losses = self._client.losses

    async def told(self, fault: str) -> None:
        await self.say()
        if fault in ("delayed", "throttled"):
            await until(lambda: self._has(self._client))
            assert self._client.losses == self._losses
        elif isinstance(self._client, OfHttp) and fault not in ("silent", "cut"):
            await until(lambda: self._has(self._client))  # the next request takes another connection by itself
        else:
            await until(lambda: self._client.losses > self._losses)

    async def beside(self) -> None:
        await self.say()
        await until(lambda: self._has(self._other))
        assert self._other.losses == 0


LINKS: dict[str, Callable[[Path], Any]] = {
    "ingest and Redis": IngestAndRedis.open,
    "gateway and Redis": GatewayAndRedis.open,
    "gateway and ingest": ControlSocket.open,
    "WebSocket": lambda _: ClientAndGateway.open(OfWebSocket),
    "Server-Sent Events": lambda _: ClientAndGateway.open(OfEvents),
    "Socket.IO": lambda _: ClientAndGateway.open(OfSocketIo),
    "Kite": lambda _: ClientAndGateway.open(OfKite),
    "HTTP": lambda _: ClientAndGateway.open(OfHttp),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("link", LINKS)
async def test_a_network_that_misbehaves_is_told_of_and_survived(link, fault, tmp_path):
    async with LINKS[link](tmp_path) as world:
        await world.healthy()
        FAULTS[fault](world.wire)
        await world.told(fault)
        await world.beside()
        world.wire.heal()
        await world.healthy()


async def test_a_wire_that_is_slow_conflates_and_is_counted_and_a_silent_one_is_closed():
    """What waits for a client is bounded, stands in a metric, and is given up in the end."""
    async with Venue() as venue, Proxy(None, ("127.0.0.1", venue.port)) as wire:
        venue.gateway.hub.slow_after_s = 1.0
        client = Client(f"ws://127.0.0.1:{wire.port}/ws", hz=0)
        await client.subscribe("*")
        while client.position is None:
            await client.receive()
        wire.fall_silent()
        price, most = 153_300, 0.0
        async with asyncio.timeout(PATIENCE_S):
            while venue.gateway.members:
                for _ in range(20):
                    price += 5
                    await venue.price("500325", price)
                told = (await venue.read("/metrics")).body.decode()
                most = max(most, _figure(told, "bhavcast_unsent_bytes"))
        assert venue.gateway.hub.skips > 0
        assert 0 < most < 256 * 1024
        wire.heal()
        async with asyncio.timeout(PATIENCE_S):
            while client.quotes["500325"]["current_price"] != price / 100:
                await client.receive()
        await client.aclose()


def _figure(told: str, name: str) -> float:
    return next(float(line.split()[-1]) for line in told.splitlines() if line.startswith(name + " "))


def test_every_fault_is_in_the_documentation():
    page = Path("docs/explanation/links.md").read_text()
    assert all(f"| {link} |" in page for link in LINKS)


async def test_pieces_without_content_do_not_pile_up():
    """A message may come in pieces, and the bound on it counts bytes: pieces that have none must not be kept."""
    async with Venue(limits=Limits(messages_per_second=100_000)) as venue, venue.talk() as talk:
        await talk.until("hello")
        open_now: set[Any] = set(venue.server._server.server_state.connections)
        (ours,) = (each for each in open_now if isinstance(each, WebSocket))
        mask = b"\0\0\0\0"
        transport = talk.wire.transport
        transport.write(b"\x01\x85" + mask + b'{"t":' + (b"\x00\x80" + mask) * 10_000)
        transport.write(b"\x00\x88" + mask + b'"list",\n' + b"\x80\x87" + mask + b'"id":1}')
        while (await talk.hear()).get("id") != 1:
            pass
        transport.write(b"\x01\x85" + mask + b'{"t":' + (b"\x00\x80" + mask) * 10_000)
        await asyncio.wait_for(await talk.wire.ping(), PATIENCE_S)  # its pong comes behind them
        assert len(ours._message) == 1
