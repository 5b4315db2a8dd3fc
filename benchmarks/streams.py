"""`stream-raw`, `stream-conflated`: CPU time of one frame to one client, against a C send loop and the guide's stack.

The gateway is alone with a bus that is played to it (`feeder`), so that its cost is the cost of decoding the bus, keeping the
replica, encoding rows, joining and sending frames, and nothing else.
"""

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks import gateway, market, servers
from benchmarks.measure import LOAD_CORE, SHARE, WAITED, Contender, Outcome, Plan, Reading, alternate
from benchmarks.servers import Server
from benchmarks.targets import PER_FRAME
from bhavcast.load import generator
from bhavcast.load.cpu import CpuMeter, CpuTime, resident_bytes
from bhavcast.load.generator import StreamResult

DEAF = 5
WITH_DEAF, WITHOUT_DEAF = "with five that never read", "without them"
SETTLE = 1.0  # seconds between the last subscription and the measurement
BATCH_S = 0.005  # what ticks within this time is at most one message of the bus …
BATCH, BIG_BATCH, BIG_ABOVE = 20, 100, 20_000  # … of so many ticks, and of more where there are more than that a second
C = "C send loop"
C_MARKET = "C joining rows"
GUIDE = "Flask-SocketIO"
SOCKET_IO = {
    "path": "/socket.io/?EIO=4&transport=websocket",
    "first": "40",
    "sub": '42["subscribe",{"symbols":[%]}]',
    "synced": '42["subscription_confirmed"',
    "update": '42["stock_update"',
}


class Load(NamedTuple):
    """Clients, what they subscribe, and what happens in the market; `nap`: milliseconds between two looks at the wire."""

    clients: int
    hz: float
    ticks: int
    scrips: int = 5000
    per_client: int = 50
    nap: int = 0

    @property
    def sub(self) -> str:
        return f'{{"t":"sub","id":1,"symbols":[%],"hz":{self.hz:g}}}'

    @property
    def batch(self) -> int:
        """Ticks in one message of the bus."""
        most = BIG_BATCH if self.ticks > BIG_ABOVE else BATCH
        return min(max(round(self.ticks * BATCH_S), 1), most)

    @property
    def rows_due(self) -> float:
        """Rows per second that all clients together are owed without conflation."""
        return self.ticks * self.clients * self.per_client / self.scrips

    @property
    def sample(self) -> int:
        """Of so many frames one is read for stamps: the load generator must not be the limit."""
        return 1 if self.hz == 0 else 8


class Seen(NamedTuple):
    """One measurement."""

    result: StreamResult
    cpu: CpuTime

    def reading(self) -> Reading:
        """Return it as figures."""
        seen, frames = self.result, max(self.result.frames, 1)
        return {
            f"{PER_FRAME}|µs": self.cpu.used / frames / 1000,
            SHARE: self.cpu.used / seen.seconds / 1e7,
            WAITED: self.cpu.waited / seen.seconds / 1e7,
            "frames|/s": seen.frames / seen.seconds,
            "frame|bytes": seen.bytes / frames,
            "p50 publish → received|ms": seen.p50_ms,
            "p99 publish → received|ms": seen.p99_ms,
            "load generator's share of its core|%": 100 * seen.cpu_seconds / seen.seconds,
        }

    def delivered(self, load: Load) -> Reading:
        """Return how much arrived of what was due: every row at once, or a frame for every client at every flush.

        A gateway that falls behind sends fewer and larger frames; its share of a core is stated for all that were due.
        """
        seen, frames = self.result, max(self.result.frames, 1)
        if load.hz == 0:
            rows = seen.rows / max(seen.sampled, 1) * frames / seen.seconds
            return {"rows received of those due|%": 100 * rows / load.rows_due}
        due = load.clients * load.hz
        return {
            "frames received of those due|%": 100 * frames / seen.seconds / due,
            "share of a core for all frames due|%": self.cpu.used / frames * due / 1e7,
        }


def observe(
    server: Server, symbols: Path, load: Load, seconds: float, *, deaf: int = 0, texts: Mapping[str, str] = {}
) -> Seen:
    """Subscribe all clients to a server that runs, and measure."""
    with generator.stream(
        server.port,
        symbols,
        clients=load.clients,
        per_client=load.per_client,
        seconds=seconds,
        sample=load.sample,
        deaf=deaf,
        nap=load.nap,
        core=LOAD_CORE,
        **{"sub": load.sub, **texts},
    ) as clients:
        clients.wait_ready()
        time.sleep(SETTLE)
        meter = CpuMeter(server.pids)
        before = meter.read()
        clients.start()
        result = clients.finish()
        seen = Seen(result, meter.read().since(before))
    if result.gone or not result.frames:
        raise RuntimeError(
            f"{result.gone} of {load.clients} clients were closed ({result.closes}), {result.frames} frames"
        )
    return seen


