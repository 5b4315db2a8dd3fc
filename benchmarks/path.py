"""`path`: from a publish over Redis and a gateway to a client, while the market goes on behind it."""

import contextlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import market, servers
from benchmarks.gateway import DRIVER
from benchmarks.measure import LOAD_CORE, ROOT, Contender, Outcome, Plan, Reading, alternate
from benchmarks.servers import Server
from benchmarks.streams import Load, observe
from bhavcast.load.cpu import CpuMeter

SCRIPS = 5000


def _over_redis(clients: int, plan: Plan) -> Callable[[], Reading]:
    """Measure with a writer, Redis and clients on the load's core, and the gateway on the server's."""
    load = Load(clients, hz=0, ticks=5000)

    def measure() -> Reading:
        with contextlib.ExitStack() as running:
            folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="bhavcast-")))
            redis = running.enter_context(servers.redis_server(LOAD_CORE))
            url = f"redis://127.0.0.1:{redis.port}"
            options = {"bus": url, "scrips": SCRIPS, "ticks": load.ticks, "batch": load.batch}
            writer = [
                sys.executable,
                "-m",
                "benchmarks.drive_bus",
                *(f"{key}={value}" for key, value in options.items()),
            ]
            running.enter_context(servers.process(writer, core=LOAD_CORE, folder=ROOT))
            port = servers.free_port()
            command = [sys.executable, "-m", DRIVER, f"bus={url}", f"port={port}"]
            gateway = running.enter_context(servers.process(command, folder=ROOT))
            servers.wait_listening(gateway, port)
            meter = CpuMeter(redis.pids)
            before = meter.read()
            seen = observe(Server(port, (gateway.pid,)), market.write_symbols(folder, SCRIPS), load, plan.seconds * 2)
            used = meter.read().since(before).used
        return seen.reading() | {"Redis's share of its core|%": used / seen.result.seconds / 1e7}

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
    return outcome
