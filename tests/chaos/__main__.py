"""Run seeds: python -m tests.chaos --seed 7, or --seeds 200 --from 1."""

import argparse
import asyncio
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

from bhavcast.app.process import loop_factory
from tests.chaos.faults import CHANCES
from tests.chaos.seed import CLIENTS, Outcome, Run
from tests.chaos.world import TOPOLOGIES


def main() -> int:
    """Run them one after another; return 1 if one violated anything."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="The whole system under faults.")
    parser.add_argument("--seed", type=int, help="run this one")
    parser.add_argument("--seeds", type=int, default=5, help="how many, from --from on")
    parser.add_argument("--from", dest="first", type=int, default=1)
    parser.add_argument("--topology", choices=TOPOLOGIES, help="instead of the one that the seed draws")
    parser.add_argument("--only", default="", help=f"kinds of faults: {','.join(CHANCES)}")
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--results", type=Path, help="a line of JSON for each seed is added to this file")
    given = parser.parse_args()
    seeds = [given.seed] if given.seed is not None else range(given.first, given.first + given.seeds)
    pids = Path(os.environ["CHAOS_PIDS"]) if os.environ.get("CHAOS_PIDS") else None
    kinds = tuple(kind for kind in given.only.split(",") if kind)
    outcomes = []
    began = time.monotonic()
    for seed in seeds:
        run = Run(seed, topology=given.topology, kinds=kinds, clients=given.clients, pids=pids)
        with asyncio.Runner(loop_factory=loop_factory("auto")) as runner:
            outcomes.append(out := runner.run(run.run()))
        print(_line(out), flush=True)
        if given.results is not None:
            with given.results.open("a") as file:
                file.write(json.dumps(asdict(out), default=str) + "\n")
    bad = [out for out in outcomes if out.violations]
    times = [out.time for out in outcomes]
    print(
        f"{len(outcomes)} seeds in {time.monotonic() - began:.0f} s, {sum(out.observed for out in outcomes)} quotes seen, "
        f"whole in time: {times.count('yes')} yes, {times.count('unknown')} unknown, {times.count('no')} no; "
        f"{len(bad)} with violations"
    )
    return 1 if bad else 0


def _line(out: Outcome) -> str:
    told = (
        f"seed {out.seed} {out.topology}: whole after {out.whole_s:.2f} s (waited {out.waited_s:.2f}, "
        f"stood {out.stood_s:.2f}), {out.observed} quotes, {out.epochs} epochs, {out.resumed} resumed, "
        f"{out.denied} denied, took {out.took_s:.1f} s"
    )
    if not out.violations:
        return told
    lines = [told, f"  VIOLATED, repeat it with: make chaos SEED={out.seed}   logs: {out.folder}"]
    lines += [f"    {each}" for each in out.schedule]
    lines += [f"  - {each[:600]}" for each in out.violations[:12]]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
