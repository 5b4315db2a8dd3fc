"""The rules by which a tick is believed, as one table; documentation is generated from it.

A rule compares a tick with itself, with its scrip, and with what the same source said of the same scrip on the same
trading date. It never compares two fields of which only one came with the tick: a source that speaks in differences,
and lost one, would be punished for its own repair.

Constants carry a mark: K is known from the exchange's documents, A is assumed here and named so that it can be argued.
"""

import datetime
from collections.abc import Callable
from enum import Enum
from itertools import pairwise
from typing import Final, NamedTuple

from bhavcast.domain import field
from bhavcast.domain.field import Ladder, Values
from bhavcast.domain.instrument import Instrument, InstrumentKind
from bhavcast.domain.price import band_limits, format_price
from bhavcast.domain.tick import Tick

CANARY: Final = "000000"  # symbol of the heartbeat that travels as a tick; exempt from every rule
FUTURE_MS: Final = 5_000  # ms a stamp may be ahead of market time: clocks differ (A)
JUMP_PERCENT: Final = 20  # per cent from one trade to the next where no band is known (A)
JUMP_TICKS: Final = 4  # ticks that are never a spike, whatever per cent of a very low price they are (A)
CANCELLED_PERCENT: Final = 10  # per cent of the day's volume or value that cancelled trades may take back (A)
CANCELLED_TRADES: Final = 5  # trades that may be cancelled at once, however few there were (A)
VALUE_PERCENT: Final = 5  # per cent by which turnover may leave the day's range: block deals are off it by 3 (A)
VALUE_ROUNDING: Final = 10_000_000  # paise: sources round turnover to a lakh of rupees (K: the multicast's flag "l")
ROLL_MS: Final = 8 * 3_600_000  # ms after midnight IST at which a trading date begins (K: our own day roll)
IST_MS: Final = 19_800_000  # ms that IST is ahead of UTC (K)
DAY_MS: Final = 86_400_000  # ms in a day (K)
LOWEST: Final = 1  # the lower limit of a scrip that has none
HIGHEST: Final = 1 << 62  # the upper limit of a scrip that has none

# Prices that trading makes, hence on the tick. Closes, averages and reference prices are computed, hence anywhere.
TRADED: Final = (field.CURRENT_PRICE, field.OPEN, field.HIGH, field.LOW, field.BID_PRICE, field.ASK_PRICE)
COMPUTED: Final = (
    field.PREVIOUS_CLOSE,
    field.CLOSE_PRICE,
    field.AVERAGE_PRICE,
    field.LOWER_CIRCUIT,
    field.UPPER_CIRCUIT,
    field.INDICATIVE_PRICE,
    field.REFERENCE_PRICE,
    field.YEAR_HIGH,
    field.YEAR_LOW,
)
# Orders outside the limits are refused, so these lie inside. The day's range may not: flexing moves both limits.
LIMITED: Final = (field.CURRENT_PRICE, field.BID_PRICE, field.ASK_PRICE)
_NUMBERS: Final = range(field.COUNT)
BOOK: Final = (field.BID_PRICE, field.ASK_PRICE, *field.LADDERS)

EVERY_KIND: Final[frozenset[InstrumentKind]] = frozenset(("EQ", "MF", "DB", "GS", "IDX"))
SCRIPS: Final[frozenset[InstrumentKind]] = EVERY_KIND - {"IDX"}
# Debt pays accrued interest on top of a clean price, so its turnover does not follow from prices.
SHARES: Final[frozenset[InstrumentKind]] = frozenset(("EQ", "MF"))


_TOTALS: Final = (("open", field.OPEN), ("volume", field.VOLUME), ("value", field.VALUE), ("trades", field.TRADES))


