"""A gateway on a real port over a small market that a test moves."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin, Subprotocol

from bhavcast.app.config import Limits
from bhavcast.board.board import Board
from bhavcast.bus.memory import MemoryBus
from bhavcast.client import frames
from bhavcast.domain import field
from bhavcast.domain.field import Values
from bhavcast.domain.index import IndexBasis
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.tick import Source, Tick
from bhavcast.flow import CANARY, relay
from bhavcast.gateway import pages
from bhavcast.gateway.edge import Gate
from bhavcast.gateway.gateway import Gateway
from bhavcast.gateway.server import GatewayServer
from bhavcast.telemetry.clock import MarketClock, SystemClock

EPOCH = "20261123T0345Z-9f1c03ab77de5a20"
OTHER = "20261124T0345Z-0000000000000002"
NOW = 1_795_405_500_000  # 2026-11-23 09:15:00 IST
SOURCE = Source(name="script", mode="sim", grade="tick")
FRIENDLY = "http://pages.example:8080"
PATIENCE_S = 20.0


def _scrip(symbol: str, id_: str, **more: Any) -> Instrument:
    return Instrument(**{"symbol": symbol, "id": id_, "name": f"{id_} LTD.", "group": "A", **more})


SCRIPS = (
    CANARY,
    _scrip("500325", "RELIANCE", isin="INE002A01018"),
    _scrip("532540", "TCS", isin="INE467B01029"),
    _scrip("500520", "M&M", isin="INE101A01026"),
    _scrip("500112", "SBIN#", isin="INE062A01020"),
    _scrip("600001", "SILENT", isin="INEZ00001017", group="X"),
    _scrip("600002", "TWIN", isin="INEZ00101015", group="B"),
    _scrip("600003", "TWIN", isin="INEZ00201013", group="B"),
    _scrip("IDX:SENSEX", "SENSEX", name="BSE SENSEX", kind="IDX", group=""),
    *(_scrip(str(700_000 + number), f"MANY{number}", group="M") for number in range(600)),
)
INDEX = IndexBasis(symbol="IDX:SENSEX", name="BSE SENSEX", members={"500325": 1, "532540": 1}, base_value=1, base_cap=1)
LONG = [str(700_000 + number) for number in range(600)]


class Served:
    """The gateway, its server, and the hand that moves the market."""

    def __init__(self, *, hot_path: bool = True, heartbeat_ms: int = 60_000, **limits: int) -> None:
        self.bus = MemoryBus()
        self.board = Board()
        self.board.add(SCRIPS)
        clock = SystemClock()
        self.market = MarketClock(clock, start_ms=NOW, speed=1e-9)
        self.gateway = Gateway(
            replica=Board(), clock=clock, market=self.market, limits=Limits(**limits), heartbeat_ms=heartbeat_ms
        )
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.server = GatewayServer(
            self.gateway, self.listener, Gate((), (FRIENDLY,)), pages.load(), dict, hot_path=hot_path
        )
        self.url = f"http://127.0.0.1:{self.port}"
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped = False

    async def __aenter__(self) -> "Served":
        await self.begin(EPOCH)
        self._tasks = [
            asyncio.create_task(relay(self.bus, self.gateway.replica, self.gateway)),
            asyncio.create_task(self.server.run()),
        ]
        while not (self.server.started and self.gateway.ready):  # noqa: ASYNC110 - uvicorn tells it by a flag
            await asyncio.sleep(0.005)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        if self._stopped:
            return
        self._stopped = True
        await self.server.stop()
        await self.bus.close()
        await asyncio.gather(*self._tasks)

    # -- the market -------------------------------------------------------------------------------------------------

    async def begin(self, epoch: str) -> None:
        board = self.board
        board.begin(epoch, NOW * 1000, 1)
        board.facts |= {
            "market": {"status": "open"},
            "feeds": {"script": {"state": "live"}},
            "clock": {"virtual": True, "speed": 1},
            "indices": msgspec.to_builtins([INDEX]),
        }
        for symbol in ("500325", "532540", "500520", "500112", "IDX:SENSEX", *LONG):
            values: Values = {field.CURRENT_PRICE: 100_00, field.PREVIOUS_CLOSE: 99_00, field.VOLUME: 7}
            values |= {field.BID_PRICE: 99_95, field.BIDS: ((99_95, 3, 1), (99_90, 5, 2)), field.ASKS: None}
            board.apply(SOURCE, [Tick(symbol, NOW - 500, values)])
        for row in board.order:
            board.put(row, {field.PHASE: "continuous", field.STATE: "live" if row.has_data else "no_data"})
        board.seal(NOW)
        await self.bus.begin(board.snapshot(NOW, planned=True))

    async def tick(self, symbol: str, values: Values) -> None:
        await self.tick_all([symbol], values)

    async def tick_all(self, symbols: Sequence[str], values: Values) -> None:
        changes = self.board.apply(SOURCE, [Tick(symbol, NOW, values) for symbol in symbols])
        await self.bus.publish(self.board.seal(NOW, changes=changes))
        await self.heard()

    async def fact(self, name: str, content: dict[str, Any]) -> None:
        await self.bus.publish(self.board.seal(NOW, facts={name: content}))
        await self.heard()

    async def list_a_scrip(self, instrument: Instrument) -> None:
        await self.bus.publish(self.board.seal(NOW, instruments=[instrument]))
        await self.heard()

    async def heard(self) -> None:
        """Wait until the gateway knows what was published."""
        while self.gateway.replica.position != self.board.position:  # noqa: ASYNC110 - it has no event for tests
            await asyncio.sleep(0)

    @property
    def position(self) -> str:
        return str(self.board.position)

    # -- who comes --------------------------------------------------------------------------------------------------

    def http(self, **options: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=PATIENCE_S, **options)

    async def get(self, target: str, method: str = "GET", headers: Sequence[tuple[str, str]] = ()) -> "Reply":
        """Ask by exactly this target and these headers."""
        async with self.raw() as raw:
            head = "".join(f"{name}: {value}\r\n" for name, value in headers)
            if not any(name.lower() == "host" for name, _ in headers):
                head = f"Host: 127.0.0.1:{self.port}\r\n{head}"
            await raw.send(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode())
            return await raw.reply(method)

    @contextlib.asynccontextmanager
    async def raw(self) -> AsyncIterator["Raw"]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**24)
        try:
            yield Raw(reader, writer)
        finally:
            writer.transport.abort()

    @contextlib.asynccontextmanager
    async def talk(self, *, binary: bool = False, origin: str | None = None, **options: Any) -> AsyncIterator["Talk"]:
        async with connect(
            self.url.replace("http", "ws", 1) + "/ws",
            subprotocols=[Subprotocol(frames.MSGPACK_PROTOCOL if binary else frames.JSON_PROTOCOL)],
            origin=None if origin is None else Origin(origin),
            proxy=None,
            max_size=None,
            close_timeout=1,
            **options,
        ) as wire:
            yield Talk(wire, binary=binary)


class Reply:
    """One answer, as it came."""

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def header(self, name: str) -> str | None:
        found = [value for each, value in self.headers if each == name.lower()]
        assert len(found) < 2, f"{name} stands {len(found)} times"
        return found[0] if found else None

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def lasting(self) -> tuple[int, list[tuple[str, str]], bytes]:
        """What does not depend on when it was asked, in an order of its own."""
        moving = ("date", "x-bhavcast-age-ms")
        return self.status, sorted(each for each in self.headers if each[0] not in moving), self.body


class Raw:
    """A connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self, method: str = "GET") -> Reply:
        async with asyncio.timeout(PATIENCE_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
            status = int(first.split(" ")[1])
            headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
            found = dict(headers)
            if method == "HEAD" or status in (204, 304) or status < 200:
                return Reply(status, headers, b"")
            if found.get("transfer-encoding") == "chunked":
                body = b""
                while size := int(await self.reader.readuntil(b"\r\n"), 16):
                    body += await self.reader.readexactly(size)
                    await self.reader.readexactly(2)
                await self.reader.readexactly(2)
                return Reply(status, headers, body)
            return Reply(status, headers, await self.reader.readexactly(int(found["content-length"])))

    async def end(self) -> bytes:
        """Return what still comes until the connection ends."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""


class Talk:
    """A WebSocket, message by message."""

    def __init__(self, wire: ClientConnection, *, binary: bool) -> None:
        self.wire, self.binary = wire, binary

    async def say(self, **message: Any) -> None:
        await self.wire.send(frames.write(message, binary=self.binary))

    async def hear(self) -> dict[str, Any]:
        return frames.read(await asyncio.wait_for(self.wire.recv(), PATIENCE_S))

    async def until(self, kind: str, **having: Any) -> dict[str, Any]:
        """Pass over what comes until a message of a kind; return it."""
        while True:
            message = await self.hear()
            if message["t"] == kind and having.items() <= message.items():
                return message

    async def all_until(self, kind: str, **having: Any) -> list[dict[str, Any]]:
        """Return what comes up to a message of a kind, with it."""
        messages = []
        while True:
            messages.append(await self.hear())
            if messages[-1]["t"] == kind and having.items() <= messages[-1].items():
                return messages

    async def closed(self) -> tuple[int | None, str | None]:
        """Wait for the end; return how it was told."""
        async with asyncio.timeout(PATIENCE_S):
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await self.wire.recv()
        return self.wire.close_code, self.wire.close_reason