class Streams:
    """Our gateway and what it is compared with, under one load; the baseline sends what ours sent in the same round."""

    def __init__(self, load: Load, plan: Plan, folder: Path) -> None:
        self._load = load
        self._plan = plan
        self._symbols = market.write_symbols(folder, load.scrips)
        self._sent: Seen | None = None

    def ours(self, **settings: object) -> Callable[[], Reading]:
        """Measure our gateway, with settings of its own."""

        def measure() -> Reading:
            load = self._load
            with gateway.running(scrips=load.scrips, ticks=load.ticks, batch=load.batch, **settings) as server:
                seen = observe(server, self._symbols, load, self._plan.seconds * 2)
            if not settings:
                self._sent = seen
            return seen.reading() | seen.delivered(load)

        return measure

    def c(self) -> Reading:
        """Measure the C loop, sending frames of the size and at the rate of ours."""
        load = self._load
        sent = self._sent.result if self._sent else None
        size = round(sent.bytes / max(sent.frames, 1)) if sent else 2000
        flushes = load.hz or load.ticks / load.batch
        frames = sent.frames / sent.seconds / flushes if sent else load.clients
        with servers.c_sender(load.clients, flushes, max(round(frames), 1), size) as server:
            return observe(server, self._symbols, load, self._plan.seconds * 2).reading()

    def c_market(self) -> Reading:
        """Measure the C loop that follows the feeder as ours does: it encodes changed rows and joins them for each client."""
        load = self._load
        with tempfile.TemporaryDirectory(prefix="bhavcast-") as folder:
            bus = Path(folder) / "bus"
            with (
                servers.feeder(socket=bus, scrips=load.scrips, ticks=load.ticks, batch=load.batch),
                servers.c_joiner(load.clients, load.hz, bus) as server,
            ):
                return observe(server, self._symbols, load, self._plan.seconds * 2).reading()

    def guide(self, share: float) -> Callable[[], Reading]:
        """Measure the guide's stack with a part of the clients: it cannot carry them all."""

        def measure() -> Reading:
            load = self._load._replace(clients=max(int(self._load.clients * share), 1))
            with servers.flask_socketio(self._symbols, load.ticks) as server:
                return observe(server, self._symbols, load, self._plan.seconds, texts=SOCKET_IO).reading()

        return measure


def stream_raw(plan: Plan) -> Outcome:
    """Every change at once (`hz: 0`): 1,000 clients × 50 of 5,000 scrips, 2,000 ticks/s."""
    outcome = Outcome("stream-raw")
    with tempfile.TemporaryDirectory(prefix="bhavcast-") as folder:
        streams = Streams(Load(plan.scaled(1000), hz=0, ticks=2000), plan, Path(folder))
        contenders = [
            Contender("bhavcast", streams.ours()),
            Contender(C, streams.c),
            Contender("bhavcast on asyncio's loop", streams.ours(loop="asyncio")),
            Contender(GUIDE, streams.guide(0.1)),
        ]
        alternate(outcome, contenders, plan)
    outcome.compare(PER_FRAME, "bhavcast", [C])
    outcome.compare(PER_FRAME, "bhavcast", [GUIDE], inverse=True)
    outcome.note(f"{GUIDE} was given a tenth of the clients and one room per scrip")
    return outcome


def stream_conflated(plan: Plan) -> Outcome:
    """Ten flushes a second: 5,000 clients × 50 of 5,000 scrips, 20,000 ticks/s."""
    outcome = Outcome("stream-conflated")
    with tempfile.TemporaryDirectory(prefix="bhavcast-") as folder:
        streams = Streams(Load(plan.scaled(5000), hz=10, ticks=20_000), plan, Path(folder))
        contenders = [
            Contender("bhavcast", streams.ours()),
            Contender(C, streams.c),
            Contender(C_MARKET, streams.c_market),
        ]
        alternate(outcome, contenders, plan)
    outcome.compare(PER_FRAME, "bhavcast", [C, C_MARKET])
    outcome.note("a value may wait for the whole flush period of 100 ms before it is sent")
    return outcome


def stream_slow(plan: Plan) -> Outcome:
    """500 clients at `hz: 0`, with and without five more that subscribe the whole market and never read."""
    outcome = Outcome("stream-slow")
    load = Load(plan.scaled(500), hz=0, ticks=2000)
    with tempfile.TemporaryDirectory(prefix="bhavcast-") as folder:
        symbols = market.write_symbols(Path(folder), load.scrips)

        def measure(deaf: int) -> Callable[[], Reading]:
            def turn() -> Reading:
                with gateway.running(scrips=load.scrips, ticks=load.ticks, batch=load.batch) as server:
                    before = resident_bytes(server.pids)
                    seen = observe(server, symbols, load, plan.seconds * 2, deaf=deaf)
                    grown = resident_bytes(server.pids) - before
                return seen.reading() | seen.delivered(load) | {"memory grown by|MiB": grown / 2**20}

            return turn

        contenders = [Contender(WITH_DEAF, measure(DEAF)), Contender(WITHOUT_DEAF, measure(0))]
        alternate(outcome, contenders, plan)
    outcome.compare("p99 publish → received", WITH_DEAF, [WITHOUT_DEAF])
    outcome.compare(PER_FRAME, WITH_DEAF, [WITHOUT_DEAF])
    outcome.note(
        "those that never read are closed after 10 s, in the middle of the measurement; until then they are passed over"
    )
    return outcome