class Memory:
    """What one source last said, and was believed, of one scrip on one trading date."""

    __slots__ = (
        "banded",
        "close",
        "instrument",
        "lower",
        "lower_tried",
        "open",
        "price",
        "step",
        "suspicions",
        "time",
        "trades",
        "unit",
        "until",
        "upper",
        "value",
        "values",
        "volume",
    )

    def __init__(self, instrument: Instrument, at: int, close: int | None) -> None:
        self.instrument = instrument
        self.time = (at + IST_MS - ROLL_MS) // DAY_MS * DAY_MS - IST_MS + ROLL_MS
        self.until = self.time + DAY_MS
        self.values: Values = {}
        self.price: int | None = None
        self.open: int | None = None
        self.close = close
        self.volume = self.value = self.trades = 0
        self.step = 1 if instrument.is_index else instrument.tick
        # Limits in force, and whether there are any: first the master's band on the previous close, then the ticks'.
        self.lower, self.upper, self.banded = LOWEST, HIGHEST, False
        # The master's lower limit is put to use only when a price of today has been above it: on an ex-date the
        # source's previous close may not be adjusted, and then the whole band is not of today.
        self.lower_tried = LOWEST
        # What a paisa of turnover is in units of price: 1, or more where prices are finer; 0 where turnover does not follow from prices.
        self.unit = 10 ** (instrument.scale - 2) if instrument.kind in SHARES else 0
        self.suspicions: dict[str, Suspicion] | None = None
        self._derive()

    def _derive(self) -> None:
        band, close = self.instrument.band, self.close
        if band is None or close is None or close <= 0 or self.instrument.is_index:
            return
        self.lower_tried, self.upper = band_limits(close, band, self.step)
        self.banded = True

    def remember(self, tick: Tick) -> None:
        """Take a believed tick's values as the ones to compare the next with."""
        values = tick.values
        self.time = max(tick.time, self.time)
        self.values = values
        close = number(values, field.PREVIOUS_CLOSE)
        if close is not None and close != self.close:
            self.close = close
            if self.price is None:
                self.lower, self.upper, self.banded = LOWEST, HIGHEST, False
                self._derive()
        if field.LOWER_CIRCUIT in values or field.UPPER_CIRCUIT in values:
            self.lower = number(values, field.LOWER_CIRCUIT, self.lower) or LOWEST
            self.upper = number(values, field.UPPER_CIRCUIT, self.upper) or HIGHEST
            self.banded = self.upper != HIGHEST or self.lower != LOWEST
            self.lower_tried = LOWEST
        price = number(values, field.CURRENT_PRICE)
        if price is not None:
            if self.lower_tried != LOWEST:
                self._try_lower(price)
            self.price = price
        for name, which in _TOTALS:
            total = number(values, which)
            if total is not None:
                setattr(self, name, total)

    def _try_lower(self, price: int) -> None:
        if price >= self.lower_tried:
            self.lower = self.lower_tried
        else:
            self.lower, self.upper, self.banded = LOWEST, HIGHEST, False
        self.lower_tried = LOWEST


class Finding(NamedTuple):
    """What a rule objects to: the field, what was expected of it, and what came."""

    field: int
    expected: str
    came: int


class Suspicion(NamedTuple):
    """A claim that was not believed: how often it was heard in a row, first and last (market time, ms)."""

    field: int
    came: int
    times: int
    since: int
    heard: int


class Sight(NamedTuple):
    """All that a rule may look at."""

    tick: Tick
    values: Values
    instrument: Instrument
    memory: Memory
    received: int

    def text(self, price: int) -> str:
        """Write a price of this scrip in rupees."""
        return format_price(price, self.instrument.scale)


class Correction(Enum):
    """When a claim that is repeated counts as the same claim, and is believed in the end."""

    NEVER = "never believed, however often it is repeated"
    SAME = "the same value again"
    ANY = "any value that breaks the same rule again: then the rule is wrong about this scrip"
    NEAR = "a value that would be no jump from the last claim"
    RISING = "a value not below the last claim"


class Rule(NamedTuple):
    """One rule: `when` and `reason` are for people, `kinds` and `continuous` for the guard.

    `continuous`: judge only in continuous trading. `reason` is a template of {field}, {expected} and {came}.
    """

    name: str
    when: str
    kinds: frozenset[InstrumentKind]
    continuous: bool
    check: Callable[[Sight], Finding | None]
    correction: Correction
    reason: str = "{field}: expected {expected}, got {came}"


def number(values: Values, which: int, otherwise: int | None = None) -> int | None:
    """Return a field's integer; `otherwise` if the tick does not speak of it, None if it says there is no value."""
    value = values.get(which, otherwise)
    return value if isinstance(value, int) else None


def ladder(values: Values, which: int) -> Ladder:
    """Return a side of the book, empty if there is none."""
    value = values.get(which)
    return value if isinstance(value, tuple) else ()


def _form(sight: Sight) -> Finding | None:
    for which, value in sight.values.items():
        if which not in _NUMBERS:
            return Finding(field.TIMESTAMP, "numbers of fields", which)
        if value is None or (type(value) is int and which not in field.LADDERS):
            continue
        if isinstance(value, str) and field.FIELDS[which].kind is field.Kind.TEXT:
            continue
        if which not in field.LADDERS or not isinstance(value, tuple) or not all(_is_level(level) for level in value):
            return Finding(which, "a whole number, or a ladder of (price, quantity, orders)", 0)
    return None


def _is_level(level: object) -> bool:
    return isinstance(level, tuple) and len(level) == 3 and all(type(number) is int for number in level)


def _future(sight: Sight) -> Finding | None:
    horizon = sight.received + FUTURE_MS
    if sight.tick.time > horizon:
        return Finding(field.TIMESTAMP, f"at most {_clock(horizon)}", sight.tick.time)
    traded = number(sight.values, field.LAST_TRADE_TIME)
    if traded is not None and traded > horizon:
        return Finding(field.LAST_TRADE_TIME, f"at most {_clock(horizon)}", traded)
    return None


