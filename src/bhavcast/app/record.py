"""Record what a source gives, before the guard and the board: a day to be played again, or a case for a test."""

import asyncio
import datetime
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Final, NamedTuple

from bhavcast import __version__
from bhavcast.app import sources
from bhavcast.app.calendar import calendar_of
from bhavcast.app.config import Config
from bhavcast.app.process import stop_on_signals
from bhavcast.domain.calendar import Calendar, at_ist
from bhavcast.domain.errors import BadConfig
from bhavcast.domain.tick import Batch
from bhavcast.domain.universe import Universe
from bhavcast.feeds import recording
from bhavcast.feeds.sim.feed import BATCH_TICKS, SimFeed
from bhavcast.feeds.sim.market import Market
from bhavcast.journal.reader import Recovery
from bhavcast.reference.store import ReferenceStore
from bhavcast.telemetry.clock import Clock, ManualClock, SystemClock

# After the last phase of a day sources still send closing prices and totals.
AFTER_CLOSE_MS: Final = 5 * 60_000
# Market time in one go where nothing waits for a clock.
AHEAD_MS: Final = 100


class Recorded(NamedTuple):
    """What was recorded; `first` and `last` are market times in milliseconds, 0 for nothing."""

    path: Path
    batches: int
    ticks: int
    first: int
    last: int


class Progress(NamedTuple):
    """How far a recording is: market time, from where to where, and what there is so far."""

    started: int
    now: int
    until: int
    ticks: int


def run(
    config: Config,
    path: Path,
    *,
    seconds: float | None = None,
    until: datetime.time | None = None,
    fast: bool = False,
    tell: Callable[[Progress], None] = lambda _: None,
) -> Recorded:
    """Record until the day is over, for `seconds` of market time, `until` a time in IST, or until a signal comes.

    `fast`: simulated trading goes on as soon as it is written, without waiting for any clock.

    Raises:
        BadFile: there is a file of that name.
        BadConfig: the day of the source is over already, or the source cannot go fast.
    """
    if fast and (config.source_name != "sim" or config.chaos):
        raise BadConfig("source — expected sim without chaos: only simulated trading can be made ahead", field="source")
    # Made ahead, a day begins at its moment however long the start took: the same seed gives the same day.
    clock = ManualClock(SystemClock().wall_ms()) if fast else SystemClock()
    return asyncio.run(_record(config, path, seconds, until, tell, clock, fast=fast))


async def _record(
    config: Config,
    path: Path,
    seconds: float | None,
    until_time: datetime.time | None,
    tell: Callable[[Progress], None],
    clock: Clock,
    *,
    fast: bool,
) -> Recorded:
    calendar = calendar_of(config)
    universe = ReferenceStore(config.data / "reference").load(config.scrips, config.seed)
    nothing = Recovery(None, continues=False, reason="a recording begins anew")
    source = sources.choose(config, clock, calendar, universe, nothing)
    started = source.market.now_ms()
    until = _until(config, calendar, started, seconds, until_time)
    description = recording.about(
        origin=f"bhavcast record, source {config.source}, seed {config.seed}",
        source=source.feed.source,
        date=calendar.trading_date(started).isoformat(),
        started=started,
        universe=source.universe,
        program=f"bhavcast {__version__}",
    )
    first = last = 0
    stop = stop_on_signals()
    with recording.Recorder(path, description) as recorder:
        given = source.feed.batches() if not fast else _ahead(config, calendar, universe, started, until)
        async with aclosing(given) as batches:  # type: ignore[type-var]  # every feed is a generator
            async for batch in batches:
                recorder.write(batch)
                if batch.ticks:
                    first, last = first or batch.received, batch.received
                now = batch.received if fast else source.market.now_ms()
                tell(Progress(started, now, until, recorder.ticks))
                if now >= until or stop.is_set():
                    break
        await source.feed.close()
        return Recorded(path, recorder.batches, recorder.ticks, first, last)


async def _ahead(
    config: Config, calendar: Calendar, universe: Universe, started: int, until: int
) -> AsyncIterator[Batch]:
    """Yield what simulated trading gives, as fast as it is made; each batch is received when it happened."""
    market = Market(universe, calendar, config.seed, config.rate)
    market.start(started)
    for now in range(started + AHEAD_MS, until + AHEAD_MS, AHEAD_MS):
        ticks = market.advance(now)
        for start in range(0, len(ticks) or 1, BATCH_TICKS):
            yield Batch(SimFeed.source, now, ticks[start : start + BATCH_TICKS])
        await asyncio.sleep(0)  # for signals


def _until(config: Config, calendar: Calendar, started: int, seconds: float | None, until: datetime.time | None) -> int:
    if until is not None:
        end = at_ist(calendar.trading_date(started), until)
        if end <= started:
            raise BadConfig(f"--until — expected a time after the start, got {until:%H:%M:%S}", field="until")
        return end
    if seconds is not None:
        return started + round(seconds * 1000)
    over = calendar.close_of(calendar.trading_date(started)) + AFTER_CLOSE_MS
    if config.source_name == "sim" and started >= over:
        raise BadConfig("at — expected a moment before the end of a trading day, got one after it", field="at")
    return max(over, started + AFTER_CLOSE_MS)
