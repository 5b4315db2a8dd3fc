"""The guard over sequences: legal markets pass untouched, and whatever is bent is caught or does no harm."""

import copy
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bhavcast.domain import field as f
from bhavcast.domain.field import Values
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.tick import Batch, Source, Tick
from bhavcast.guard.glance import glance
from bhavcast.guard.guard import Guard
from bhavcast.guard.rules import FUTURE_MS, RULES, Memory, Sight

NOON = 1_763_965_800_000  # Mon 24 Nov 2025 12:00 IST
FEED = Source("feed", "real", "tick")
SCRIPS = {
    "500001": Instrument(symbol="500001", id="A", name="A"),
    "500002": Instrument(symbol="500002", id="B", name="B", tick=1, band=20),
    "500003": Instrument(symbol="500003", id="C", name="C", group="F", kind="DB", scale=4, tick=100),
    "500004": Instrument(symbol="500004", id="D", name="D", band=5),
}


def legal(symbol: str, seed: int, count: int, *, whole: bool) -> Iterator[Tick]:
    """Yield a scrip's lawful ticks in continuous trading: whole quotes, or only what a source thought worth saying."""
    chance = random.Random(seed)
    step = SCRIPS[symbol].tick
    band = SCRIPS[symbol].band or 20
    close = chance.randrange(2_000, 100_000) * step
    lower, upper = -(-close * (100 - band) // 100 // step) * step + step, close * (100 + band) // 100 // step * step
    price = high = low = opening = min(max(close + chance.randrange(-20, 21) * step, lower), upper)
    volume = value = trades = 0
    at = NOON
    unit = 10 ** (SCRIPS[symbol].scale - 2)
    for _ in range(count):
        at += chance.randrange(1, 3_000)
        price = min(max(price + chance.randrange(-4, 5) * step, lower), upper)
        high, low = max(high, price), min(low, price)
        quantity = chance.randrange(1, 500)
        volume, value, trades = volume + quantity, value + quantity * price // unit, trades + 1
        bids = tuple((price - n * step, chance.randrange(1, 99), 1) for n in range(1, 6) if price - n * step >= lower)
        asks = tuple((price + n * step, chance.randrange(1, 99), 1) for n in range(1, 6) if price + n * step <= upper)
        values: Values = {
            f.CURRENT_PRICE: price,
            f.OPEN: opening,
            f.HIGH: high,
            f.LOW: low,
            f.PREVIOUS_CLOSE: close,
            f.VOLUME: volume,
            f.VALUE: value,
            f.TRADES: trades,
            f.AVERAGE_PRICE: value * unit // volume or 1,
            f.LAST_QUANTITY: quantity,
            f.LAST_TRADE_TIME: at // 1_000 * 1_000,
            f.BID_PRICE: bids[0][0] if bids else None,
            f.ASK_PRICE: asks[0][0] if asks else None,
            f.BIDS: bids or None,
            f.ASKS: asks or None,
            f.LOWER_CIRCUIT: lower,
            f.UPPER_CIRCUIT: upper,
            f.YEAR_HIGH: upper,
            f.YEAR_LOW: lower,
        }
        if not whole:
            values = {number: value for number, value in values.items() if chance.random() < 0.5}
        yield Tick(symbol, at, values)


def guard() -> Guard:
    return Guard(SCRIPS.get, lambda instrument, at: "continuous")


symbols = st.sampled_from(sorted(SCRIPS))
numbers = st.one_of(st.none(), st.integers(-10, 10), st.integers(-(10**9), 10**12))
ladders = st.lists(st.tuples(st.integers(-5, 10**6), st.integers(0, 99), st.integers(0, 9)), max_size=6).map(tuple)


@st.composite
def bent(draw: st.DrawFn, values: Values) -> Values:
    """Change one to three fields of a lawful quote: a little, tenfold, to another field's value, to anything."""
    changed = dict(values)
    for number in draw(st.lists(st.sampled_from(range(f.OPEN, f.YEAR_LOW + 1)), min_size=1, max_size=3)):
        value = changed.get(number)
        others = [each for each in values.values() if isinstance(each, int)]
        ways = [numbers, st.sampled_from(others)] if others else [numbers]
        if isinstance(value, int):
            ways += [st.sampled_from([value * 10, value // 10, -value, value + 1, value - 1, 0])]
        changed[number] = draw(st.one_of(ways))
    if draw(st.booleans()):
        changed[draw(st.sampled_from(f.LADDERS))] = draw(ladders)
    return changed


@given(symbols, st.integers(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_a_lawful_sequence_passes_untouched(symbol, seed, whole):
    it = guard()
    for tick in legal(symbol, seed, 60, whole=whole):
        batch = Batch(FEED, tick.time, [tick])
        assert it.check(batch) is batch.ticks, it.quarantine.entries()[-1].reason
    assert it.late == it.duplicates == it.corrected == 0


@pytest.mark.slow
@given(st.data(), symbols, st.integers(0, 2**32), st.booleans())
@settings(max_examples=500, deadline=None)
def test_what_a_glance_lets_pass_no_rule_objects_to(data, symbol, seed, whole):
    *before, last = legal(symbol, seed, 4, whole=whole)
    memory = Memory(SCRIPS[symbol], NOON, None)
    for tick in before:
        memory.remember(tick)
    tick = Tick(symbol, last.time, data.draw(bent(last.values)))
    sight = Sight(tick, tick.values, memory.instrument, copy.copy(memory), tick.time)
    untouched = copy.copy(memory)
    try:
        plain = glance(tick, memory, tick.time + FUTURE_MS)
    except TypeError:
        plain = False
    if plain:
        assert [rule.name for rule in RULES if memory.instrument.kind in rule.kinds and rule.check(sight)] == []
        untouched.remember(tick)
        assert {name: getattr(memory, name) for name in Memory.__slots__} == {
            name: getattr(untouched, name) for name in Memory.__slots__
        }
    else:
        assert all(getattr(memory, name) == getattr(untouched, name) for name in Memory.__slots__)


@given(st.data(), symbols, st.integers(0, 2**32))
@settings(max_examples=300, deadline=None)
def test_a_bent_tick_is_caught_or_harmless_and_the_lawful_ones_after_it_pass(data, symbol, seed):
    ticks = list(legal(symbol, seed, 12, whole=True))
    it = guard()
    for tick in ticks[:6]:
        it.check(Batch(FEED, tick.time, [tick]))
    victim = ticks[6]
    values = data.draw(bent(victim.values))
    passed = it.check(Batch(FEED, victim.time, [Tick(symbol, victim.time, values)]))
    if passed:
        harmless(symbol, values, victim.values)
    else:
        for tick in ticks[7:]:
            assert it.check(Batch(FEED, tick.time, [tick])) == [tick], it.quarantine.entries()[-1].reason


def harmless(symbol: str, values: Values, lawful: Values) -> None:
    """Hold a quote that was believed to what every reader counts on."""
    step = SCRIPS[symbol].tick

    def of(number: int) -> int | None:
        value = values.get(number)
        return value if isinstance(value, int) else None

    price, high, low, bid, ask = (of(number) for number in (f.CURRENT_PRICE, f.HIGH, f.LOW, f.BID_PRICE, f.ASK_PRICE))
    lower = of(f.LOWER_CIRCUIT) or 1
    upper = of(f.UPPER_CIRCUIT) or 1 << 62
    for each in (price, bid, ask):
        if each is not None and not (each == price and of(f.VOLUME) == 0):
            assert lower <= each <= upper
            assert each % step == 0
    assert all(each is None or each > 0 for each in (price, high, low, of(f.OPEN), of(f.PREVIOUS_CLOSE)))
    if of(f.VOLUME) != 0 and price is not None:
        assert high is None or price <= high
        assert low is None or low <= price
    assert bid is None or ask is None or bid <= ask
    volume, before = of(f.VOLUME), lawful[f.VOLUME]
    assert isinstance(before, int)
    assert volume is None or volume >= 0
