"""Chaos: as much of it as was asked for, the same for the same seed, and nothing bad of it past the guard."""

import random
from collections import Counter
from collections.abc import AsyncIterator

import msgspec
import pytest

from bhavcast.domain import field as f
from bhavcast.domain.errors import BadConfig
from bhavcast.domain.field import Values
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.tick import Batch, FeedState, Source, Tick
from bhavcast.feeds.chaos import Chaos, ChaosFeed
from bhavcast.guard.guard import Guard

pytestmark = pytest.mark.slow

NOON = 1_763_965_800_000  # Mon 24 Nov 2025 12:00 IST
SOURCE = Source("list", "sim", "tick")
SCRIPS = {
    f"{500_000 + n}": Instrument(symbol=f"{500_000 + n}", id=f"S{n}", name=f"S{n}", tick=1 if n % 4 == 0 else 5)
    for n in range(200)
}


class ListFeed:
    """A feed that says what it was given."""

    source = SOURCE
    state: FeedState = "live"

    def __init__(self, batches: list[Batch]) -> None:
        self._batches = batches
        self.closed = False

    def instruments(self) -> list[Instrument]:
        return list(SCRIPS.values())

    async def batches(self) -> AsyncIterator[Batch]:
        for batch in self._batches:
            yield batch

    async def close(self) -> None:
        self.closed = True


def market(batches: int, per_batch: int = 50, seed: int = 1) -> list[Batch]:
    """Return a lawful market: whole quotes, a batch every 100 ms."""
    chance = random.Random(seed)
    prices = {symbol: chance.randrange(2_000, 100_000) * 5 for symbol in SCRIPS}
    closes, highs, lows = dict(prices), dict(prices), dict(prices)
    volumes, values = dict.fromkeys(SCRIPS, 0), dict.fromkeys(SCRIPS, 0)
    made = []
    for n in range(batches):
        at = NOON + n * 100
        ticks = []
        for symbol in chance.sample(sorted(SCRIPS), per_batch):
            step = SCRIPS[symbol].tick
            price = prices[symbol] = max(prices[symbol] + chance.randrange(-2, 3) * step, step * 10)
            highs[symbol], lows[symbol] = max(highs[symbol], price), min(lows[symbol], price)
            quantity = chance.randrange(1, 100)
            volumes[symbol] += quantity
            values[symbol] += quantity * price
            quote: Values = {
                f.CURRENT_PRICE: price,
                f.HIGH: highs[symbol],
                f.LOW: lows[symbol],
                f.PREVIOUS_CLOSE: closes[symbol],
                f.VOLUME: volumes[symbol],
                f.VALUE: values[symbol],
                f.BID_PRICE: price - step,
                f.ASK_PRICE: price + step,
                f.BIDS: tuple((price - step * level, 10, 1) for level in range(1, 6)),
                f.ASKS: tuple((price + step * level, 10, 1) for level in range(1, 6)),
            }
            ticks.append(Tick(symbol, at, quote))
        made.append(Batch(SOURCE, at, ticks))
    return made


async def through(chaos: Chaos, batches: list[Batch], seed: int = 7) -> tuple[list[Batch], ChaosFeed]:
    feed = ChaosFeed(ListFeed(batches), chaos, seed=seed, tick_of=lambda symbol: SCRIPS[symbol].tick)
    return [batch async for batch in feed.batches()], feed


def ticks_of(batches: list[Batch]) -> list[Tick]:
    return [tick for batch in batches for tick in batch.ticks]


def key(tick: Tick) -> tuple[str, int, tuple[tuple[int, object], ...]]:
    return tick.symbol, tick.time, tuple(sorted(tick.values.items()))


async def test_without_chaos_everything_comes_as_it_was():
    batches = market(20)
    assert (await through(Chaos(), batches))[0] == batches


ALL = Chaos(stall=0.02, stall_ms=700, duplicate=0.05, reorder=0.05, drop=0.05, bad_tick=0.05)


async def test_the_same_seed_does_the_same_and_another_one_something_else():
    batches = market(100)
    once, feed = await through(ALL, batches)
    again, twin = await through(ALL, batches)
    other, _ = await through(ALL, batches, seed=8)
    assert once == again
    assert feed.counts == twin.counts
    assert once != other


@pytest.mark.parametrize("what", ["duplicate", "reorder", "drop", "bad_tick"])
async def test_about_as_much_goes_wrong_as_was_asked_for(what):
    _, feed = await through(msgspec.structs.replace(Chaos(), **{what: 0.1}), market(200))
    assert 0.08 < feed.counts[what] / 10_000 < 0.12


async def test_drops_lose_ticks_and_nothing_else():
    batches = market(50)
    said = ticks_of((await through(Chaos(drop=0.1), batches))[0])
    rest = iter(ticks_of(batches))
    assert len(said) < 2_500
    assert all(tick in rest for tick in said)


async def test_duplicates_and_reordered_ticks_lose_nothing():
    batches = market(50)
    came, feed = await through(Chaos(duplicate=0.1, reorder=0.2), batches)
    said, meant = Counter(map(key, ticks_of(came))), Counter(map(key, ticks_of(batches)))
    assert set(said) == set(meant)
    assert said.total() - meant.total() == feed.counts["duplicate"]


