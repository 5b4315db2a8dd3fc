"""The writer's work, in whatever process it is done."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import structlog

from bhavcast.app.config import JournalSettings
from bhavcast.flow import Ingest, ingest, keep_appointments, roll
from bhavcast.journal import archive
from bhavcast.journal.writer import FileJournal
from bhavcast.telemetry.clock import Clock

log = structlog.get_logger()

IDLE_S: Final = 0.25
ARCHIVE_S: Final = 1.0


async def run_ingest(line: Ingest) -> None:
    """Carry what the feed gives; where it ends, go on keeping appointments."""
    await ingest(line)
    log.info("the source has nothing more to give; its last state stands", source=line.feed.source.name)
    while True:
        await asyncio.sleep(IDLE_S)
        await roll(line)
        await keep_appointments(line)


async def sync(journal: FileJournal, every_ms: float) -> None:
    """Make the journal survive a power cut too, beside the loop: a disk takes its time.

    One thread of its own, so that a slow disk delays nothing that waits for a thread.
    """
    with ThreadPoolExecutor(1, "fsync") as disk:
        while True:
            await asyncio.sleep(every_ms / 1000)
            await asyncio.get_running_loop().run_in_executor(disk, journal.sync)


async def keep_archive(journal: FileJournal, settings: JournalSettings, clock: Clock) -> None:
    """Seal the journals of epochs that are over and remove what is too old, beside the loop, whenever one has begun."""
    stopping, seen = threading.Event(), None

    def tidy(current: Path) -> archive.Tidied:
        keep = {"keep_days": settings.keep_days, "keep_bytes": settings.keep_bytes}
        return archive.tidy(current, clock.wall_ms(), **keep, stopped=stopping.is_set)

    with ThreadPoolExecutor(1, "archive") as disk:
        try:
            while True:
                if (current := journal.path) is not None and current != seen:
                    seen = current
                    tidied = await asyncio.get_running_loop().run_in_executor(disk, tidy, current)
                    log.info("journals tidied", **tidied._asdict())
                await asyncio.sleep(ARCHIVE_S)
        finally:
            stopping.set()
