"""`bhavcast serve ingest` with the feed of a chaos run. It says what it has synced, and believes in boots it is told of.

In the folder CHAOS_FOLDER, which is on no disk that may be full: `quiet` makes the feed silent, `boot` is the boot id of the
machine, and a line `NAME END` is added to `synced` whenever so much of a journal has been synced.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

from bhavcast.app import boot
from bhavcast.app import build as building
from bhavcast.app.build import Parts
from bhavcast.app.roles import ingest
from bhavcast.cli.main import main
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.tick import Batch, FeedState, Source, Tick
from bhavcast.journal.writer import FileJournal
from bhavcast.telemetry.clock import MarketClock
from tests.chaos.ticks import STEP_S, Ticks, step_at

# By this name the journal's epoch is found to be of the same source, and goes on.
SOURCE = Source(name="sim", mode="sim", grade="tick")


class KnownFeed:
    """Says what is due now, and nothing of what was due while nobody asked."""

    source = SOURCE
    state: FeedState = "live"

    def __init__(self, ticks: Ticks, market: MarketClock, quiet: Path) -> None:
        self._ticks, self._market, self._quiet = ticks, market, quiet

    def instruments(self) -> list[Instrument]:
        return []

    async def batches(self) -> AsyncIterator[Batch]:
        done = 0
        while True:
            await asyncio.sleep(STEP_S / 2)
            step, now = step_at(time.time()), self._market.now_ms()
            due = step > done and not self._quiet.exists()
            ticks = [Tick(symbol, now, values) for symbol, values in self._ticks.of(step).items()] if due else []
            done = step
            yield Batch(self.source, now, ticks)

    async def close(self) -> None:
        return


def tell_synced(journal: FileJournal, told: Path) -> None:
    """Have the journal say how far it is safe from a power cut."""
    sync = journal.sync
    last: tuple[Path | None, int] = (None, 0)

    def and_tell() -> None:
        nonlocal last
        path, size = journal.path, journal.size
        sync()
        if path is not None and journal.path == path and not journal.failing and (path, size) != last:
            last = (path, size)
            with told.open("a") as file:
                file.write(f"{path.name} {size}\n")

    journal.sync = and_tell  # type: ignore[method-assign]  # the one place to hear it


def built(folder: Path, parts: Parts) -> Parts:
    parts.line.feed = KnownFeed(Ticks(parts.line.reload()), parts.market, folder / "quiet")
    tell_synced(parts.journal, folder / "synced")
    return parts


def run(arguments: list[str]) -> int:
    """Write until told to stop; return the exit code."""
    folder = Path(os.environ["CHAOS_FOLDER"])
    ingest.build = lambda *given, **options: built(folder, building.build(*given, **options))  # type: ignore[attr-defined]  # what it was imported as
    boot.BOOT_ID = folder / "boot"  # type: ignore[misc]  # the machine of this run
    return main(["serve", "ingest", *arguments])
