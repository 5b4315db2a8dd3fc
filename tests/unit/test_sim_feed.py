"""The shell around the simulated market: real time in, bounded batches out."""

from collections.abc import AsyncIterator

import msgspec

from bhavcast.domain import field
from bhavcast.domain.tick import Batch
from bhavcast.feeds.port import Feed
from bhavcast.feeds.sim.feed import BATCH_TICKS, SimFeed
from bhavcast.reference.builtin import universe
from bhavcast.telemetry.clock import ManualClock, MarketClock
from tests.sim_tape import NEW_RULES, at, market


class Bench:
    """A feed whose time passes only while it pauses."""

    def __init__(self, start: int, *, rate: float = 700, speed: float = 1.0, scrips: int = 300) -> None:
        self.clock = ManualClock()
        self.market_clock = MarketClock(self.clock, start_ms=start, speed=speed)
        self.feed = SimFeed(market(scrips, rate=rate), self.market_clock, pause=self._pause)
        self.batches: AsyncIterator[Batch] = self.feed.batches()
        self.lag = 0.0

    async def _pause(self, seconds: float) -> None:
        self.clock.advance(seconds + self.lag)
        self.lag = 0.0

    async def collect(self, seconds: float) -> list[Batch]:
        end = self.clock.monotonic() + seconds
        found = []
        while self.clock.monotonic() < end:
            found.append(await anext(self.batches))
        return found


async def test_it_is_a_feed() -> None:
    feed: Feed = Bench(at(NEW_RULES, 11)).feed
    assert (feed.source.name, feed.source.mode, feed.source.grade) == ("sim", "sim", "tick")
    assert feed.state == "starting"
    assert feed.instruments() == []


async def test_batches_are_small_and_hold_the_rate() -> None:
    bench = Bench(at(NEW_RULES, 12), rate=2000)
    await bench.collect(0.1)
    batches = await bench.collect(10)
    assert max(len(batch.ticks) for batch in batches) <= BATCH_TICKS
    ticks = sum(len(batch.ticks) for batch in batches)
    assert 600 * 10 < ticks < 2500 * 10  # midday is calmer than the mean
    assert bench.feed.state == "live"


async def test_the_first_batches_tell_how_everything_stands() -> None:
    bench = Bench(at(NEW_RULES, 12), scrips=500)
    first = [await anext(bench.batches) for _ in range(3)]
    symbols = {tick.symbol for batch in first for tick in batch.ticks}
    assert len(symbols) == 500 + len(bench.feed.market.indices)


async def test_a_closed_market_gives_empty_batches_within_a_quarter_second() -> None:
    bench = Bench(at(NEW_RULES, 20))
    await bench.collect(0.1)
    before = bench.clock.monotonic()
    for _ in range(8):
        batch = await anext(bench.batches)
        assert batch.ticks == []
        assert bench.clock.monotonic() - before <= 0.25
        before = bench.clock.monotonic()
    assert bench.feed.state == "not_due"


async def test_a_short_stall_is_made_up_for_tick_by_tick() -> None:
    bench = Bench(at(NEW_RULES, 12))
    await bench.collect(1)
    bench.lag = 1.5
    batches = await bench.collect(2)
    assert max(len(batch.ticks) for batch in batches) <= BATCH_TICKS
    assert len({tick.time for batch in batches for tick in batch.ticks}) > 150
    assert bench.market_clock.now_ms() - bench.feed.market.now < 300


async def test_a_long_sleep_is_leaped_over() -> None:
    bench = Bench(at(NEW_RULES, 12))
    await bench.collect(1)
    bench.lag = 5400.0
    batches = await bench.collect(5401)
    assert sum(len(batch.ticks) for batch in batches) < 3000
    assert bench.market_clock.now_ms() - bench.feed.market.now < 300


async def test_a_clock_set_to_the_next_session_takes_the_market_along() -> None:
    bench = Bench(at(NEW_RULES, 20))
    await bench.collect(0.5)
    bench.market_clock.jump(at(NEW_RULES.replace(day=25), 9, 14, 50))
    batches = await bench.collect(1)
    assert sum(len(batch.ticks) for batch in batches) >= 300
    assert bench.feed.market.date == NEW_RULES.replace(day=25)


async def test_a_faster_clock_only_makes_time_pass_faster() -> None:
    bench = Bench(at(NEW_RULES, 12), rate=20, speed=60)
    await bench.collect(0.2)
    batches = await bench.collect(5)
    assert 5 * 60 * 20 * 0.3 < sum(len(batch.ticks) for batch in batches) < 5 * 60 * 20 * 1.5
    assert bench.feed.market.now - at(NEW_RULES, 12) > 290_000


async def test_a_closed_feed_ends() -> None:
    bench = Bench(at(NEW_RULES, 12))
    await anext(bench.batches)
    await bench.feed.close()
    await bench.feed.close()
    assert [batch async for batch in bench.batches] == [] or bench.feed.state == "ended"


async def test_halts_are_told_by_the_feed() -> None:
    bench = Bench(at(NEW_RULES, 12))
    await bench.collect(0.1)
    bench.feed.market.force_halt()
    await bench.collect(0.5)
    assert bench.feed.phase_override(at(NEW_RULES, 12, 10)) == "halted"
    assert bench.feed.halts[0].phase == "halted"


async def test_a_market_that_is_given_another_universe_forgets_what_it_was_about_to_say() -> None:
    bench = Bench(at(NEW_RULES, 12), scrips=500)
    await anext(bench.batches)  # of three that tell how everything stands
    market = bench.feed.market
    kept = [scrip.symbol for scrip in market.scrips][:100]
    known = universe(500, 1)
    closes = {symbol: 2 * close for symbol, close in known.closes.items() if symbol in kept}
    market.adopt(msgspec.structs.replace(known, closes=closes, indices=[]))
    ticks = [tick for batch in await bench.collect(0.2) for tick in batch.ticks]
    assert {tick.symbol for tick in ticks} == set(kept)
    assert {tick.symbol: tick.values[field.PREVIOUS_CLOSE] for tick in ticks[:100]} == closes
