"""`sim`, `ingest`: what the one writer can take, on one core and without any client."""

import json
import sys
from collections.abc import Callable

from benchmarks import servers
from benchmarks.measure import LOAD_CORE, ROOT, Contender, Outcome, Plan, Reading, alternate
from bhavcast.load.cpu import CpuMeter

SIM_RATE = 20_000
PLAIN = "updating a dict"


def _drive(what: str, **options: object) -> dict[str, float]:
    """Run benchmarks.drive_writer on the server's core; return what it prints."""
    command = [sys.executable, "-m", "benchmarks.drive_writer", what, *(f"{k}={v}" for k, v in options.items())]
    with servers.process(command, folder=ROOT) as child:
        assert child.stdout
        said = child.stdout.read().splitlines()  # its log, then the result
        if child.wait() or not said:
            raise RuntimeError(f"{what} ended without a result")
    found: dict[str, float] = json.loads(said[-1])
    return found


def _ticks(what: str, **options: object) -> Callable[[], Reading]:
    def measure() -> Reading:
        found = _drive(what, **options)
        return {"CPU per tick|µs": found["cpu_seconds"] * 1e6 / found["ticks"]}

    return measure


def _ticks_to_redis(batch: int, seconds: float) -> Callable[[], Reading]:
    def measure() -> Reading:
        with servers.redis_server(LOAD_CORE) as redis:
            meter = CpuMeter(redis.pids)
            before = meter.read()
            found = _drive("ingest", seconds=seconds, batch=batch, bus=f"redis://127.0.0.1:{redis.port}")
            used = meter.read().since(before).used
        return {
            "CPU per tick|µs": found["cpu_seconds"] * 1e6 / found["ticks"],
            "CPU of Redis per tick|µs": used / 1000 / found["published"],
            "ticks per call|": found["published"] / found["calls"],
        }

    return measure


def sim(plan: Plan) -> Outcome:
    """The simulator with five levels of depth, as fast as it can; its share of a core follows from its cost per tick."""
    outcome = Outcome("sim")
    contenders = [Contender("sim", _ticks("sim", seconds=plan.seconds)), Contender(PLAIN, _ticks("plain", batch=20))]
    alternate(outcome, contenders, plan)
    if cost := outcome.find("sim: CPU per tick"):
        outcome.add("share of a core at 20,000 ticks/s", "%", [each * SIM_RATE / 1e4 for each in cost.rounds])
    outcome.compare("CPU per tick", "sim", [PLAIN])
    return outcome


def ingest(plan: Plan) -> Outcome:
    """Feed → guard → board → journal → bus on one core, from batches that the simulator made before."""
    outcome = Outcome("ingest")
    contenders = [
        Contender("batches of 20", _ticks("ingest", seconds=plan.seconds, batch=20)),
        Contender("batches of 100", _ticks("ingest", seconds=plan.seconds, batch=100)),
        Contender("batches of 20, Redis", _ticks_to_redis(20, plan.seconds)),
        Contender("batches of 100, Redis", _ticks_to_redis(100, plan.seconds)),
        Contender(PLAIN, _ticks("plain", batch=20)),
    ]
    alternate(outcome, contenders, plan)
    for batches in ("batches of 20", "batches of 100", "batches of 20, Redis", "batches of 100, Redis"):
        if cost := outcome.find(f"{batches}: CPU per tick"):
            outcome.add(f"ticks/s on one core, {batches}", "/s", [1e6 / each for each in cost.rounds])
        outcome.compare("CPU per tick", batches, [PLAIN])
    return outcome
