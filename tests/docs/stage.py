"""A real gateway over a small market that stands still: every answer in the documentation can be compared to the byte.

The parts are the product's own (board, bus, relay, gateway, server); only the feed is a script and the clock a picture.
Prices are invented. What differs from run to run (session ids, dates, durations) is put in place by `settled`.
"""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from bhavcast.access.doorkeeper import Doorkeeper
from bhavcast.app.config import Limits
from bhavcast.board.board import Board
from bhavcast.bus.memory import MemoryBus
from bhavcast.domain import field
from bhavcast.domain.calendar import Calendar, at_ist, ist
from bhavcast.domain.field import Values
from bhavcast.domain.index import IndexBasis
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.tick import Source, Tick
from bhavcast.flow import CANARY, relay
from bhavcast.gateway.edge import Gate
from bhavcast.gateway.gateway import Gateway
from bhavcast.gateway.server import GatewayServer
from bhavcast.telemetry.clock import MarketClock, SystemClock
from bhavcast.telemetry.metrics import Sample

EPOCH: Final = "20261123T0345Z-9f1c03ab77de5a20"
NEXT_EPOCH: Final = "20261123T0345Z-51d0c7be12aa98f3"
WALL: Final = 1_795_405_500_000  # 2026-11-23 09:15:00 IST
NOW: Final = WALL + 2_000
SIM: Final = Source(name="sim", mode="sim", grade="tick")
PATIENCE_S: Final = 30.0  # never how long it takes, only when to give up: a busy machine may be stopped for seconds

SCRIPS: Final = (
    CANARY,
    Instrument(
        symbol="500325", id="RELIANCE", name="RELIANCE INDUSTRIES LTD.", isin="INE002A01018", group="A",
        closing_auction=True, sector="Oil & Gas",
    ),
    Instrument(
        symbol="532540", id="TCS", name="TATA CONSULTANCY SERVICES LTD.", isin="INE467B01029", group="A",
        closing_auction=True, sector="Information Technology",
    ),
    Instrument(symbol="600001", id="EXAMPLE", name="Example Works Ltd.", isin="INEZ00001017", group="X", band=10),
    Instrument(symbol="600002", id="TWIN", name="Twin Mills Ltd.", isin="INEZ00101015", group="B", band=20),
    Instrument(symbol="600003", id="TWIN", name="Twin Mills Ltd. (II)", isin="INEZ00201013", group="B", band=20),
    Instrument(symbol="IDX:SENSEX", id="SENSEX", name="BSE SENSEX", kind="IDX", tick=1),
)  # fmt: skip
INDEX: Final = IndexBasis(
    symbol="IDX:SENSEX",
    name="BSE SENSEX",
    members={"500325": 6_766_000_000, "532540": 1_020_000_000},
    base_value=84_250_00,
    base_cap=154_830 * 6_766_000_000 + 310_475 * 1_020_000_000,
)


def opening_ticks() -> list[Tick]:
    """Return what the market has said before anyone asks."""
    return [
        Tick(
            "500325",
            WALL + 1_240,
            {
                field.CURRENT_PRICE: 153290,
                field.OPEN: 153290,
                field.HIGH: 153345,
                field.LOW: 153265,
                field.PREVIOUS_CLOSE: 154830,
                field.VOLUME: 215,
                field.VALUE: 32957350,
                field.TRADES: 8,
                field.AVERAGE_PRICE: 153290,
                field.LAST_QUANTITY: 26,
                field.LAST_TRADE_TIME: WALL + 1_000,
                field.BID_PRICE: 153265,
                field.BID_QUANTITY: 126,
                field.ASK_PRICE: 153310,
                field.ASK_QUANTITY: 152,
                field.TOTAL_BID_QUANTITY: 4405,
                field.TOTAL_ASK_QUANTITY: 4535,
                field.LOWER_CIRCUIT: 139350,
                field.UPPER_CIRCUIT: 170310,
                field.YEAR_HIGH: 188050,
                field.YEAR_LOW: 100535,
                field.BIDS: ((153265, 126, 6), (153245, 296, 6)),
                field.ASKS: ((153310, 152, 8), (153330, 296, 6)),
            },
        ),
        Tick(
            "532540",
            WALL + 1_310,
            {
                field.CURRENT_PRICE: 310015,
                field.OPEN: 310015,
                field.HIGH: 310015,
                field.LOW: 310015,
                field.PREVIOUS_CLOSE: 310475,
                field.VOLUME: 74,
                field.BID_PRICE: 309980,
                field.BID_QUANTITY: 40,
                field.ASK_PRICE: 310050,
                field.ASK_QUANTITY: 12,
            },
        ),
        Tick("IDX:SENSEX", WALL + 1_500, {field.CURRENT_PRICE: 83_682_41, field.PREVIOUS_CLOSE: 84_250_00}),
    ]