async def test_a_reordered_tick_comes_after_the_next_one_of_its_scrip():
    batches = market(50)
    came, feed = await through(Chaos(reorder=0.2), batches)
    last: dict[str, int] = {}
    back = 0
    for tick in ticks_of(came):
        back += tick.time < last.get(tick.symbol, 0)
        last[tick.symbol] = tick.time
    assert 0 < back <= feed.counts["reorder"]


async def test_a_stall_is_silence_and_then_everything_at_once():
    batches = market(40)
    came, feed = await through(Chaos(stall=1.0, stall_ms=1_000), batches)
    assert ticks_of(came) == ticks_of(batches)
    assert [len(batch.ticks) for batch in came[:12]] == [*[0] * 10, 550, 0]
    assert [batch.received for batch in came[:40]] == [batch.received for batch in batches]
    assert feed.counts["stall"] == 4


async def test_closing_closes_the_feed_inside():
    inner = ListFeed([])
    feed = ChaosFeed(inner, ALL, seed=1)
    assert (feed.state, feed.source, len(feed.instruments())) == ("live", SOURCE, 200)
    await feed.close()
    assert inner.closed


@pytest.mark.parametrize(
    "chaos",
    [
        Chaos.parse("stall=1%:3s,duplicate=0.5%,reorder=1%,drop=1%,bad_tick=0.1%"),
        Chaos(bad_tick=0.02),
        Chaos(stall=0.01, stall_ms=2_000, duplicate=0.05, reorder=0.1, drop=0.1, bad_tick=0.02),
    ],
)
@pytest.mark.parametrize("seed", range(3))
async def test_no_bad_tick_passes_the_guard_and_no_good_one_is_quarantined(chaos, seed):
    batches = market(600, seed=seed)
    good = set(map(key, ticks_of(batches)))
    came, feed = await through(chaos, batches, seed=seed)
    guard = Guard(SCRIPS.get, lambda instrument, at: "continuous")
    passed = [tick for batch in came for tick in guard.check(batch)]
    assert [tick for tick in passed if key(tick) not in good] == []
    assert [entry for entry in guard.quarantine.entries() if key(entry.tick) in good] == []
    assert feed.counts["bad_tick"] > 0
    assert guard.corrected == 0
    assert guard.facts()["guard"]["suspensions"] == []
    # What is neither passed nor quarantined was late or came twice.
    rest = len(ticks_of(came)) - len(passed) - guard.quarantine.counts.total()
    assert rest == guard.late + guard.duplicates


async def test_every_kind_of_wrong_is_done_and_caught():
    came, feed = await through(Chaos(bad_tick=0.02), market(400))
    guard = Guard(SCRIPS.get, lambda instrument, at: "continuous")
    for batch in came:
        guard.check(batch)
    assert set(feed.counts) == {"bad_tick", "tenfold", "negative", "off_tick", "crossed", "inverted", "future"}
    caught = guard.quarantine.counts
    assert caught["positive"] == feed.counts["negative"]
    assert caught["tick_size"] == feed.counts["off_tick"]
    assert caught["crossed"] == feed.counts["crossed"]
    assert caught["future"] == feed.counts["future"]
    assert caught["range"] == feed.counts["inverted"] + feed.counts["tenfold"]


def test_the_specification_of_a_command_line_is_read():
    assert Chaos.parse("stall=1%:3s,duplicate=0.5%,reorder=1%,drop=1%,bad_tick=0.1%") == Chaos(
        stall=0.01, stall_ms=3_000, duplicate=0.005, reorder=0.01, drop=0.01, bad_tick=0.001
    )
    assert Chaos.parse("stall=100%:1500ms") == Chaos(stall=1.0, stall_ms=1_500)
    assert Chaos.parse(" drop=2% , stall=1%") == Chaos(drop=0.02, stall=0.01)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "expected one of stall, duplicate, reorder, drop, bad_tick, got ''"),
        ("drops=1%", "got 'drops'; did you mean drop?"),
        ("drop=1", "drop: expected a share from 0% to 100%, got '1'"),
        ("drop", "drop: expected a share from 0% to 100%, got ''"),
        ("drop=101%", "drop: expected a share from 0% to 100%, got '101%'"),
        ("drop=-1%", "drop: expected a share from 0% to 100%, got '-1%'"),
        ("drop=nan%", "drop: expected a share from 0% to 100%, got 'nan%'"),
        ("drop=1%:3s", "drop: expected a share such as 1%, got '1%:3s'"),
        ("stall=1%:", "stall: expected a time such as 3s or 500ms after the colon, got ''"),
        ("stall=1%:3", "stall: expected a time such as 3s or 500ms after the colon, got '3'"),
        ("stall=1%:0s", "stall: expected a time such as 3s or 500ms after the colon, got '0s'"),
        ("drop=1%,drop=2%", "expected drop once, got it again as 'drop=2%'"),
        ("drop=1%,,", "expected one of"),
    ],
)
def test_a_wrong_specification_names_the_part_and_what_was_expected(text, complaint):
    with pytest.raises(BadConfig) as refused:
        Chaos.parse(text)
    assert complaint in refused.value.detail
    assert refused.value.field == "chaos"
