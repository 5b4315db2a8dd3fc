"""`hostile`: what the readers of a service at work notice of one who attacks, for every kind of attack.

The work is that of `http-under-stream`: 3,000 clients follow 50 scrips each, and others ask for quotes. Each attack has a fresh gateway; the readers are
measured without it, under it, under it, without it, so that a machine that gets slower or quicker counts for both.
"""

import contextlib
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from benchmarks import gateway, market, servers
from benchmarks.attacks import ATTACKS, EXPIRED, Attack
from benchmarks.measure import LOAD_CORE, ROOT, SHARE, WAITED, Contender, Outcome, Plan, Reading, alternate
from benchmarks.rest import RATE, SINGLE
from benchmarks.servers import Server
from benchmarks.streams import SETTLE, Load
from benchmarks.targets import HTTP_UNDER, STREAMS_UNDER
from bhavcast.load import generator
from bhavcast.load.cpu import CpuMeter, resident_bytes

ASKING: Final = 16  # connections for them
STEADY_S: Final = 11.0  # until those that are sent away after ten seconds are
SOCKETS_LEFT: Final = 200  # places that the readers leave free
ORDER: Final = (False, True, True, False)  # under attack or not


class Noticed(NamedTuple):
    """What the readers saw for some seconds."""

    streams_ms: float
    http_ms: float
    used: float  # of a core, in per cent
    waited: float
    memory: int


def observe(
    server: Server, symbols: Path, load: Load, seconds: float, meanwhile: AbstractContextManager[None]
) -> Noticed:
    """Let the readers come, then the attacker, and measure what the readers see."""
    with (
        generator.stream(
            server.port,
            symbols,
            clients=load.clients,
            per_client=load.per_client,
            seconds=seconds,
            sample=load.sample,
            core=LOAD_CORE,
            sub=load.sub,
        ) as streams,
        generator.http(server.port, SINGLE, connections=ASKING, seconds=seconds, rate=RATE, core=LOAD_CORE) as asking,
    ):
        streams.wait_ready()
        asking.wait_ready()
        with meanwhile:
            time.sleep(SETTLE)
            meter = CpuMeter(server.pids)
            before = meter.read()
            streams.start()
            asking.start()
            seen, answers = streams.finish(), asking.finish()
            cpu = meter.read().since(before)
            memory = resident_bytes(server.pids)
    if seen.gone or answers.failures:
        raise RuntimeError(f"{seen.gone} streams were closed ({seen.closes}), {answers.failures} requests failed")
    return Noticed(seen.p99_ms, answers.p99_ms, cpu.used / seconds / 1e7, cpu.waited / seconds / 1e7, memory)


@contextlib.contextmanager
def under(kind: str, attack: Attack, server: Server, got: Counter[str]) -> Iterator[None]:
    """Attack a server meanwhile, and add up what the attacker got."""
    command = [sys.executable, "-m", "benchmarks.attacks", f"attack={kind}", f"port={server.port}"]
    with servers.process(command, core=LOAD_CORE, folder=ROOT) as child:
        assert child.stdin
        assert child.stdout
        child.stdout.readline()
        time.sleep(STEADY_S if attack.lasting else 0)
        yield
        child.stdin.close()
        got.update(msgspec.json.decode(child.stdout.readline(), type=dict[str, int]))


def hostile(plan: Plan) -> Outcome:
    """3,000 streams and 200 requests a second, without and under each attack."""
    outcome = Outcome("hostile")
    load = Load(plan.scaled(3000), hz=10, ticks=10_000)
    got: dict[str, Counter[str]] = {kind: Counter() for kind in ATTACKS}
    with tempfile.TemporaryDirectory(prefix="bhavcast-") as folder:
        symbols = market.write_symbols(Path(folder), load.scrips)

        def measure(kind: str, attack: Attack) -> Callable[[], Reading]:
            def turn() -> Reading:
                seen: dict[bool, list[Noticed]] = {False: [], True: []}
                settings = {"sockets": load.clients + ASKING + SOCKETS_LEFT, "expired": EXPIRED}
                with gateway.running(scrips=load.scrips, ticks=load.ticks, batch=load.batch, **settings) as server:
                    for attacked in ORDER:
                        meanwhile = under(kind, attack, server, got[kind]) if attacked else contextlib.nullcontext()
                        seen[attacked].append(observe(server, symbols, load, plan.seconds, meanwhile))
                return _reading(seen)

            return turn

        alternate(outcome, [Contender(kind, measure(kind, attack)) for kind, attack in ATTACKS.items()], plan)
    for kind, answers in got.items():
        told = ", ".join(f"{what} ({count})" for what, count in answers.most_common(4))
        outcome.note(f"{kind}: {ATTACKS[kind].rate:g} a second, at most {ATTACKS[kind].at_once} at once, got {told}")
    outcome.note("`nobody` attacks nothing: so far apart are two measurements of the same")
    return outcome


def _reading(seen: dict[bool, list[Noticed]]) -> Reading:
    def mean(attacked: bool, what: Callable[[Noticed], float]) -> float:
        return statistics.fmean(what(each) for each in seen[attacked])

    streams = [mean(attacked, lambda each: each.streams_ms) for attacked in (False, True)]
    http = [mean(attacked, lambda each: each.http_ms) for attacked in (False, True)]
    return {
        f"{STREAMS_UNDER}|×": streams[1] / streams[0],
        f"{HTTP_UNDER}|×": http[1] / http[0],
        "p99 of streams, without|ms": streams[0],
        "p99 of streams, under it|ms": streams[1],
        "p99 of HTTP, without|ms": http[0],
        "p99 of HTTP, under it|ms": http[1],
        "memory before|MiB": seen[False][0].memory / 2**20,
        "memory under it|MiB": max(each.memory for each in seen[True]) / 2**20,
        "memory after|MiB": seen[False][-1].memory / 2**20,
        SHARE: mean(True, lambda each: each.used),
        "share of a core, without|%": mean(False, lambda each: each.used),
        WAITED: max(each.waited for both in seen.values() for each in both),
    }