class Still(SystemClock):
    """A wall clock that stands; intervals go on."""

    def wall_ms(self) -> int:
        """Return always the same."""
        return WALL


class Stage:
    """The gateway, and the hand that moves its market."""

    def __init__(self, *, limits: Limits | None = None, keeper: Doorkeeper | None = None) -> None:
        self.bus = MemoryBus()
        self.clock = Still()
        self.market = MarketClock(self.clock, start_ms=NOW, speed=0.0)
        self.board = Board()
        self.board.add(SCRIPS)
        self.gateway = Gateway(
            replica=Board(),
            clock=self.clock,
            market=self.market,
            limits=limits or Limits(),
            heartbeat_ms=60_000,
            keeper=keeper,
        )
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.server = GatewayServer(
            self.gateway, self.listener, Gate((), ()), {}, lambda: _figures(self.board), hot_path=True
        )
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def url(self) -> str:
        """Return the gateway's address."""
        return f"http://127.0.0.1:{self.port}"

    async def begin(self, epoch: str = EPOCH) -> None:
        """Begin an epoch with the day's facts, and say what the market has said."""
        board, first = self.board, WALL * 1000 if not self.board.epoch else self.board.rev + 1000
        board.begin(epoch, first, 1)
        board.facts |= facts()
        board.apply(SIM, opening_ticks())
        for row in board.order:
            board.put(row, {field.PHASE: "continuous", field.STATE: "live" if row.has_data else "no_data"})
        board.seal(self.market.now_ms())
        await self.bus.begin(board.snapshot(self.market.now_ms(), planned=True))

    async def tick(self, symbol: str, values: Values, *, after_ms: int = 0) -> None:
        """Let a scrip tick; `after_ms` counts from the picture's moment."""
        changes = self.board.apply(SIM, [Tick(symbol, NOW + after_ms, values)])
        await self.bus.publish(self.board.seal(NOW + after_ms, changes=changes))

    async def fact(self, name: str, content: dict[str, Any]) -> None:
        """Let something be said of the market."""
        await self.bus.publish(self.board.seal(NOW, facts={name: content}))

    async def __aenter__(self) -> "Stage":
        """Open the doors."""
        await self.begin()
        follow = relay(self.bus, self.gateway.replica, self.gateway)
        self._tasks = [asyncio.create_task(follow), asyncio.create_task(self.server.run())]
        while not (self.server.started and self.gateway.ready):  # noqa: ASYNC110 - uvicorn tells it by a flag
            await asyncio.sleep(0.005)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close them."""
        await self.server.stop()
        await self.bus.close()
        await asyncio.gather(*self._tasks)

    # -- who comes ----------------------------------------------------------------------------------------------------

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """Ask over HTTP, by exactly this path."""
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.get(f"{self.url}{path}", headers=headers)

    @contextlib.asynccontextmanager
    async def talk(self, *, binary: bool = False) -> AsyncIterator["Talk"]:
        """Open a WebSocket."""
        protocol = "bhavcast.v1.msgpack" if binary else "bhavcast.v1.json"
        address = self.url.replace("http", "ws", 1) + "/ws"
        async with connect(address, subprotocols=[Subprotocol(protocol)], compression=None, proxy=None) as wire:
            yield Talk(wire, protocol)


class Talk:
    """One conversation, written down as it goes: `lines` are those of a vector."""

    def __init__(self, wire: ClientConnection, protocol: str) -> None:
        self.wire = wire
        self.protocol = protocol
        self.lines: list[dict[str, Any]] = []

    async def hear(self, count: int = 1) -> dict[str, Any]:
        """Wait for so many frames; return the last."""
        last: dict[str, Any] = {}
        for _ in range(count):
            frame = await asyncio.wait_for(self.wire.recv(), PATIENCE_S)
            if isinstance(frame, str):
                last = settled(msgspec.json.decode(frame))
                self.lines.append({"s": last})
            else:
                objects = settled(unpack(frame))
                last = objects[0]
                packed = b"".join(msgspec.msgpack.encode(each) for each in objects)
                self.lines.append({"s_hex": packed.hex(), "s": objects})
        return last

    async def until(self, kind: str) -> dict[str, Any]:
        """Hear until a frame of this kind; return it."""
        while True:
            last = await self.hear()
            if last["t"] == kind:
                return last

    async def say(self, message: dict[str, Any] | str) -> None:
        """Send a message, or text that is none."""
        if isinstance(message, str):
            self.lines.append({"c_text": message})
            await self.wire.send(message)
            return
        if self.protocol.endswith("json"):
            self.lines.append({"c": message})
            await self.wire.send(msgspec.json.encode(message).decode())
        else:
            packed = msgspec.msgpack.encode(message)
            self.lines.append({"c_hex": packed.hex(), "c": message})
            await self.wire.send(packed)

    async def closed(self) -> None:
        """Hear until the service has closed the connection, and write down how."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self.hear()
        reason = re.sub(r"retry_ms=\d+", "retry_ms=2718", self.wire.close_reason or "")
        self.lines.append({"closed": {"code": self.wire.close_code, "reason": reason}})


