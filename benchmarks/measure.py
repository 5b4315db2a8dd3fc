"""How everything here is measured: alternating rounds, medians, spread, ratios to a baseline of the same run.

Absolute times on shared machines drift by a factor of two to four from one minute to the next. A ratio between two servers
that took turns within seconds does not. So each round lets every contender have its turn, ratios are formed within a
round, and the median of the rounds is what counts.
"""

import datetime
import os
import platform
import resource
import statistics
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from benchmarks.targets import TARGETS, Target, verdict

ROOT: Final = Path(__file__).parent.parent
RESULTS: Final = Path(__file__).parent / "results"
SERVER_CORE: Final = 0
LOAD_CORE: Final = 1
METHOD: Final = (
    "server pinned to core 0, load to core 1; contenders alternate in every round; CPU time of all threads and children from "
    "/proc/<pid>/task/*/schedstat; ratios within a round; median of the rounds; spread = (highest - lowest) / median"
)
WAITED: Final = "waited for the core|%"  # time in which something else ran on the server's core: not zero, not alone
SHARE: Final = "share of a core|%"
BUSY: Final = 20.0
PACKAGES: Final = ("bhavcast", "uvicorn", "uvloop", "httptools", "websockets", "msgspec", "litestar")


class Plan(NamedTuple):
    """How much is measured: rounds, seconds of one measurement, and a part of the load where a run must be quick."""

    rounds: int = 3
    seconds: float = 5.0
    scale: float = 1.0
    log: Callable[[str], None] = print

    def scaled(self, count: int) -> int:
        """Return a count of clients under this plan."""
        return max(int(count * self.scale), 10)


class Figure(msgspec.Struct):
    """One number that was measured, in every round."""

    name: str
    unit: str
    rounds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def spread(self) -> float:
        """The distance between the highest and the lowest round, as a part of the median."""
        return (max(self.rounds) - min(self.rounds)) / self.median if self.median else 0.0


Reading = dict[str, float]  # "name|unit" → value, of one contender in one round


class Contender(NamedTuple):
    """Something that has its turn in every round; `measure` starts it, loads it, stops it."""

    name: str
    measure: Callable[[], Reading]


class NotMeasuredError(Exception):
    """Something that this machine lacks; the text says what."""


class Outcome(msgspec.Struct):
    """What a scenario found."""

    scenario: str
    figures: list[Figure] = []
    notes: list[str] = []

    def find(self, name: str) -> Figure | None:
        return next((figure for figure in self.figures if figure.name == name), None)

    def add(self, name: str, unit: str, rounds: Sequence[float]) -> None:
        self.figures.append(Figure(name, unit, list(rounds)))

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def compare(self, figure: str, contender: str, baselines: Sequence[str], *, inverse: bool = False) -> None:
        """Add the ratio of one figure to that of each baseline, formed within each round."""
        ours = self.find(f"{contender}: {figure}")
        for baseline in baselines:
            theirs = self.find(f"{baseline}: {figure}")
            if ours and theirs:
                pairs = zip(ours.rounds, theirs.rounds, strict=True)
                ratios = [theirs / ours if inverse else ours / theirs for ours, theirs in pairs]
                name = f"{baseline} ÷ {contender}" if inverse else f"{contender} ÷ {baseline}"
                self.add(f"{name}, {figure}", "×", ratios)


def alternate(outcome: Outcome, contenders: Sequence[Contender], plan: Plan) -> None:
    """Let all contenders take turns; one that cannot run on this machine is noted and left out."""
    readings: dict[str, list[Reading]] = {contender.name: [] for contender in contenders}
    absent: set[str] = set()
    for number in range(plan.rounds):
        for name, measure in contenders:
            if name in absent:
                continue
            try:
                reading = measure()
            except NotMeasuredError as reason:
                absent.add(name)
                outcome.note(f"{name}: not measured, {reason}")
                continue
            readings[name].append(reading)
            title = f"{name}: " if name else ""
            shown = ", ".join(f"{key.split('|')[0]} {value:.4g} {key.split('|')[1]}" for key, value in reading.items())
            plan.log(f"  round {number + 1} {title}{shown}")
    busy = max((_kept_waiting(reading) for rounds in readings.values() for reading in rounds), default=0.0)
    if busy > BUSY:
        outcome.note(
            f"the machine was busy with other work: a server had to wait up to {busy:.0f} % of the time for its core; "
            "latencies and rates do not stand, nor does a conflated stream, whose frames grow when they are late"
        )
    for name, rounds in readings.items():
        for key in rounds[0] if rounds else ():
            figure, unit = key.split("|")
            outcome.add(f"{name}: {figure}" if name else figure, unit, [reading[key] for reading in rounds])


def _kept_waiting(reading: Reading) -> float:
    """Return for how much of the time something foreign had the core; threads of the server also wait for each other."""
    return min(reading.get(WAITED, 0.0), 100 - reading.get(SHARE, 0.0))


def raise_file_limit() -> int:
    """Allow as many open files as the system lets us have, for us and all that we start; return how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def machine() -> dict[str, object]:
    """Return what the figures were measured on."""
    models = {
        line.split(":")[1].strip() for line in _read("/proc/cpuinfo").splitlines() if line.startswith("model name")
    }
    load = os.getloadavg()[0]
    return {
        "processor": ", ".join(sorted(models)) or platform.processor(),
        "cores": os.cpu_count(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": round(load, 2),
    }


def versions() -> dict[str, str]:
    """Return the versions that were measured."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


class Judged(NamedTuple):
    """One line of the table."""

    figure: str
    unit: str
    median: float | None
    spread: float | None
    target: Target | None
    verdict: str


def judge(outcome: Outcome) -> list[Judged]:
    """Put every target of a scenario beside its figure, and the figures without a target after them."""
    targets = [target for target in TARGETS if target.scenario == outcome.scenario]
    lines = []
    for target in targets:
        figure = outcome.find(target.figure)
        median, spread = (figure.median, figure.spread) if figure else (None, None)
        lines.append(
            Judged(target.figure, figure.unit if figure else "", median, spread, target, verdict(target, median))
        )
    named = {target.figure for target in targets}
    lines.extend(
        Judged(figure.name, figure.unit, figure.median, figure.spread, None, "")
        for figure in outcome.figures
        if figure.name not in named
    )
    return lines


def save(outcome: Outcome, plan: Plan, host: dict[str, object]) -> Path:
    """Write the results of one scenario; return the file."""
    content = {
        "scenario": outcome.scenario,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "method": METHOD,
        "rounds": plan.rounds,
        "seconds": plan.seconds,
        "scale": plan.scale,
        "machine": host,
        "versions": versions(),
        "figures": [
            {
                "name": line.figure,
                "unit": line.unit,
                "median": line.median,
                "spread": line.spread,
                "rounds": figure.rounds if (figure := outcome.find(line.figure)) else [],
                "must": line.target.must if line.target else None,
                "goal": line.target.goal if line.target else None,
                "verdict": line.verdict,
            }
            for line in judge(outcome)
        ],
        "notes": outcome.notes,
    }
    path = RESULTS / f"{outcome.scenario}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2))
    return path


def _read(path: str) -> str:
    return Path(path).read_text() if sys.platform == "linux" else ""