def _positive(sight: Sight) -> Finding | None:
    for which in (*TRADED, *COMPUTED):
        price = number(sight.values, which)
        if price is not None and price < (0 if which in BOOK else 1):
            return Finding(which, "a price above 0", price)
    for side in field.LADDERS:
        for price, _, _ in ladder(sight.values, side):
            if price < 0:
                return Finding(side, "a price above 0", price)
    return None


def _priced_orders(sight: Sight) -> Finding | None:
    for which in (field.BID_PRICE, field.ASK_PRICE):
        if number(sight.values, which) == 0:
            return Finding(which, "a price above 0", 0)
    for side in field.LADDERS:
        if any(price == 0 for price, _, _ in ladder(sight.values, side)):
            return Finding(side, "a price above 0", 0)
    return None


def _tick_size(sight: Sight) -> Finding | None:
    step = sight.memory.step
    for which in (*TRADED, field.INDICATIVE_PRICE):
        price = number(sight.values, which)
        if price is not None and price % step:
            return Finding(which, f"a multiple of {sight.text(step)}", price)
    for side in field.LADDERS:
        for price, _, _ in ladder(sight.values, side):
            if price % step:
                return Finding(side, f"a multiple of {sight.text(step)}", price)
    return None


def limits(sight: Sight) -> tuple[int, int]:
    """Return the circuit limits in force: the tick's own, else its source's, else the master's band."""
    lower = number(sight.values, field.LOWER_CIRCUIT, sight.memory.lower) or LOWEST
    upper = number(sight.values, field.UPPER_CIRCUIT, sight.memory.upper) or HIGHEST
    return lower, upper


def _limits_order(sight: Sight) -> Finding | None:
    lower, upper = limits(sight)
    if lower > upper:
        return Finding(field.UPPER_CIRCUIT, f"at least the lower limit {sight.text(lower)}", upper)
    return None


def _circuit(sight: Sight) -> Finding | None:
    lower, upper = limits(sight)
    expected = f"{sight.text(lower)} to {'any' if upper == HIGHEST else sight.text(upper)}"
    for which in LIMITED:
        price = number(sight.values, which)
        if price and not lower <= price <= upper and not _untraded(sight, which):
            return Finding(which, expected, price)
    for side in field.LADDERS:
        for price, _, _ in ladder(sight.values, side):
            if price and not lower <= price <= upper:
                return Finding(side, expected, price)
    return None


def _untraded(sight: Sight, which: int) -> bool:
    """Whether a last price can only be that of another day, before an ex-date perhaps: nothing traded yet."""
    return which == field.CURRENT_PRICE and number(sight.values, field.VOLUME) == 0


def _jump(sight: Sight) -> Finding | None:
    price, last = number(sight.values, field.CURRENT_PRICE), sight.memory.price
    if price is None or last is None or limits(sight) != (LOWEST, HIGHEST):
        return None
    if near(price, last, sight.memory.step):
        return None
    return Finding(field.CURRENT_PRICE, f"within {JUMP_PERCENT} % of {sight.text(last)}", price)


def near(price: int, last: int, step: int) -> bool:
    """Whether a trade at `price` after one at `last` is no jump."""
    distance = abs(price - last)
    return distance * 100 <= last * JUMP_PERCENT or distance <= JUMP_TICKS * step


def _range(sight: Sight) -> Finding | None:
    high, low = number(sight.values, field.HIGH), number(sight.values, field.LOW)
    if high is not None and low is not None and high < low:
        return Finding(field.HIGH, f"at least the low {sight.text(low)}", high)
    for which in (field.CURRENT_PRICE, field.OPEN):
        price = number(sight.values, which)
        if price is None or _untraded(sight, which):
            continue
        if high is not None and price > high:
            return Finding(which, f"at most the high {sight.text(high)}", price)
        if low is not None and price < low:
            return Finding(which, f"at least the low {sight.text(low)}", price)
    return None


def _crossed(sight: Sight) -> Finding | None:
    bid, ask = number(sight.values, field.BID_PRICE), number(sight.values, field.ASK_PRICE)
    if bid and ask and bid > ask:
        return Finding(field.BID_PRICE, f"at most the ask {sight.text(ask)}", bid)
    bids, asks = ladder(sight.values, field.BIDS), ladder(sight.values, field.ASKS)
    if bids and asks and bids[0][0] > asks[0][0]:
        return Finding(field.BIDS, f"at most the ask {sight.text(asks[0][0])}", bids[0][0])
    return None