def unpack(frame: bytes) -> list[dict[str, Any]]:
    """Split a MessagePack frame into its consecutive objects."""
    objects = []
    while frame:
        # The decoder wants one object and all of the bytes: the shortest beginning that it takes is the first object.
        for end in range(1, len(frame) + 1):
            with contextlib.suppress(msgspec.DecodeError):
                objects.append(msgspec.msgpack.decode(frame[:end]))
                frame = frame[end:]
                break
        else:
            raise ValueError("the frame does not end with its last object")
    return objects


def settled(value: Any) -> Any:
    """Put fixed values in the place of those that differ from run to run."""
    if isinstance(value, dict):
        fixed = {"sid": "1f9d6a0c55e83b27", "retry_ms": 2718}
        return {key: fixed[key] if key in fixed else settled(each) for key, each in value.items()}
    return [settled(each) for each in value] if isinstance(value, list) else value


def facts() -> dict[str, Any]:
    """Return what ingest says of the market at this moment."""
    calendar = Calendar.builtin()
    upcoming = calendar.next_transition(NOW)
    return {
        "day": "2026-11-23",
        "indices": msgspec.to_builtins([INDEX]),
        "market": {
            "status": calendar.status(NOW),
            "date": ist(NOW).date().isoformat(),
            "phases": calendar.phases(NOW),
            "next": {"at": upcoming.at, "status": upcoming.status, "phases": upcoming.phases},
            "holiday": None,
            "calendar": "known",
        },
        "clock": {"virtual": True, "speed": 1.0},
        "feeds": {"sim": {"state": "live", "mode": "sim", "grade": "tick", "period_ms": 0}},
        "journal": {"state": "ok", "reason": None},
        "quarantine": {"held": 0, "total": 0, "released": 0, "rules": {}, "newest": []},
        "guard": {"corrections": [], "suspensions": []},
    }


def _figures(board: Board) -> dict[str, list[Sample]]:
    return {"bhavcast_ticks_total": [(("sim",), float(board.rev - WALL * 1000))]}


assert at_ist(ist(WALL).date(), ist(WALL).time()) == WALL
