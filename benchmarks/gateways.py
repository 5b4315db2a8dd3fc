"""`gateways`: what a delivered frame costs when its clients are spread over more gateways, and what each more costs the others.

Everything here is the product: an ingest with its simulator and journal, Redis, and gateways on ports of their own.
"""

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import servers
from benchmarks.measure import LOAD_CORE, SERVER_CORE, Contender, Outcome, Plan, Reading, alternate
from benchmarks.servers import Server
from benchmarks.streams import SETTLE
from benchmarks.targets import PER_FRAME
from bhavcast.load import generator
from bhavcast.load.cpu import CpuMeter
from bhavcast.reference.builtin import universe

SCRIPS = 5000
TICKS = 5000
CLIENTS = 5000
HZ = 10
MOST = 3
# Nobody is refused, and nobody is asked less: keys, counters and limits are on, only out of reach.
SETTINGS = {
    "BHAVCAST_LIMITS_CONNECTIONS_PER_ADDRESS": "100000",
    "BHAVCAST_JOURNAL_KEEP_DAYS": "1",
    "BHAVCAST_LOG_LEVEL": "warning",
}
EVERYTHING = "all processes"
IDLE = "1 gateway, nobody there"  # what following the bus costs by itself


@contextlib.contextmanager
def _role(kind: str, folder: Path, core: int, redis: Server, *flags: str) -> Iterator[int]:
    """Run one role on a data folder of its own; yield its process."""
    folder.mkdir()
    command: list[str | Path] = [Path(sys.executable).with_name("bhavcast"), "serve", kind, "--data", folder, *flags]
    environment = SETTINGS | {"BHAVCAST_BUS_KIND": "redis", "BHAVCAST_BUS_URL": f"redis://127.0.0.1:{redis.port}"}
    with servers.process(command, core=core, environment=environment, folder=folder) as child:
        yield child.pid


def _wait_quote(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if servers.fetch(port, "/api/stock/500325").status == 200:
                return
        time.sleep(0.02)
    raise RuntimeError("a gateway has no quote after 30 s")


def _over(count: int, plan: Plan, *, clients: int) -> Callable[[], Reading]:
    """Measure with so many gateways, all on the server's core; the others share the load's."""
    each = clients // count

    def measure() -> Reading:
        with contextlib.ExitStack() as running:
            home = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="bhavcast-")))
            symbols = home / "symbols"
            symbols.write_text("".join(f"{symbol}\n" for symbol in universe(SCRIPS).instruments))
            redis = running.enter_context(servers.redis_server(LOAD_CORE))
            flags = ("--scrips", str(SCRIPS), "--rate", str(TICKS), "--at", "10:30:00")
            pids = {"ingest": running.enter_context(_role("ingest", home / "ingest", LOAD_CORE, redis, *flags))}
            pids["Redis"] = redis.pids[0]
            ports = []
            for number in range(1, count + 1):
                port = servers.free_port()
                gateway = _role("gateway", home / f"gateway-{number}", SERVER_CORE, redis, "--port", str(port))
                pids[f"gateway {number}"] = running.enter_context(gateway)
                ports.append(port)
            for port in ports:
                _wait_quote(port)
            sub = f'{{"t":"sub","id":1,"symbols":[%],"hz":{HZ}}}'
            loads = [
                running.enter_context(
                    generator.stream(
                        port, symbols, clients=each, seconds=plan.seconds * 2, sample=1000, core=LOAD_CORE, sub=sub
                    )
                )
                for port in ports
                if each
            ]
            for load in loads:
                load.wait_ready()
            time.sleep(SETTLE)
            meters = {name: CpuMeter([pid]) for name, pid in pids.items()}
            before = {name: meter.read() for name, meter in meters.items()}
            began = time.monotonic_ns()
            for load in loads:
                load.start()
            if not loads:
                time.sleep(plan.seconds * 2)
            results = [load.finish() for load in loads]
            seconds = (time.monotonic_ns() - began) / 1e9
            used = {name: meter.read().since(before[name]).used for name, meter in meters.items()}
        if gone := sum(result.gone for result in results):
            raise RuntimeError(f"{gone} clients were closed")
        shares = {f"share of a core, {name}|%": cpu / seconds / 1e7 for name, cpu in used.items()}
        if not results:
            return {**shares, "CPU of the gateway per tick|µs": used["gateway 1"] / seconds / TICKS / 1000}
        frames = max(sum(result.frames for result in results), 1)
        gateways = sum(cpu for name, cpu in used.items() if name.startswith("gateway"))
        due = each * count * HZ * seconds
        return {
            f"{PER_FRAME}|µs": gateways / frames / 1000,
            f"{PER_FRAME}, {EVERYTHING}|µs": sum(used.values()) / frames / 1000,
            **shares,
            "frames received of those due|%": 100 * frames / due,
            "load generators' share of their core|%": 100 * sum(result.cpu_seconds for result in results) / seconds,
        }

    return measure


def gateways(plan: Plan) -> Outcome:
    """The same clients on one, two and three gateways: 3,000 × 50 of 5,000 scrips, 5,000 ticks/s, ten flushes a second."""
    outcome = Outcome("gateways")
    names = {count: f"{count} gateway{'s' if count > 1 else ''}" for count in range(1, MOST + 1)}
    clients = plan.scaled(CLIENTS)
    contenders = [Contender(name, _over(count, plan, clients=clients)) for count, name in names.items()]
    alternate(outcome, [*contenders, Contender(IDLE, _over(1, plan, clients=0))], plan)
    one = names[1]
    for count in range(2, MOST + 1):
        outcome.compare(PER_FRAME, names[count], [one])
        outcome.compare(f"{PER_FRAME}, {EVERYTHING}", names[count], [one])
    for process in ("ingest", "Redis"):
        few, many = (outcome.find(f"{names[count]}: share of a core, {process}") for count in (1, MOST))
        if few and many:
            more = [(late - early) / (MOST - 1) for early, late in zip(few.rounds, many.rounds, strict=True)]
            outcome.add(f"each further gateway, of {process}", "% of a core", more)
    outcome.note("the gateways share one core; ingest with its simulator, Redis and the clients have the other")
    return outcome
