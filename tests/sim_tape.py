"""Watch a simulated market as a careful reader would, and note everything that is wrong with what it says."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date, time
from typing import Any

from bhavcast.domain import field
from bhavcast.domain.calendar import Calendar, at_ist
from bhavcast.domain.field import Ladder
from bhavcast.domain.price import divide_half_up
from bhavcast.domain.session import CALL_AUCTION_PHASES, class_of
from bhavcast.domain.tick import Tick
from bhavcast.domain.universe import Universe
from bhavcast.feeds.sim.market import Market
from bhavcast.reference.builtin import universe as builtin

CALENDAR = Calendar.builtin()
OLD_RULES = date(2026, 7, 15)
NEW_RULES = date(2026, 11, 23)
MINUTE = 60_000
Row = dict[int, Any]  # each value of the type that the table of fields says
NOT_A_FEEDS = (
    field.CHANGE,
    field.PERCENT_CHANGE,
    field.PHASE,
    field.STATE,
    field.MODE,
    field.SOURCE,
    field.GRADE,
    field.PERIOD_MS,
    field.TIMESTAMP,
)
PRICES = (
    field.CURRENT_PRICE,
    field.OPEN,
    field.HIGH,
    field.LOW,
    field.CLOSE_PRICE,
    field.PREVIOUS_CLOSE,
    field.BID_PRICE,
    field.ASK_PRICE,
    field.LOWER_CIRCUIT,
    field.UPPER_CIRCUIT,
    field.INDICATIVE_PRICE,
    field.REFERENCE_PRICE,
)


def at(day: date, hour: int, minute: int = 0, second: int = 0) -> int:
    return at_ist(day, time(hour, minute, second))


def market(scrips: int = 60, *, seed: int = 7, rate: float = 100.0) -> Market:
    return Market(builtin(scrips, 1), CALENDAR, seed=seed, rate=rate)


class Tape:
    """The rows that the ticks make, and the complaints about them. `exact`: every trade is told, none is summed up."""

    def __init__(self, universe: Universe, market: Market, *, exact: bool = True) -> None:
        self.universe = universe
        self.market = market
        self.exact = exact
        self.rows: dict[str, Row] = defaultdict(dict)
        self.complaints: list[str] = []
        self.count = 0
        self.volume: Counter[int] = Counter()  # shares by minute of the Unix epoch
        self.ticks: Counter[int] = Counter()
        self.phases: Counter[str] = Counter()
        self.last: dict[str, dict[int, int]] = defaultdict(dict)  # symbol → minute → last price
        self.index_seconds: Counter[tuple[str, int]] = Counter()
        self._time = 0

    def take(self, ticks: Iterable[Tick]) -> None:
        for tick in ticks:
            self.count += 1
            self._check(tick.time >= self._time, tick, "time went back")
            self._time = tick.time
            row = self.rows[tick.symbol]
            before = dict(row)
            row.update(tick.values)
            self._check(not any(number in tick.values for number in NOT_A_FEEDS), tick, "says what the board derives")
            if tick.symbol.startswith("IDX:"):
                self._index(tick, row)
            else:
                self._scrip(tick, before, row)

    def _check(self, good: bool, tick: Tick, complaint: str) -> None:
        if not good and len(self.complaints) < 20:
            self.complaints.append(f"{complaint}: {tick}, row {self.rows[tick.symbol]}")

    def _index(self, tick: Tick, row: Row) -> None:
        if field.CURRENT_PRICE not in tick.values:
            return
        self.index_seconds[tick.symbol, tick.time // 1000] += 1
        basis = next(basis for basis in self.universe.indices if basis.symbol == tick.symbol)
        prices = {symbol: self._price(symbol) for symbol in basis.members}
        now = basis.value(basis.cap(prices))
        self._check(tick.values[field.CURRENT_PRICE] == now, tick, f"not the formula's {now}")
        self._check(row[field.LOW] <= now <= row[field.HIGH], tick, "outside its range")
        self.last[tick.symbol][tick.time // MINUTE] = now

    def _price(self, symbol: str) -> int:
        row = self.rows[symbol]
        price = row.get(field.CURRENT_PRICE) or row.get(field.PREVIOUS_CLOSE) or self.universe.closes[symbol]
        assert isinstance(price, int)
        return price

    def _scrip(self, tick: Tick, before: Row, row: Row) -> None:
        instrument = self.universe.instruments[tick.symbol]
        values: Row = dict(tick.values)
        planned = CALENDAR.phase(class_of(instrument), tick.time)
        phase = self.market.phase_override(tick.time) or planned
        self.phases[phase] += 1
        self.ticks[tick.time // MINUTE] += 1
        on_tick = all((values.get(number) or 0) % instrument.tick == 0 for number in PRICES)
        self._check(on_tick, tick, "off the tick")
        self._book(tick, row, crossed=phase in CALL_AUCTION_PHASES)
        if field.VOLUME in values:
            self._trade(tick, before, row)

    def _book(self, tick: Tick, row: Row, *, crossed: bool) -> None:
        bids = self._side(tick, row, (field.BIDS, field.BID_PRICE, field.BID_QUANTITY, field.TOTAL_BID_QUANTITY))
        asks = self._side(tick, row, (field.ASKS, field.ASK_PRICE, field.ASK_QUANTITY, field.TOTAL_ASK_QUANTITY))
        prices = [held[0] for held in bids]
        self._check(prices == sorted(set(prices), reverse=True), tick, "bids out of order")
        prices = [held[0] for held in asks]
        self._check(prices == sorted(set(prices)), tick, "asks out of order")
        if bids and asks and not crossed:
            self._check(bids[0][0] < asks[0][0], tick, "crossed")
        lower, upper = row[field.LOWER_CIRCUIT], row[field.UPPER_CIRCUIT]
        for price, shares, orders in (*bids, *asks):
            self._check(lower <= price <= upper, tick, "outside its limits")
            lot = self.universe.instruments[tick.symbol].lot
            self._check(shares > 0 and shares % lot == 0 and 0 < orders <= shares, tick, "an odd level")

    def _side(self, tick: Tick, row: Row, fields: tuple[int, int, int, int]) -> Ladder:
        ladder, price, shares, total = (row.get(number) for number in fields)
        if not ladder:
            self._check(ladder is None and price is None and shares is None and total is None, tick, "half a side")
            return ()
        assert isinstance(ladder, tuple)
        assert isinstance(total, int)
        self._check(len(ladder) <= 5 and (price, shares) == ladder[0][:2], tick, "best is not the ladder's")
        self._check(total >= sum(held[1] for held in ladder), tick, "total less than the ladder")
        return ladder

    def _trade(self, tick: Tick, before: Row, row: Row) -> None:
        new = {number: value for number, value in row.items() if isinstance(value, int)}
        old = {number: value for number, value in before.items() if isinstance(value, int)}
        last, volume = new[field.CURRENT_PRICE], new[field.VOLUME]
        shares = volume - old.get(field.VOLUME, 0)
        self._check(new[field.LOW] <= last <= new[field.HIGH], tick, "last outside the day's range")
        self._check(new[field.LOW] <= new[field.OPEN] <= new[field.HIGH], tick, "open outside the day's range")
        self._check(new[field.AVERAGE_PRICE] == divide_half_up(new[field.VALUE], volume), tick, "average is not")
        self._check(new[field.LOW] <= new[field.AVERAGE_PRICE] <= new[field.HIGH], tick, "average outside the range")
        self._check(new[field.LOWER_CIRCUIT] <= last <= new[field.UPPER_CIRCUIT], tick, "traded outside its limits")
        self._check(new[field.TRADES] <= volume, tick, "more trades than shares")
        self._check(tick.time - new[field.LAST_TRADE_TIME] >= 0, tick, "traded in the future")
        self._check(new[field.LAST_QUANTITY] <= volume, tick, "last quantity above the day's")
        self._check(new[field.HIGH] <= new[field.YEAR_HIGH], tick, "above the year's high")
        self._check(new[field.LOW] >= new[field.YEAR_LOW], tick, "below the year's low")
        if self.exact and shares:
            self._check(shares > 0 and new[field.TRADES] > old.get(field.TRADES, 0), tick, "volume went back")
            added = new[field.VALUE] - old.get(field.VALUE, 0)
            self._check(added == shares * last, tick, "turnover does not add up")
            first = old.get(field.OPEN, last)
            self._check(new[field.OPEN] == first, tick, "the open changed")
            self._check(new[field.HIGH] == max(last, old.get(field.HIGH, last)), tick, "the high is not the highest")
        self.volume[tick.time // MINUTE] += shares
        self.last[tick.symbol][tick.time // MINUTE] = last
