"""The writer's work, in whatever process it is done."""

import asyncio
from typing import Final

import structlog

from bhavcast.flow import Ingest, ingest, keep_appointments, roll
from bhavcast.journal.port import Journal

log = structlog.get_logger()

IDLE_S: Final = 0.25
SYNC_S: Final = 1.0


async def run_ingest(line: Ingest) -> None:
    """Carry what the feed gives; where it ends, go on keeping appointments."""
    await ingest(line)
    log.info("the source has nothing more to give; its last state stands", source=line.feed.source.name)
    while True:
        await asyncio.sleep(IDLE_S)
        await roll(line)
        await keep_appointments(line)


async def sync(journal: Journal) -> None:
    """Make the journal survive a power cut too, beside the loop: a disk takes its time."""
    while True:
        await asyncio.sleep(SYNC_S)
        await asyncio.to_thread(journal.sync)
