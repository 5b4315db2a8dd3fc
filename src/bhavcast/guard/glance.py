"""The fast path: one look that believes an ordinary tick, and leaves every other one to the rules.

It is stricter than the rules, never laxer: what it lets pass, no rule would have objected to, and a property test holds
it to that. Only the types of values it takes on trust, as far as they do not trip it: they are the adapters' contract.
It costs a tenth of the rules, which is what makes a guard affordable on every tick.
"""

from itertools import pairwise
from typing import Any

from bhavcast.domain import field
from bhavcast.domain.tick import Tick
from bhavcast.guard.rules import JUMP_PERCENT, VALUE_PERCENT, VALUE_ROUNDING, Memory

_PRICE, _OPEN, _HIGH, _LOW = field.CURRENT_PRICE, field.OPEN, field.HIGH, field.LOW
_CLOSE, _FINAL, _AVERAGE = field.PREVIOUS_CLOSE, field.CLOSE_PRICE, field.AVERAGE_PRICE
_VOLUME, _VALUE, _TRADES, _TRADED_AT = field.VOLUME, field.VALUE, field.TRADES, field.LAST_TRADE_TIME
_BID, _ASK, _BIDS, _ASKS = field.BID_PRICE, field.ASK_PRICE, field.BIDS, field.ASKS
_LOWER, _UPPER = field.LOWER_CIRCUIT, field.UPPER_CIRCUIT
_INDICATIVE, _REFERENCE = field.INDICATIVE_PRICE, field.REFERENCE_PRICE
_YEAR_HIGH, _YEAR_LOW = field.YEAR_HIGH, field.YEAR_LOW
_SELDOM = frozenset((_INDICATIVE, _FINAL, _REFERENCE, _YEAR_HIGH, _YEAR_LOW))


def glance(tick: Tick, memory: Memory, horizon: int) -> bool:
    """Remember a tick in which nothing is out of the ordinary and return True; else return False and change nothing.

    `horizon` is the latest stamp that is believed. Whatever is rare (a new open, other limits, a locked or crossed
    book, a falling volume) is answered False, though a rule may well allow it.

    Raises:
        TypeError: a field that is seldom cleared is None, or a value has not the type of its field: ask the rules.
        ValueError: a level of the book has not three parts.
    """
    time = tick.time
    if not memory.time < time <= horizon and (time != memory.time or tick.values == memory.values):
        return False
    if time >= memory.until:
        return False
    get: Any = tick.values.get
    lower, upper, step = memory.lower, memory.upper, memory.step
    if get(_LOWER, lower) != lower or get(_UPPER, upper) != upper:
        return False

    high, low = get(_HIGH), get(_LOW)
    if high is not None:
        if low is None or low > high or low < 1 or low % step or high % step:
            return False
    elif low is not None:
        return False
    price = get(_PRICE)
    if price is not None:
        if price < lower or price > upper or price % step:
            return False
        if high is not None and (price > high or price < low):
            return False
        if not memory.banded:
            last = memory.price
            if last is not None and abs(price - last) * 100 > last * JUMP_PERCENT:
                return False
        elif memory.lower_tried > 1:
            return False
    opening = get(_OPEN)
    if opening is not None and (opening != memory.open or (high is not None and (opening > high or opening < low))):
        return False
    close = get(_CLOSE)
    if close is not None and (close != memory.close or close < 1):
        return False

    volume, value, trades = get(_VOLUME), get(_VALUE), get(_TRADES)
    if volume is not None and volume < memory.volume:
        return False
    if trades is not None and trades < memory.trades:
        return False
    if value is not None:
        if value < memory.value:
            return False
        if volume and high is not None and (unit := memory.unit):
            slack = VALUE_ROUNDING + value * VALUE_PERCENT // 100
            if (value + slack) * unit < low * volume or (value - slack) * unit > high * volume:
                return False

    bid, ask = get(_BID), get(_ASK)
    if bid is not None and (bid < lower or bid > upper or bid % step):
        return False
    if ask is not None and (ask < lower or ask > upper or ask % step or (bid is not None and bid > ask)):
        return False
    bids, asks = get(_BIDS), get(_ASKS)
    if bids:
        if bid is not None and bids[0][0] != bid:
            return False
        if len(bids) == 5:  # as nearly always: one comparison for all
            (a, _, _), (b, _, _), (c, _, _), (d, _, _), (e, _, _) = bids
            if not upper >= a > b > c > d > e >= lower or a % step or b % step or c % step or d % step or e % step:
                return False
        elif not _rises([-price for price, _, _ in bids], -upper, -lower, step):
            return False
    if asks:
        if (ask is not None and asks[0][0] != ask) or (bids and bids[0][0] > asks[0][0]):
            return False
        if len(asks) == 5:
            (a, _, _), (b, _, _), (c, _, _), (d, _, _), (e, _, _) = asks
            if not lower <= a < b < c < d < e <= upper or a % step or b % step or c % step or d % step or e % step:
                return False
        elif not _rises([price for price, _, _ in asks], lower, upper, step):
            return False

    if get(_TRADED_AT, 0) > horizon or get(_AVERAGE, 1) < 1:
        return False
    if not tick.values.keys().isdisjoint(_SELDOM) and not _seldom(get, step):
        return False

    memory.time = time
    memory.values = tick.values
    if price is not None:
        memory.price = price
    if volume is not None:
        memory.volume = volume
    if value is not None:
        memory.value = value
    if trades is not None:
        memory.trades = trades
    return True


def _rises(prices: list[int], least: int, most: int, step: int) -> bool:
    """Whether prices lie between the limits, each above the one before, all on the tick."""
    return (
        least <= prices[0]
        and prices[-1] <= most
        and all(before < price for before, price in pairwise(prices))
        and not any(price % step for price in prices)
    )


def _seldom(get: Any, step: int) -> bool:
    """Whether the prices that few ticks carry are prices."""
    indicative: int = get(_INDICATIVE, step)
    computed = min(get(_FINAL, 1), get(_REFERENCE, 1), get(_YEAR_HIGH, 1), get(_YEAR_LOW, 1))
    return indicative > 0 and indicative % step == 0 and bool(computed > 0)
