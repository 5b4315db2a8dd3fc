"""`path`: from a publish over Redis and a gateway to a client, while the market goes on behind it; whole and hop by hop."""

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchmarks import hops, market, servers
from benchmarks.gateway import DRIVER
from benchmarks.measure import LOAD_CORE, ROOT, Contender, Outcome, Plan, Reading, alternate
from benchmarks.streams import SETTLE, Load, Seen
from bhavcast.load import generator
from bhavcast.load.cpu import CpuMeter
from bhavcast.load.generator import StreamResult

SCRIPS = 5000
OF_WRITER = '"volume":'  # where a row says when it was published …
OF_GATEWAY = '"trades":'  # … and when the gateway heard of it


def _over_redis(clients: int, plan: Plan) -> Callable[[], Reading]:
    """Measure with a writer, Redis and clients on the load's core, and the gateway on the server's.

    As many clients again read the gateway's stamps, not the writer's: theirs is the last hop.
    """
    load = Load(clients, hz=0, ticks=5000)

    def measure() -> Reading:
        with contextlib.ExitStack() as running:
            folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="bhavcast-")))
            symbols = market.write_symbols(folder, SCRIPS)
            redis = running.enter_context(servers.redis_server(LOAD_CORE))
            url = f"redis://127.0.0.1:{redis.port}"
            options = {"bus": url, "scrips": SCRIPS, "ticks": load.ticks, "batch": load.batch}
            command = [
                sys.executable,
                "-m",
                "benchmarks.drive_bus",
                *(f"{key}={value}" for key, value in options.items()),
            ]
            writer = running.enter_context(servers.process(command, core=LOAD_CORE, folder=ROOT))
            port = servers.free_port()
            command = [sys.executable, "-m", DRIVER, f"bus={url}", f"port={port}", "hops=True"]
            gateway = running.enter_context(servers.process(command, folder=ROOT))
            servers.wait_listening(gateway, port)

            def some(stamp: str) -> generator.Generator[StreamResult]:
                seconds, core = plan.seconds * 2, LOAD_CORE
                return running.enter_context(
                    generator.stream(
                        port, symbols, clients=clients, seconds=seconds, core=core, sub=load.sub, stamp=stamp
                    )
                )

            both = some(OF_WRITER), some(OF_GATEWAY)
            for each in both:
                each.wait_ready()
            time.sleep(SETTLE)
            meters = CpuMeter([gateway.pid]), CpuMeter(redis.pids)
            before = [meter.read() for meter in meters]
            began = time.monotonic_ns() // 1000
            for each in both:
                each.start()
            whole, last = (each.finish() for each in both)
            used, of_redis = (meter.read().since(first) for meter, first in zip(meters, before, strict=True))
            ended = time.monotonic_ns() // 1000
            heard = {pair[0]: pair[1] for pair in hops.ask(gateway)}
            said = [each for each in hops.ask(writer) if began <= each[1] < ended and each[0] in heard]
        if whole.gone or last.gone or not said:
            raise RuntimeError(f"{whole.gone + last.gone} clients were closed, {len(said)} messages passed")
        everyone = msgspec.structs.replace(whole, frames=whole.frames + last.frames, bytes=whole.bytes + last.bytes)
        return {
            **Seen(everyone, used).reading(),
            **hops.spread((held - sent for _, sent, held in said), "feed → bus"),
            **hops.spread((heard[rev] - held for rev, _, held in said), "bus → gateway"),
            "p50 gateway → client|ms": last.p50_ms,
            "p99 gateway → client|ms": last.p99_ms,
            "Redis's share of its core|%": of_redis.used / whole.seconds / 1e7,
        }

    return measure


def path(plan: Plan) -> Outcome:
    """Every change at once to one client, and to many, at 5,000 ticks/s of 5,000 scrips."""
    outcome = Outcome("path")
    many = plan.scaled(200)
    contenders = [
        Contender("one client", _over_redis(1, plan)),
        Contender(f"{many} clients", _over_redis(many, plan)),
    ]
    alternate(outcome, contenders, plan)
    outcome.note("the writer, Redis and the clients share one core, the gateway has the other")
    outcome.note(
        "as many clients again are there for the last hop; frames and CPU are of both, received is of the first"
    )
    outcome.note("feed → bus ends when Redis has said that it has the message; a gateway may hear of it before that")
    return outcome
