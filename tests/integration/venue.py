"""A real gateway on a real port over a scripted market, and the bare sockets that come to it.

The market is the documentation's (tests/docs/stage.py) with some scrips whose names need care. A socket here sends the
bytes that a test spells out and reads the answers as RFC 9112 frames them, so nothing is tidied up on the way.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any, Final, NamedTuple

import msgspec

from bhavcast.access.doorkeeper import Doorkeeper
from bhavcast.app.config import Limits
from bhavcast.board.board import Board
from bhavcast.domain import field
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.tick import Tick
from bhavcast.gateway.access_log import AccessLog
from bhavcast.gateway.control import Control
from bhavcast.gateway.edge import Gate, Record
from bhavcast.gateway.pages import Page
from bhavcast.gateway.server import GatewayServer
from tests.docs.stage import NOW, PATIENCE_S, SIM, Stage
from tests.waiting import until

DESK: Final = "https://desk.example"
STRANGER: Final = "https://stranger.example"
CARE: Final = (
    Instrument(symbol="500520", id="M&M", name="Mahindra & Mahindra Ltd.", isin="INE101A01026", group="A"),
    Instrument(symbol="500112", id="SBIN", name="State Bank of India", isin="INE062A01020", group="A"),
    Instrument(symbol="890112", id="SBIN#", name="State Bank of India T+0", isin="INE062A01020", settlement=0),
    Instrument(symbol="700001", id="WAS", name="Was Ltd.", isin="INEZ00301011", group="B", status="S"),
)
PAGE: Final = Page(b"<!doctype html><title>Bhavcast</title>", "text/html; charset=utf-8", '"a-page"')


class Answer(NamedTuple):
    """One answer as it came."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return a header that must not stand twice."""
        found = [value for each, value in self.headers if each == name]
        assert len(found) < 2, f"{name} stands {len(found)} times"
        return found[0] if found else None

    @property
    def told(self) -> Any:
        """Return the body, decoded."""
        return msgspec.json.decode(self.body)

    def refused(self, status: int, code: str) -> dict[str, Any]:
        """Check that this is a refusal in the one shape of all refusals; return it."""
        assert self.status == status, (self.status, self.body)
        assert self.header("content-type") == "application/problem+json"
        told: dict[str, Any] = self.told
        assert {"type", "title", "status", "code", "detail"} <= told.keys()
        assert told.keys() <= {
            "type",
            "title",
            "status",
            "code",
            "detail",
            "field",
            "retry_after",
            "candidates",
            "request_id",
        }
        assert told.get("request_id") == self.header("x-request-id")
        assert (told["status"], told["code"]) == (status, code)
        assert told["type"] == f"/docs/errors#{code}"
        assert told["title"]
        assert told["detail"]
        assert self.header("retry-after") == (str(told["retry_after"]) if "retry_after" in told else None)
        return told


class Line:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> Answer:
        """Read an answer's status line and headers."""
        async with asyncio.timeout(PATIENCE_S):
            raw = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = raw[:-4].decode("latin-1").split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1"
        pairs = [line.partition(": ") for line in lines]
        return Answer(int(status), [(name.lower(), value) for name, _, value in pairs], b"")

    async def answer(self, *, bodiless: bool = False) -> Answer:
        """Read one answer. `bodiless`: to HEAD."""
        head = await self.head()
        if bodiless or head.status in (204, 304):
            return head
        length = head.header("content-length")
        assert length is not None, "an answer says how long it is"
        async with asyncio.timeout(PATIENCE_S):
            return head._replace(body=await self.reader.readexactly(int(length)))

    async def ask(self, data: bytes) -> Answer:
        """Send a request and read its answer."""
        await self.send(data)
        return await self.answer(bodiless=data.startswith(b"HEAD "))

    async def ended(self) -> bytes:
        """Read until the other end closes, or cuts off whoever still sends."""
        came = b""
        async with asyncio.timeout(PATIENCE_S):
            try:
                while piece := await self.reader.read(65536):
                    came += piece
            except ConnectionResetError:
                pass
        return came


def request(
    target: str, *headers: str, method: str = "GET", host: str | None = "localhost", body: bytes = b""
) -> bytes:
    """Write a request down."""
    lines = [f"{method} {target} HTTP/1.1"]
    lines += [] if host is None else [f"Host: {host}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode("latin-1") + body


HANDSHAKE = request(
    "/ws",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


class Venue(Stage):
    """The stage with more scrips, an allowed origin, a page, and a second server over the same replica if wanted."""

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        hot_path: bool = True,
        also_cold: bool = False,
        keeper: Doorkeeper | None = None,
        control: Control | None = None,
        record: Record | None = None,
        kite_api: bool = False,
    ) -> None:
        super().__init__(limits=limits, keeper=keeper)
        self._kite_api = kite_api
        self.board.add(CARE)
        self.recorded: list[dict[str, Any]] = []
        self._record = record or (lambda **told: self.recorded.append(told))
        self._control = control
        self.server = self._serve(self.listener, hot_path=hot_path)
        self.cold_listener = socket.create_server(("127.0.0.1", 0)) if also_cold else None
        self.cold = None if self.cold_listener is None else self._serve(self.cold_listener, hot_path=False)

    def _serve(self, listener: socket.socket, *, hot_path: bool) -> GatewayServer:
        return GatewayServer(
            self.gateway,
            listener,
            Gate(("gw.example",), (DESK,)),
            {"/": PAGE},
            dict,
            hot_path=hot_path,
            access_log=AccessLog(),
            control=self._control,
            record=self._record,
            kite_api=self._kite_api,
        )

    @property
    def cold_port(self) -> int:
        """Return the port of the server without the hot path."""
        assert self.cold_listener is not None
        port: int = self.cold_listener.getsockname()[1]
        return port

    async def begin(self, epoch: str = "20261123T0345Z-9f1c03ab77de5a20") -> None:
        await super().begin(epoch)
        values: dict[int, Any] = {field.CURRENT_PRICE: 10_000, field.PREVIOUS_CLOSE: 9_900, field.VOLUME: 5}
        changes = self.board.apply(SIM, [Tick(each.symbol, NOW, dict(values)) for each in CARE])
        await self.bus.publish(self.board.seal(NOW, changes=changes))

    async def __aenter__(self) -> "Venue":
        await super().__aenter__()
        if self.cold is not None:
            self._tasks.append(asyncio.create_task(self.cold.run()))
            await until(lambda: self.cold is not None and self.cold.started)
        await self.settled()
        return self

    async def __aexit__(self, *why: object) -> None:
        if self.cold is not None:
            await self.cold.stop()
        await super().__aexit__(*why)

    async def settled(self) -> None:
        """Wait until the gateway has heard everything."""
        replica: Board = self.gateway.replica
        await until(lambda: (replica.epoch, replica.rev) == (self.board.epoch, self.board.rev))

    async def price(self, symbol: str, price: int, **more: Any) -> None:
        """Let a scrip trade at a price, and wait until the gateway knows."""
        await self.tick(symbol, {field.CURRENT_PRICE: price}, **more)
        await self.settled()

    @contextlib.asynccontextmanager
    async def line(self, port: int | None = None) -> AsyncIterator[Line]:
        """Open a connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port or self.port)
        try:
            yield Line(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def ask(self, data: bytes) -> Answer:
        """Ask on a connection of its own."""
        async with self.line() as line:
            return await line.ask(data)

    async def read(self, target: str, *headers: str) -> Answer:
        """Get a path."""
        return await self.ask(request(target, *headers))
