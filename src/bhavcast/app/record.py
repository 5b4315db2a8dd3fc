"""Record what a source gives, before the guard and the board: a day to be played again, or a case for a test."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Final, NamedTuple

from bhavcast import __version__
from bhavcast.app import sources
from bhavcast.app.build import calendar_of
from bhavcast.app.config import Config
from bhavcast.app.up import stop_on_signals
from bhavcast.domain.calendar import Calendar
from bhavcast.domain.errors import BadConfig
from bhavcast.feeds import recording
from bhavcast.journal.reader import Recovery
from bhavcast.reference.store import ReferenceStore
from bhavcast.telemetry.clock import Clock, SystemClock

# After the last phase of a day sources still send closing prices and totals.
AFTER_CLOSE_MS: Final = 5 * 60_000


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
    config: Config, path: Path, *, seconds: float | None = None, tell: Callable[[Progress], None] = lambda _: None
) -> Recorded:
    """Record until the day is over, for `seconds` of market time, or until a signal comes; whichever is first.

    Raises:
        BadFile: there is a file of that name.
        BadConfig: the day of the source is over already.
    """
    return asyncio.run(_record(config, path, seconds, tell, SystemClock()))


async def _record(
    config: Config, path: Path, seconds: float | None, tell: Callable[[Progress], None], clock: Clock
) -> Recorded:
    calendar = calendar_of(config)
    universe = ReferenceStore(config.data / "reference").load(config.scrips, config.seed)
    nothing = Recovery(None, continues=False, reason="a recording begins anew")
    source = sources.choose(config, clock, calendar, universe, nothing)
    started = source.market.now_ms()
    until = _until(config, calendar, started, seconds)
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
        async with aclosing(source.feed.batches()) as batches:  # type: ignore[type-var]  # every feed is a generator
            async for batch in batches:
                recorder.write(batch)
                if batch.ticks:
                    first, last = first or batch.received, batch.received
                now = source.market.now_ms()
                tell(Progress(started, now, until, recorder.ticks))
                if now >= until or stop.is_set():
                    break
        await source.feed.close()
        return Recorded(path, recorder.batches, recorder.ticks, first, last)


def _until(config: Config, calendar: Calendar, started: int, seconds: float | None) -> int:
    if seconds is not None:
        return started + round(seconds * 1000)
    over = calendar.close_of(calendar.trading_date(started)) + AFTER_CLOSE_MS
    if config.source_name == "sim" and started >= over:
        raise BadConfig("at — expected a moment before the end of a trading day, got one after it", field="at")
    return max(over, started + AFTER_CLOSE_MS)
