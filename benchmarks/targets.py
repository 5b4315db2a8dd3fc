"""What each scenario must reach, and what we aim at: the one table that verdicts are made from."""

from typing import Final, Literal, NamedTuple

from benchmarks.attacks import ATTACKS


class Target(NamedTuple):
    """A bound on one figure of a scenario: at most, or at least, `must`; better still `goal`."""

    scenario: str
    figure: str
    bound: Literal["at most", "at least"]
    must: float
    goal: float | None = None


PER_REQUEST: Final = "CPU per request"
PER_FRAME: Final = "CPU per frame"
STREAMS_UNDER: Final = "p99 of streams, under it ÷ without"
HTTP_UNDER: Final = "p99 of HTTP, under it ÷ without"

TARGETS: Final = (
    Target("http-single", f"bhavcast ÷ nginx return 200, {PER_REQUEST}", "at most", 1.4, 1.1),
    Target("http-single", f"Flask + Redis ÷ bhavcast, {PER_REQUEST}", "at least", 25),
    Target("http-batch", f"bhavcast ÷ nginx static file, {PER_REQUEST}", "at most", 2.5, 1.3),
    Target("stream-raw", f"bhavcast ÷ C send loop, {PER_FRAME}", "at most", 2.0, 1.3),
    Target("stream-raw", "bhavcast: p50 publish → received", "at most", 1.0),
    Target("stream-raw", "bhavcast: p99 publish → received", "at most", 10.0),
    Target("stream-conflated", "bhavcast: share of a core for all frames due", "at most", 95, 60),
    Target("stream-conflated", f"bhavcast ÷ C send loop, {PER_FRAME}", "at most", 2.0),
    # The flush is every 100 ms; a value may wait for the whole of it.
    Target("stream-conflated", "bhavcast: p99 publish → received", "at most", 150),
    Target("http-under-stream", "under stream: HTTP p99", "at most", 5.0, 2.0),
    Target("stream-slow", "with five that never read ÷ without them, p99 publish → received", "at most", 1.1),
    *(
        Target("hostile", f"{kind}: {figure}", "at most", 1.1)
        for kind in ATTACKS
        for figure in (STREAMS_UNDER, HTTP_UNDER)
    ),
    Target("sim", "share of a core at 20,000 ticks/s", "at most", 60, 24),
    Target("ingest", "ticks/s on one core, batches of 20", "at least", 60_000, 150_000),
    Target("ingest", "ticks/s on one core, batches of 100, Redis", "at least", 40_000, 90_000),
    Target("path", "one client: p50 publish → received", "at most", 2.0, 0.5),
    Target("path", "one client: p99 publish → received", "at most", 15.0),
    Target("memory", "per client", "at most", 48, 15),
    Target("memory", "gateway with all clients", "at most", 350),
    Target("start", "first quote", "at most", 3.0, 1.0),
    Target("start", "same board after kill -9", "at most", 3.0, 1.0),
    Target("growth", "worst ratio to C ÷ that at the first point", "at most", 1.25, 1.0),
)


def verdict(target: Target, value: float | None) -> str:
    """Return `goal`, `pass`, `FAIL` or `not measured`."""
    if value is None:
        return "not measured"

    def reaches(bound: float) -> bool:
        return value <= bound if target.bound == "at most" else value >= bound

    if target.goal is not None and reaches(target.goal):
        return "goal"
    return "pass" if reaches(target.must) else "FAIL"