def _ladder_order(sight: Sight) -> Finding | None:
    for side, top, sign, word in (
        (field.BIDS, field.BID_PRICE, -1, "below"),
        (field.ASKS, field.ASK_PRICE, 1, "above"),
    ):
        levels = ladder(sight.values, side)
        best = number(sight.values, top)
        if levels and best is not None and levels[0][0] != best:
            return Finding(side, f"the best price {sight.text(best)} on top", levels[0][0])
        for (before, _, _), (price, _, _) in pairwise(levels):
            if (price - before) * sign <= 0:
                return Finding(side, f"a price {word} {sight.text(before)}", price)
    return None


def _falling(sight: Sight) -> Finding | None:
    memory = sight.memory
    trades = number(sight.values, field.TRADES)
    cancelled = trades is not None and trades < memory.trades
    slack = max(CANCELLED_TRADES, memory.trades * CANCELLED_PERCENT // 100)
    if trades is not None and trades < max(0, memory.trades - slack):
        return Finding(field.TRADES, f"at least {memory.trades - slack}", trades)
    if trades is not None and trades < 0:
        return Finding(field.TRADES, "at least 0", trades)
    for which, last in ((field.VOLUME, memory.volume), (field.VALUE, memory.value)):
        total = number(sight.values, which)
        least = 0 if cancelled else last - last * CANCELLED_PERCENT // 100
        if total is not None and total < least:
            return Finding(which, f"at least {least}", total)
    return None


def _turnover(sight: Sight) -> Finding | None:
    values = sight.values
    value, volume = number(values, field.VALUE), number(values, field.VOLUME)
    high, low = number(values, field.HIGH), number(values, field.LOW)
    if value is None or not volume or high is None or low is None:
        return None
    unit = sight.memory.unit  # `value` is in paise, prices may be finer
    slack = VALUE_ROUNDING + value * VALUE_PERCENT // 100
    least, most = low * volume // unit - slack, high * volume // unit + slack
    if least <= value <= most:
        return None
    return Finding(field.VALUE, f"{format_price(max(least, 0))} to {format_price(most)} for {volume} shares", value)


def _clock(at_ms: int) -> str:
    ist = datetime.timezone(datetime.timedelta(milliseconds=IST_MS))
    return datetime.datetime.fromtimestamp(at_ms / 1000, ist).isoformat(timespec="milliseconds")


UNKNOWN_SYMBOL: Final = "unknown_symbol"  # the one rule that cannot look at a scrip, for there is none

RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "form",
        "always",
        EVERY_KIND,
        False,
        _form,
        Correction.NEVER,
        "{field}: expected {expected}",
    ),
    Rule(
        "future",
        "always",
        EVERY_KIND,
        False,
        _future,
        Correction.NEVER,
    ),
    Rule(
        "positive",
        "always; a price of 0 in the book is a market order and is left to `priced_orders`",
        EVERY_KIND,
        False,
        _positive,
        Correction.NEVER,
    ),
    Rule(
        "priced_orders",
        "in continuous trading: only call auctions show market orders",
        SCRIPS,
        True,
        _priced_orders,
        Correction.NEVER,
    ),
    Rule(
        "tick_size",
        "always, by the tick of the master, which counts for no official day; closes, averages and reference prices are computed and exempt",
        SCRIPS,
        False,
        _tick_size,
        Correction.ANY,
    ),
    Rule(
        "limits",
        "always",
        SCRIPS,
        False,
        _limits_order,
        Correction.NEVER,
    ),
    Rule(
        "circuit",
        "where limits are known: the tick's own win over its source's earlier ones, and those over the master's band; "
        "the master's lower limit counts once a price of the day was above it, for an ex-date may have moved it; for an "
        "official day the master's band does not count",
        SCRIPS,
        False,
        _circuit,
        Correction.NEAR,
    ),
    Rule(
        "range",
        "where high or low come in the same tick, and something has traded",
        EVERY_KIND,
        False,
        _range,
        Correction.SAME,
    ),
    Rule(
        "jump",
        "where no limits are known and the source gave a last price today",
        EVERY_KIND,
        False,
        _jump,
        Correction.NEAR,
    ),
    Rule(
        "crossed",
        "in continuous trading, where both sides come in the same tick",
        SCRIPS,
        True,
        _crossed,
        Correction.SAME,
    ),
    Rule(
        "ladder",
        "in continuous trading: bids fall, asks rise, and the top is the best price of the same tick",
        SCRIPS,
        True,
        _ladder_order,
        Correction.SAME,
    ),
    Rule(
        "falling",
        "against the same source on the same date; cancelled trades may take back a bounded part",
        SCRIPS,
        False,
        _falling,
        Correction.RISING,
    ),
    Rule(
        "turnover",
        "shares and funds, where value, volume, high and low come in the same tick",
        SHARES,
        False,
        _turnover,
        Correction.SAME,
    ),
)
