"""Run the simulator or the writer as fast as they go, and print ticks and CPU seconds as JSON.

python -m benchmarks.drive_writer sim|ingest|plain seconds=5 batch=20

With `bus=unix:///tmp/x` ingest publishes to the Redis there.
"""

import asyncio
import gc
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from datetime import date
from datetime import time as clock_time
from itertools import islice
from pathlib import Path

from bhavcast.board.board import Board
from bhavcast.board.staleness import Staleness
from bhavcast.bus.address import Address
from bhavcast.bus.memory import MemoryBus
from bhavcast.bus.redis import RedisBus
from bhavcast.domain.calendar import Calendar, at_ist
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.session import class_of
from bhavcast.domain.tick import Batch, FeedState, Source
from bhavcast.domain.universe import Universe
from bhavcast.feeds.sim.market import Market
from bhavcast.flow import Ingest, ingest, recover
from bhavcast.guard.guard import Guard
from bhavcast.journal import reader
from bhavcast.journal.writer import FileJournal
from bhavcast.reference.builtin import universe
from bhavcast.telemetry.clock import MarketClock, SystemClock

SCRIPS = 5000
RATE = 20_000  # ticks in a second of market time
STEP_MS = 20
START_MS = at_ist(date(2026, 11, 23), clock_time(10, 30))  # continuous trading
PREPARED = 25_000  # ticks per second of measurement that is asked for: what is held in memory beforehand


def _market(known: Universe) -> Market:
    market = Market(known, Calendar.builtin(), seed=1, rate=RATE)
    market.start(START_MS)
    return market


def _report(ticks: int, cpu_seconds: float, **more: float) -> None:
    print(json.dumps({"ticks": ticks, "cpu_seconds": cpu_seconds} | more), flush=True)


def sim(seconds: float) -> None:
    """Let the market go on as fast as it can."""
    market, count = _market(universe(SCRIPS)), 0
    now = market.now + 1000
    market.advance(now)  # the first ticks tell of every scrip how it stands
    began, end = time.process_time(), time.monotonic() + seconds
    while time.monotonic() < end:
        now += STEP_MS
        count += len(market.advance(now))
    _report(count, time.process_time() - began)


def _prepare(market: Market, count: int, size: int, source: Source) -> list[Batch]:
    """Make batches; the first ones hold every scrip once, as the market stands."""
    batches: list[Batch] = []
    made = 0
    while made < count:
        ticks = iter(market.advance(market.now + STEP_MS))
        while some := list(islice(ticks, size)):
            batches.append(Batch(source, market.now, some))
            made += len(some)
    return batches


class PreparedFeed:
    """Implements Feed with batches that are there already."""

    source = Source("sim", "sim", "tick")
    state: FeedState = "live"

    def __init__(self, batches: Sequence[Batch]) -> None:
        self._batches = batches

    def instruments(self) -> list[Instrument]:
        """Know of nothing that the universe does not."""
        return []

    async def batches(self) -> AsyncIterator[Batch]:
        """Yield them all at once."""
        for batch in self._batches:
            yield batch

    async def close(self) -> None:
        """Hold nothing."""


async def _ingest(seconds: float, size: int, folder: Path, url: str) -> None:
    known, calendar, clock = universe(SCRIPS), Calendar.builtin(), SystemClock()
    batches = _prepare(_market(known), int(seconds * PREPARED), size, PreparedFeed.source)
    warm = SCRIPS // size + 50  # batches in which every scrip is seen for the first time
    board = Board()
    line = Ingest(
        feed=PreparedFeed(batches[:warm]),
        guard=Guard(
            lambda symbol: row.instrument if (row := board.rows.get(symbol)) else None,
            lambda instrument, at: calendar.phase(class_of(instrument), at),
            known.closes.get,
        ),
        board=board,
        staleness=Staleness(board, calendar.phase),
        journal=FileJournal(folder, clock, boot_id="benchmark"),
        bus=RedisBus(Address.parse(url), clock, alone=True) if url else MemoryBus(),
        clock=clock,
        market=MarketClock(clock, start_ms=batches[0].received),
        calendar=calendar,
        phase_of=calendar.phase,
        reload=lambda: known,
    )
    await recover(line, reader.recover(folder, "benchmark"), "benchmark")
    await ingest(line)
    line.feed = PreparedFeed(batches[warm:])
    gc.collect()
    gc.freeze()  # what was prepared is not the writer's to look through
    before, began = line.ticks, time.process_time()
    await ingest(line)
    await line.bus.flush()
    used, count = time.process_time() - began, line.ticks - before
    calls = line.bus.counts().get("bus_calls_total", 0.0)
    await line.bus.close()
    line.journal.close()
    if line.guard.quarantine.entries():
        raise RuntimeError(f"the guard objects to the simulator: {line.guard.quarantine.entries()[0]}")
    # Of what Redis got, some was said before the measurement: its cost is stated for all of it.
    _report(count, used, published=line.ticks, calls=max(calls, 1.0))


def plain(size: int) -> None:
    """Do the least that a writer could do: merge each tick into a dict."""
    batches = _prepare(_market(universe(SCRIPS)), 100_000, size, PreparedFeed.source)
    held: dict[str, dict[int, object]] = {tick.symbol: {} for batch in batches for tick in batch.ticks}
    gc.freeze()
    began = time.process_time()
    for batch in batches:
        for tick in batch.ticks:
            held[tick.symbol].update(tick.values)
    _report(sum(len(batch.ticks) for batch in batches), time.process_time() - began)


def main(arguments: list[str]) -> None:
    """Do one of the three."""
    given = dict(argument.split("=", 1) for argument in arguments[1:])
    seconds, size = float(given.get("seconds", "5")), int(given.get("batch", "20"))
    if arguments[0] == "sim":
        sim(seconds)
    elif arguments[0] == "ingest":
        with tempfile.TemporaryDirectory(prefix="bhavcast-") as folder:
            asyncio.run(_ingest(seconds, size, Path(folder), given.get("bus", "")))
    else:
        plain(size)


if __name__ == "__main__":
    main(sys.argv[1:])
