"""Run the soak: `python -m tests.soak --minutes 60`; exit code 1 if something grew, failed, or was started again."""

import argparse
import asyncio
import contextlib
import json
import math
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import httpx
from rich import box
from rich.console import Console
from rich.table import Table

from tests.soak.churn import Churn
from tests.soak.processes import UNITS, Sample, Watch, bytes_under
from tests.soak.trend import Trend, trend
from tests.system import System

FAULTS_SHOWN: Final = 10
STALL_S: Final = 2.0  # this much late, the harness itself was stopped, and a lease of 3 s may have run out with it
SPEED: Final = 60  # a day of the market takes six to seven minutes


class Soak:
    """One run: the system, its churn, and the samples."""

    def __init__(self, given: argparse.Namespace, folder: Path) -> None:
        self.given = given
        self.system = System(
            folder, "--scrips", str(given.scrips), "--rate", str(given.rate), "--speed", str(SPEED),
            bus="embedded", BHAVCAST_GATEWAY_WORKERS="2", BHAVCAST_KITE_ENABLED="true", BHAVCAST_BUS_LOG_LENGTH="1000",
        )  # fmt: skip
        self.samples: list[tuple[float, Sample]] = []
        self.churn: Churn | None = None
        self.restarts: dict[str, int] = {}
        self.stalled = 0.0
        self._excused: set[int] = set()  # lines that were said while everything stood still

    async def run(self) -> None:
        """Start, let everybody at it, sample until the time is over, and stop."""
        self.system.up()
        watch = Watch(self.system)
        try:
            key = self.system.keys("create", "--role", "viewer", "--name", "soak")["key"]
            symbols = [f"{row['symbol']}" for row in await self._listed(key)]
            self.churn = Churn(self.system.url, self.system.frontend, symbols, key, self.given.seed)
            going = asyncio.create_task(self.churn.run(self.given.scale))
            sampling = asyncio.create_task(self._sample(watch))
            await asyncio.wait([going, sampling], return_when=asyncio.FIRST_COMPLETED)
            for task in (going, sampling):
                task.cancel()
            for done in await asyncio.gather(going, sampling, return_exceptions=True):
                if isinstance(done, BaseException) and not isinstance(done, asyncio.CancelledError):
                    raise done
            self.restarts = {name: role["restarts"] for name, role in watch.roles().items()}
        finally:
            await watch.close()
            self.system.end(signal.SIGTERM)

    async def _listed(self, key: str) -> list[dict[str, Any]]:
        """Return some scrips; a new key is known to the gateways after a moment."""
        async with httpx.AsyncClient(trust_env=False, headers={"X-API-Key": key}) as http:
            for _ in range(100):
                answer = await http.get(f"{self.system.url}/api/stocks", params={"limit": 500})
                if answer.is_success:
                    return answer.json()["stocks"]
                await asyncio.sleep(0.1)
            raise RuntimeError("the gateways do not know the new key")

    async def _sample(self, watch: Watch) -> None:
        began = time.monotonic()
        ends = began + self.given.minutes * 60
        while (now := time.monotonic()) < ends:
            taken = await watch.sample()
            self.samples.append((now - began, taken))
            said, due = len(self.system.said), time.monotonic() + self.given.every
            await asyncio.sleep(self.given.every)
            if (late := time.monotonic() - due) > STALL_S:
                self.stalled += late
                await asyncio.sleep(self.given.every)  # what was said of it is here by then
                self._excused.update(range(said, len(self.system.said)))

    # -- what came of it --------------------------------------------------------------------------------------------

    def judged(self) -> dict[str, Trend]:
        """Return the trend of every figure over the second half."""
        half = self.samples[-1][0] / 2
        names = sorted({name for _, sample in self.samples for name in sample})
        found = {}
        for name in names:
            times, values = [], []
            for at, sample in self.samples:
                if at >= half and name in sample:
                    times.append(at / 3600)
                    values.append(sample[name])
            if len(values) >= 8:
                found[name] = trend(times, values, UNITS[name.split()[1]][1])
        return found

    def faults(self) -> list[str]:
        """Return what went wrong besides growth."""
        assert self.churn is not None
        said = [
            line
            for number, line in enumerate(self.system.said)
            if number not in self._excused and any(word in line for word in ("[error", "Traceback", "incident"))
        ]
        again = [f"{name} was started again {count} times" for name, count in self.restarts.items() if count]
        return [*again, *self.churn.faults, *said]


def report(soak: Soak, trends: dict[str, Trend], console: Console) -> None:
    """Show a line for each figure."""
    shown = Table(box=box.SIMPLE, pad_edge=False)
    for column in ("process", "figure", "median", "per hour", "noise", ""):
        shown.add_column(column, justify="left" if column in ("process", "figure", "") else "right")
    for name, found in trends.items():
        process, figure = name.split()
        unit = UNITS[figure][0]
        verdict = "[bold red]GROWS[/]" if found.grows else "[green]flat[/]"
        shown.add_row(
            process,
            figure,
            f"{found.middle:.1f} {unit}".rstrip(),
            f"{found.slope:+.2f}",
            f"± {found.noise:.2f}",
            verdict,
        )
    console.print(shown)
    assert soak.churn is not None
    console.print(", ".join(f"{count} {what}" for what, count in sorted(soak.churn.counts.items())))
    for fault in soak.faults()[:FAULTS_SHOWN]:
        console.print(fault, style="red", markup=False)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--every", type=float, default=5, help="seconds between samples")
    parser.add_argument("--scale", type=int, default=4, help="times a dozen clients at once")
    parser.add_argument("--scrips", type=int, default=1000)
    parser.add_argument("--rate", type=int, default=400, help="ticks per second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/soak.json"))
    given = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 120)
    with tempfile.TemporaryDirectory(prefix="bhavcast-soak-") as folder:
        soak = Soak(given, Path(folder))
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(soak.run())
        kept = bytes_under(Path(folder))
    assert soak.churn is not None
    trends, faults = soak.judged(), soak.faults()
    grew = [name for name, found in trends.items() if found.grows]
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(
        json.dumps(
            {
                "minutes": soak.samples[-1][0] / 60,
                "seed": given.seed,
                "verdict": "FAIL" if grew or faults else "pass",
                "grew": grew,
                "faults": faults,
                "stalled_seconds": soak.stalled,
                "counts": soak.churn.counts,
                "data_bytes": kept,
                "trends": {name: found._asdict() | {"grows": found.grows} for name, found in trends.items()},
                "samples": [{"seconds": round(at, 1), **sample} for at, sample in soak.samples],
            },
            indent=1,
        )
    )
    report(soak, trends, console)
    if soak.stalled:
        console.print(f"The harness itself stood still for {soak.stalled:.0f} s; what was logged then is no fault.")
    minutes = soak.samples[-1][0] / 60
    console.print(
        f"{'FAIL' if grew or faults else 'pass'} after {math.floor(minutes)} minutes, {len(soak.samples)} samples, "
        f"seed {given.seed}; {given.out} has them all"
    )
    return int(bool(grew or faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
