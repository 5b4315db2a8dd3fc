"""`growth`: whether the ratio to C stays as it is when clients, scrips or ticks grow. Runs apart: it takes long.

The C of this comparison hears every tick from the same feeder, writes the changed rows and joins every client's, so that its
work grows as ours does; against a loop that sends the same bytes to everyone, every tick more would look like bad growth.
"""

import tempfile
from pathlib import Path

from benchmarks.measure import Contender, Outcome, Plan, alternate
from benchmarks.streams import C_MARKET, Load, Streams
from benchmarks.targets import PER_FRAME

# Readers that nap. One that waits has to be woken by who sends: measured, a third of what C pays for a frame of 470 bytes, and a
# tenth of one of 9 KB. That is the kernel's, and differs with how quick the reader is.
BASE = Load(clients=2000, hz=10, ticks=5000, nap=2)
POINTS: dict[str, tuple[Load, ...]] = {
    "clients": tuple(BASE._replace(clients=clients) for clients in (100, 500, 1000, 2000, 5000)),
    "scrips": tuple(BASE._replace(scrips=scrips) for scrips in (500, 2000, 5000, 20_000)),
    "ticks": tuple(BASE._replace(ticks=ticks) for ticks in (1000, 5000, 20_000, 50_000)),
}


def growth(plan: Plan) -> Outcome:
    """Grow one of the three at a time."""
    outcome, worst = Outcome("growth"), [0.0] * plan.rounds
    for axis, loads in POINTS.items():
        first: list[float] = []
        for point in loads:
            load = point._replace(clients=plan.scaled(point.clients))
            ratios = _ratios(load, plan, f"{getattr(load, axis):,} {axis}", outcome)
            first = first or ratios
            worst = [max(seen, now / then) for seen, now, then in zip(worst, ratios, first, strict=True)]
    outcome.add("worst ratio to C ÷ that at the first point", "×", worst)
    outcome.note(
        f"otherwise {BASE.clients:,} clients × 50 of {BASE.scrips:,} scrips, {BASE.ticks:,} ticks/s, {BASE.hz:g} Hz"
    )
    return outcome


def _ratios(load: Load, plan: Plan, point: str, outcome: Outcome) -> list[float]:
    plan.log(f" {point}")
    with tempfile.TemporaryDirectory(prefix="bhavcast-") as folder:
        streams, here = Streams(load, plan, Path(folder)), Outcome("growth")
        alternate(here, [Contender("bhavcast", streams.ours()), Contender(C_MARKET, streams.c_market)], plan)
    ours, theirs = here.find(f"bhavcast: {PER_FRAME}"), here.find(f"{C_MARKET}: {PER_FRAME}")
    if ours is None or theirs is None:
        raise RuntimeError("growth needs a C compiler")
    ratios = [mine / its for mine, its in zip(ours.rounds, theirs.rounds, strict=True)]
    outcome.add(f"{point}: {PER_FRAME}", "µs", ours.rounds)
    outcome.add(f"{point}: bhavcast ÷ {C_MARKET}", "×", ratios)
    return ratios
