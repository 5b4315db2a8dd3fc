"""`http-single`, `http-batch`: CPU time of one answered request, against nginx, C and the guide's stack."""

import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from benchmarks import gateway, market, servers
from benchmarks.measure import LOAD_CORE, SHARE, WAITED, Contender, Outcome, Plan, Reading, alternate
from benchmarks.servers import Answer, Server
from benchmarks.streams import SETTLE, Load
from benchmarks.targets import PER_REQUEST
from bhavcast.load import generator
from bhavcast.load.cpu import CpuMeter, CpuTime
from bhavcast.load.generator import HttpResult

CONNECTIONS = 64
RATE = 200  # requests a second beside streams
WARM_UP = 1.0  # seconds of load before the measurement
ANSWER = "/answer"
SINGLE = f"/api/stock/{market.HOT}"
BATCH = "/api/stocks/batch?symbols=" + ",".join(each.symbol for each in market.instruments(50))
C = "C epoll loop"
GUIDE = "Flask + Redis"


def _asked(
    server: Server, path: str, *, connections: int, seconds: float, rate: float = 0.0, warm_up: float = 0.0
) -> tuple[HttpResult, CpuTime]:
    """Load one path of a server that runs; return what came, and what it cost the server."""
    with generator.http(
        server.port, path, connections=connections, seconds=seconds, rate=rate, core=LOAD_CORE
    ) as asking:
        asking.wait_ready()
        time.sleep(warm_up)
        meter = CpuMeter(server.pids)
        before = meter.read()
        asking.start()
        result = asking.finish()
        cpu = meter.read().since(before)
    if result.failures:
        raise RuntimeError(f"{result.failures} of {result.requests} answers were errors")
    return result, cpu


def observe(server: Server, path: str, seconds: float) -> Reading:
    """Load one path of a server that runs, and measure."""
    result, cpu = _asked(server, path, connections=CONNECTIONS, seconds=seconds, warm_up=WARM_UP)
    return {
        f"{PER_REQUEST}|µs": cpu.used / max(result.requests, 1) / 1000,
        "requests|/s": result.requests / result.seconds,
        "answer|bytes": result.bytes / max(result.requests, 1),
        SHARE: cpu.used / result.seconds / 1e7,
        WAITED: cpu.waited / result.seconds / 1e7,
        "p99|ms": result.p99_ms,
        "load generator's share of its core|%": 100 * result.cpu_seconds / result.seconds,
    }


def _against(name: str, path: str, baseline: str, plan: Plan, *, static: bool) -> Outcome:
    outcome = Outcome(name)
    with gateway.running(ticks=0) as server:
        answer = servers.fetch(server.port, path)
        # The guide's stack holds the same quotes; its answers are made from them.
        quotes = servers.fetch(server.port, BATCH).body
    if answer.status != 200:
        raise RuntimeError(f"{path} was answered with {answer.status}: {answer.body[:200]!r}")

    def turn(path: str, start: Callable[[], AbstractContextManager[Server]]) -> Callable[[], Reading]:
        def measure() -> Reading:
            with start() as server:
                return observe(server, path, plan.seconds)

        return measure

    contenders = [
        Contender("bhavcast", turn(path, lambda: gateway.running(ticks=0))),
        Contender(baseline, turn(ANSWER, lambda: servers.nginx(_whole(answer), static=static))),
        Contender(C, turn(path, lambda: servers.c_responder(answer))),
        Contender("bhavcast without its hook", turn(path, lambda: gateway.running(ticks=0, hot_path=False))),
        Contender("bhavcast on asyncio's loop", turn(path, lambda: gateway.running(ticks=0, loop="asyncio"))),
        Contender(GUIDE, turn(path, lambda: servers.flask_redis(quotes))),
    ]
    alternate(outcome, contenders, plan)
    outcome.compare(PER_REQUEST, "bhavcast", [baseline, C])
    outcome.compare(PER_REQUEST, "bhavcast", [GUIDE], inverse=True)
    outcome.note(f"{CONNECTIONS} keep-alive connections; the answer has {len(answer.body)} bytes in its body")
    return outcome


def _whole(answer: Answer) -> Answer:
    if any(name.lower() == "content-encoding" for name, _ in answer.headers):
        raise RuntimeError("expected an answer that is not compressed")
    return answer


def http_single(plan: Plan) -> Outcome:
    """One hot quote."""
    return _against("http-single", SINGLE, "nginx return 200", plan, static=False)


def http_batch(plan: Plan) -> Outcome:
    """Fifty quotes."""
    return _against("http-batch", BATCH, "nginx static file", plan, static=True)


def http_under_stream(plan: Plan) -> Outcome:
    """200 requests a second while 3,000 clients × 50 of 5,000 scrips are flushed at 10 Hz, 10,000 ticks/s."""
    outcome = Outcome("http-under-stream")
    load = Load(plan.scaled(3000), hz=10, ticks=10_000)
    with tempfile.TemporaryDirectory(prefix="bhavcast-") as folder:
        symbols = market.write_symbols(Path(folder), load.scrips)

        def ask(server: Server) -> Reading:
            result, cpu = _asked(server, SINGLE, connections=16, seconds=plan.seconds * 2, rate=RATE)
            return {
                "HTTP p50|ms": result.p50_ms,
                "HTTP p99|ms": result.p99_ms,
                "HTTP longest|ms": result.max_ms,
                "requests|/s": result.requests / result.seconds,
                SHARE: cpu.used / result.seconds / 1e7,
                WAITED: cpu.waited / result.seconds / 1e7,
            }

        def alone() -> Reading:
            with gateway.running(scrips=load.scrips, ticks=load.ticks, batch=load.batch) as server:
                return ask(server)

        def under_stream() -> Reading:
            with (
                gateway.running(scrips=load.scrips, ticks=load.ticks, batch=load.batch) as server,
                generator.stream(
                    server.port, symbols, clients=load.clients, sample=load.sample, core=LOAD_CORE, sub=load.sub
                ) as clients,
            ):
                clients.wait_ready()
                time.sleep(SETTLE)
                return ask(server)

        alternate(outcome, [Contender("under stream", under_stream), Contender("alone", alone)], plan)
    outcome.note(f"{RATE} requests a second; their time counts from when they were due")
    return outcome
