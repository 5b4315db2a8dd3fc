"""Run the benchmarks: `make bench`, or `make bench ARGS="http-single stream-raw --rounds 5"`."""

import argparse
import sys
from collections.abc import Callable, Sequence

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import growth, hostile, memory, path, rest, start, streams, writer
from benchmarks.measure import Outcome, Plan, judge, machine, raise_file_limit, save
from bhavcast.load.generator import LoadError

SCENARIOS: dict[str, Callable[[Plan], Outcome]] = {
    "http-single": rest.http_single,
    "http-batch": rest.http_batch,
    "http-under-stream": rest.http_under_stream,
    "stream-raw": streams.stream_raw,
    "stream-conflated": streams.stream_conflated,
    "stream-slow": streams.stream_slow,
    "sim": writer.sim,
    "ingest": writer.ingest,
    "path": path.path,
    "memory": memory.memory,
    "start": start.start,
    "growth": growth.growth,
    "hostile": hostile.hostile,
}
APART = {"growth", "hostile"}  # too long for the main set
MANY = 8  # contenders that fit beside each other
COLOURS = {"goal": "bold green", "pass": "green", "FAIL": "bold red", "not measured": "yellow"}


def against_targets(outcome: Outcome) -> Table:
    """Show the figures that stand for the whole scenario, beside what they must reach."""
    shown = Table(box=box.SIMPLE, pad_edge=False)
    shown.add_column("figure", overflow="fold")
    for column in ("median", "spread", "must", "goal"):
        shown.add_column(column, justify="right", no_wrap=True)
    shown.add_column("verdict", no_wrap=True)
    for line in judge(outcome):
        if line.target is None and ": " in line.figure:
            continue  # in the table of contenders
        sign = "" if line.target is None else "≤ " if line.target.bound == "at most" else "≥ "
        must, goal = (line.target.must, line.target.goal) if line.target else (None, None)
        shown.add_row(
            line.figure,
            "" if line.median is None else f"{_number(line.median)} {line.unit}".rstrip(),
            "" if line.spread is None else f"{100 * line.spread:.0f} %",
            "" if must is None else sign + _number(must),
            "" if goal is None else sign + _number(goal),
            f"[{COLOURS[line.verdict]}]{line.verdict}[/]" if line.verdict else "",
        )
    return shown


def contenders(outcome: Outcome) -> Table:
    """Show the medians of everything that was measured, a column for each contender; a row where there are many."""
    cells: dict[str, dict[str, str]] = {}
    for figure in outcome.figures:
        name, _, what = figure.name.partition(": ")
        if what:
            cells.setdefault(f"{what}, {figure.unit}".rstrip(", "), {})[name] = _number(figure.median)
    names = list(dict.fromkeys(name for row in cells.values() for name in row))
    if len(names) > MANY:
        cells, names = {name: {what: row.get(name, "") for what, row in cells.items()} for name in names}, list(cells)
    shown = Table(box=box.SIMPLE, pad_edge=False)
    shown.add_column("", overflow="fold")
    for name in names:
        shown.add_column(name, justify="right")
    for what, row in cells.items():
        shown.add_row(what, *(row.get(name, "") for name in names))
    return shown


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def main(arguments: Sequence[str]) -> int:
    """Run what was asked for; return 1 if something that was measured misses what it must reach."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure Bhavcast against baselines of the same run; results go to benchmarks/results/.",
        epilog="Exit status: 0 every target reached, 1 one was missed or could not be measured, 2 wrong usage, "
        "3 a scenario could not be run.",
    )
    parser.add_argument(
        "scenario", nargs="*", help=f"one or more of: {', '.join(SCENARIOS)} (default: all but {', '.join(APART)})"
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often every contender has its turn (3)")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of one measurement (5)")
    parser.add_argument(
        "--quick", action="store_true", help="one short round with a fifth of the clients: to try it out"
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON, progress on stderr")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.scenario if name not in SCENARIOS]:
        parser.error(f"unknown scenario {unknown[0]!r}; there are {', '.join(SCENARIOS)}")

    progress, out = Console(stderr=given.json), Console(width=None if sys.stdout.isatty() else 160)
    plan = Plan(1, 2.0, 0.2) if given.quick else Plan(given.rounds, given.seconds)
    plan = plan._replace(log=lambda text: progress.print(text, markup=False, highlight=False))
    host, missed, broken = machine(), False, False
    if raise_file_limit() < 12_000:
        progress.print("Few open files are allowed here (ulimit -n): thousands of clients may not fit.")
    for name in given.scenario or [name for name in SCENARIOS if name not in APART]:
        progress.rule(name)
        try:
            outcome = SCENARIOS[name](plan)
        except (LoadError, RuntimeError, OSError) as reason:
            # The other scenarios are measured all the same; the status says that one was not.
            progress.print(f"{name} could not be run: {reason}", *getattr(reason, "__notes__", ()), markup=False)
            broken = True
            continue
        missed = missed or any(line.verdict in ("FAIL", "not measured") for line in judge(outcome))
        path = save(outcome, plan, host)
        if given.json:
            out.print_json(msgspec.json.encode(msgspec.json.decode(path.read_bytes())).decode())
        else:
            out.print(against_targets(outcome))
            if any(": " in figure.name for figure in outcome.figures):
                out.print(contenders(outcome))
            out.print(*outcome.notes, sep="\n", style="dim")
    return 3 if broken else int(missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
