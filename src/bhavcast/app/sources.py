"""Which feed, on which market clock: from what the configuration asks for and what the journal remembers."""

import datetime
import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from bhavcast.app.config import Config
from bhavcast.app.config.agreement import refuse_missing
from bhavcast.domain.calendar import Calendar, at_ist, ist
from bhavcast.domain.change import Snapshot
from bhavcast.domain.errors import BadConfig, BadFile
from bhavcast.domain.session import Phase, ScripClass
from bhavcast.domain.universe import Universe
from bhavcast.feeds.bhavcopy import BhavcopyFeed
from bhavcast.feeds.chaos import Chaos, ChaosFeed
from bhavcast.feeds.port import Feed
from bhavcast.feeds.recording import inspect
from bhavcast.feeds.replay import ReplayFeed
from bhavcast.feeds.sim.feed import SimFeed
from bhavcast.feeds.sim.market import Market
from bhavcast.feeds.supervisor import Supervised
from bhavcast.flow import curtain
from bhavcast.journal.reader import Recovery
from bhavcast.telemetry.clock import Clock, MarketClock

PhaseOf = Callable[[ScripClass, int], Phase]


@dataclass
class Chosen:
    """A feed and the time it lives in.

    `fixed`: the universe is the source's own and is not read again. `trade` makes a made-up market trade another one.
    `endless`: a virtual clock goes on to the next session when a day is over.
    """

    feed: Feed
    market: MarketClock
    phase_of: PhaseOf
    universe: Universe
    fixed: bool = False
    trade: Callable[[Universe], None] | None = None
    endless: bool = False


def choose(config: Config, clock: Clock, calendar: Calendar, universe: Universe, found: Recovery) -> Chosen:
    """Make the feed that the configuration names."""
    makers = {"sim": _sim, "bhavcopy": _bhavcopy, "replay": _replay}
    return makers[config.source_name](config, clock, calendar, universe, found)


def _sim(config: Config, clock: Clock, calendar: Calendar, universe: Universe, found: Recovery) -> Chosen:
    market_clock = _clock(config, clock, _start(config, clock, calendar) if found.market is None else found.market)
    market = Market(universe, calendar, config.seed, config.rate / max(1.0, config.speed))
    if found.snapshot is not None:
        _restore(market, found.snapshot)

    def phase_of(cls: ScripClass, at: int) -> Phase:
        return market.phase_override(at) or calendar.phase(cls, at)

    # The market outlives its feed: one that is begun anew goes on where the market is.
    feed = Supervised(
        lambda: _bent(config, universe, SimFeed(market, market_clock)),
        SimFeed.source,
        clock=clock,
        now_ms=market_clock.now_ms,
        ticks_due=lambda at: calendar.ticks_due(at) and market.phase_override(at) != "halted",
        chance=random.random,
    )
    return Chosen(feed, market_clock, phase_of, universe, trade=market.adopt, endless=market_clock.virtual)


def _bent(config: Config, universe: Universe, feed: Feed) -> Feed:
    """Put the faults into a feed that the configuration asks for."""
    if not config.chaos:
        return feed
    ticks = {symbol: instrument.tick for symbol, instrument in universe.instruments.items()}
    return ChaosFeed(feed, Chaos.parse(config.chaos), seed=config.seed, tick_of=lambda symbol: ticks.get(symbol, 1))


def _restore(market: Market, snapshot: Snapshot) -> None:
    rows = {row.symbol: dict(enumerate(row.values)) for row in snapshot.rows}
    market.restore(rows, snapshot.market)


def _bhavcopy(config: Config, clock: Clock, calendar: Calendar, universe: Universe, found: Recovery) -> Chosen:
    if universe.date is None or not universe.days:
        raise BadConfig(
            "source bhavcopy needs an official day: run `bhavcast import bhavcopy FILE` first", field="source"
        )
    closed = calendar.close_of(universe.date)
    market_clock = _clock(config, clock, closed + 60_000)
    # Its closes are of the evening: neither the limits of that day follow from them nor a previous close. And the
    # levels of the indices are made up, beside figures that are the exchange's.
    unsaid = universe.days.keys() | {basis.symbol for basis in universe.indices}
    closes = {symbol: close for symbol, close in universe.closes.items() if symbol not in unsaid}
    universe = msgspec.structs.replace(universe, closes=closes)
    return Chosen(BhavcopyFeed(universe, closed, market_clock), market_clock, calendar.phase, universe, fixed=True)


def _replay(config: Config, clock: Clock, calendar: Calendar, universe: Universe, found: Recovery) -> Chosen:
    if config.source_file is None:
        raise BadConfig("expected replay:FILE", field="source")
    refuse_missing(config)
    try:
        about = inspect(config.source_file).about
    except BadFile as error:
        raise BadConfig(
            f"source — expected a recording to play, got one that cannot be: {error.detail}", field="source"
        ) from None
    paced = None if math.isinf(config.speed) else config.speed
    market_clock = MarketClock(clock, start_ms=about.started, speed=1.0 if paced is None else paced)
    feed = _bent(config, about.universe, ReplayFeed(config.source_file, market_clock, paced))
    return Chosen(feed, market_clock, calendar.phase, about.universe, fixed=True)


def _clock(config: Config, clock: Clock, start_ms: int) -> MarketClock:
    return MarketClock(clock) if config.clock == "real" else MarketClock(clock, start_ms=start_ms, speed=config.speed)


def _start(config: Config, clock: Clock, calendar: Calendar) -> int:
    """Return when a virtual clock begins: as asked, or just before the continuous session of the last trading day."""
    start = config.start
    if isinstance(start, datetime.datetime):
        return int(start.timestamp() * 1000)
    day = calendar.last_trading_day(ist(clock.wall_ms()).date())
    return curtain(calendar, day, -1) if start is None else at_ist(day, start)
