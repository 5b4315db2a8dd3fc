"""One scrip in the simulated market: its character, its day so far, its book, and the ticks that tell of them."""

import math
from typing import Final

from bhavcast.domain import field
from bhavcast.domain.field import Ladder, Values
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.price import band_limits, ceil_to_tick, divide_half_up, floor_to_tick, nearest_tick
from bhavcast.domain.tick import Tick
from bhavcast.feeds.sim.auction import Auction
from bhavcast.feeds.sim.book import asks_at, bids_at, level, quantity
from bhavcast.feeds.sim.chance import NORMAL_BITS, NORMALS, SIZE_BITS, SIZE_MASK, SIZES
from bhavcast.feeds.sim.indices import IndexState
from bhavcast.feeds.sim.returns import OVERNIGHT, SESSION_MS, World

# A (the ratio of K: about 120 trades and 700 updates a second): the part of ticks that are trades, of 256.
TRADE_ODDS: Final = 48
# A: what one trade is worth, in paise (K: 8,887 crore rupees in 2.7 million trades on 7 May 2021).
TRADE_PAISE: Final = 33_000_00
# A: shares waiting on one level of the book, in trades.
DEPTH_TRADES: Final = 6
# A: shares waiting behind the five levels, as a part of those on them.
BEHIND: Final = 4
# A: a scrip without a fixed band may move this far; when it trades within a thousandth of the previous close of its
# limit, the limit gives way by five per cent more. (The exchange waits before it does; the simulator does not.)
DYNAMIC_BAND: Final = 10
FLEX: Final = 5
FLEX_NEAR: Final = 1000
# A: the closing auction takes orders within this many per cent of its reference price.
AUCTION_BAND: Final = 3
# A: orders of a call auction gather at prices this part of the previous close apart.
AUCTION_STEPS: Final = 1000

_SECOND: Final = 1000


class Scrip:
    """Prices are integers in the scrip's scale, `turnover` is price times quantity in that scale, times are ms.

    `base` and `drift` make the fair price: what the scrip is worth to those who trade it. The book follows it, trades
    happen in the book. `locked` is 1 at the upper circuit (nobody offers), -1 at the lower one (nobody bids).
    """

    __slots__ = (
        "ask", "ask_total", "asks", "auction", "base", "beta", "bid", "bid_total", "bids", "close", "depth",
        "drift", "gap", "half", "high", "indices", "instrument", "last", "last_quantity", "last_time", "locked",
        "lot", "low", "lower", "mark_turnover", "mark_volume", "moved", "open", "per_paisa", "percent", "previous",
        "reference", "sector", "sigma", "size", "spread", "spread_bps", "stated", "symbol", "tick", "trades",
        "turnover", "upper", "volume", "weight", "year_high", "year_low",
    )  # fmt: skip

    def __init__(self, instrument: Instrument, sector: int) -> None:
        self.instrument = instrument
        self.symbol = instrument.symbol
        self.tick = instrument.tick
        self.lot = instrument.lot
        self.per_paisa = instrument.divisor // 100
        self.sector = sector
        self.weight = 0.0
        self.indices: tuple[tuple[IndexState, int], ...] = ()
        self.beta = 1.0
        self.sigma = 0.0
        self.spread_bps = 1.0
        self.year_high = self.year_low = 0
        self.new_day(0, 0)

    def new_day(self, previous: int, now: int) -> None:
        """Forget yesterday: `previous` is the last official close."""
        self.previous = previous
        self.base = float(previous)
        self.drift = 0.0
        self.moved = now
        self.open = self.high = self.low = self.last = self.close = self.reference = 0
        self.volume = self.turnover = self.trades = self.last_quantity = self.last_time = 0
        self.mark_volume = self.mark_turnover = 0
        self.bid = self.ask = self.bid_total = self.ask_total = self.locked = 0
        self.bids: Ladder = ()
        self.asks: Ladder = ()
        self.auction: Auction | None = None
        self.stated = False
        self.percent = self.instrument.band or DYNAMIC_BAND
        if previous:
            self._set_limits()
            self._set_steps()

    def _set_limits(self) -> None:
        self.lower, self.upper = self._limits(self.percent)

    def _limits(self, percent: int) -> tuple[int, int]:
        return band_limits(self.previous, percent, self.tick)

    def _set_steps(self) -> None:
        ticks = max(1, round(self.previous * self.spread_bps / 10_000 / self.tick))
        self.spread = ticks * self.tick
        self.half = self.spread // 2
        self.gap = max(1, ticks // 2) * self.tick
        self.size = max(float(self.lot), TRADE_PAISE * self.per_paisa / self.previous)
        self.depth = self.size * DEPTH_TRADES

    def gap_overnight(self, bits: int) -> None:
        """Let the night's news move the scrip away from its close; `bits` are NORMAL_BITS of chance."""
        self.drift += self.sigma * math.sqrt(SESSION_MS) * OVERNIGHT * NORMALS[bits]

    def restore(self, row: Values, world: World) -> None:
        """Go on from a row of a board: the same day so far, and a book around the last price."""
        known = {number: value for number, value in row.items() if isinstance(value, int)}
        self.open = known.get(field.OPEN, 0)
        self.high = known.get(field.HIGH, 0)
        self.low = known.get(field.LOW, 0)
        self.close = known.get(field.CLOSE_PRICE, 0)
        self.reference = known.get(field.REFERENCE_PRICE, 0)
        self.volume = known.get(field.VOLUME, 0)
        self.turnover = known.get(field.VALUE, 0) * self.per_paisa
        self.trades = known.get(field.TRADES, 0)
        self.last_quantity = known.get(field.LAST_QUANTITY, 0)
        self.last_time = known.get(field.LAST_TRADE_TIME, 0)
        self.lower = known.get(field.LOWER_CIRCUIT, self.lower)
        self.upper = known.get(field.UPPER_CIRCUIT, self.upper)
        self.year_high = known.get(field.YEAR_HIGH, self.year_high)
        self.year_low = known.get(field.YEAR_LOW, self.year_low)
        self.stated = field.LOWER_CIRCUIT in known
        self.last = known.get(field.CURRENT_PRICE, 0)
        if self.last:
            self._revalue(self.last, world)
        if not self.instrument.band:
            while self.percent < 100 and self._limits(self.percent)[1] < max(self.upper, self.last):
                self.percent += FLEX
            self._set_limits()

    def _revalue(self, price: int, world: World) -> None:
        """Make `price` the fair price."""
        for index, held in self.indices:
            index.cap += (price - self.previous) * held
        self.drift = math.log(price / self.base) - self.beta * world.market - world.sectors[self.sector]

    # What it is worth

    def fair(self, now: int, world: World) -> int:
        """Return the fair price at `now`, after the wandering since it was last asked."""
        if now > self.moved:
            self.drift += self.sigma * math.sqrt(now - self.moved) * world.vol * NORMALS[world.bits(NORMAL_BITS)]
            self.moved = now
        return int(self.base * math.exp(self.beta * world.market + world.sectors[self.sector] + self.drift))

    def within(self, price: int) -> int:
        """Return the valid price nearest to `price` inside the day's limits."""
        price = nearest_tick(price, self.tick)
        return self.lower if price < self.lower else min(price, self.upper)

    # Continuous trading

    def act(self, now: int, world: World) -> Tick:
        """Do one thing in continuous trading: move the book, trade, or change an order; return the tick of it."""
        if self.auction is not None:
            matched = self.match(now, world, False)
            if matched is not None:
                return matched
        fair = self.fair(now, world)
        bits = world.bits(32)
        trades = bits & 0xFF < TRADE_ODDS
        bits >>= 8
        values: Values = {}
        moved = self._follow(fair, bits)
        if trades:
            bought = self._trade(fair, bits, now, world, values)
            if moved or not bought:
                self.tell_bids(values)
            if moved or bought:
                self.tell_asks(values)
        elif moved:
            self.tell_bids(values)
            self.tell_asks(values)
        else:
            self._order(bits, values)
        if not self.stated:
            self.tell_basis(values)
        return Tick(self.symbol, now, values)

    def _follow(self, fair: int, bits: int) -> bool:
        """Move the book if the fair price has left it; return whether it moved."""
        if self.locked > 0:
            if fair >= self.upper - self.half and self.bid == self.upper:
                return False
        elif self.locked < 0:
            if fair <= self.lower + self.half and self.ask == self.lower:
                return False
        elif self.lower < fair < self.upper and self.bid and self.ask:
            away = 2 * fair - self.bid - self.ask
            if -self.spread <= away <= self.spread and self.ask - self.bid <= 2 * self.spread:
                return False
        self.quote_around(fair, bits)
        return True

    def quote_around(self, fair: int, bits: int) -> None:
        """Place the book around the fair price; at a circuit limit one side of it stays empty."""
        if fair >= self.upper:
            self._set_book(self.upper, 0, bits)
            self.locked = 1
        elif fair <= self.lower:
            self._set_book(0, self.lower, bits)
            self.locked = -1
        else:
            low = floor_to_tick(fair - self.half, self.tick)
            bid = max(low, self.lower)
            ask = min(low + self.spread, self.upper)
            self._set_book(bid, max(ask, bid + self.tick), bits)
            self.locked = 0

    def _set_book(self, bid: int, ask: int, bits: int) -> None:
        old_bid, old_ask = self.bid, self.ask
        self.bid, self.ask = bid, ask
        if not bid:
            self.bids = ()
        elif bid != old_bid:
            top = level(bid, bits, self.depth, self.lot)
            self.bids = bids_at(self.bids, bid, self.gap, self.lower, top, bits, self.depth, self.lot)
            self.bid_total = quantity(self.bids) * (1 + BEHIND)
        if not ask:
            self.asks = ()
        elif ask != old_ask:
            top = level(ask, bits >> 5, self.depth, self.lot)
            self.asks = asks_at(self.asks, ask, self.gap, self.upper, top, bits, self.depth, self.lot)
            self.ask_total = quantity(self.asks) * (1 + BEHIND)

    def _order(self, bits: int, values: Values) -> None:
        """Change the quantity waiting on one level."""
        bids = self.locked > 0 or (bits & 1 and not self.locked)
        ladder = self.bids if bids else self.asks
        at = (bits >> 1 & 0xFF) % len(ladder)
        old = ladder[at]
        new = level(old[0], bits >> 4, self.depth, self.lot)
        ladder = (*ladder[:at], new, *ladder[at + 1 :])
        if bids:
            self.bids = ladder
            self.bid_total += new[1] - old[1]
            self.tell_bids(values)
        else:
            self.asks = ladder
            self.ask_total += new[1] - old[1]
            self.tell_asks(values)

    def _trade(self, fair: int, bits: int, now: int, world: World, values: Values) -> bool:
        """Trade at the best price of the side that is hit; return whether it was the asks."""
        if self.locked:
            buys = self.locked < 0
        else:
            buys = (bits & 0xFF) * self.spread < 128 * self.spread + 64 * (2 * fair - self.bid - self.ask)
        ladder = self.asks if buys else self.bids
        price, waiting, orders = ladder[0]
        wanted = int(self.size * world.qty_scale * SIZES[bits >> 8 & SIZE_MASK])
        done = min(waiting, wanted - wanted % self.lot or self.lot)
        left = waiting - done
        if left:
            lots = left // self.lot
            ladder = ((price, left, min(orders, lots)), *ladder[1:])
        elif len(ladder) > 1:
            ladder = ladder[1:]
        else:  # the last one waiting: the next order is there at once
            ladder = (level(price, bits, self.depth, self.lot),)
            left = ladder[0][1]
        if buys:
            self.asks, self.ask = ladder, ladder[0][0]
            self.ask_total += left - waiting
        else:
            self.bids, self.bid = ladder, ladder[0][0]
            self.bid_total += left - waiting
        self.record(price, done, world.trades_per_tick, now)
        self.tell_trade(values)
        if not self.instrument.band:
            self._flex(price, values)
        return buys

    def _flex(self, price: int, values: Values) -> None:
        near = self.previous // FLEX_NEAR + self.tick
        if self.lower + near < price < self.upper - near:
            return
        self.percent += FLEX
        self._set_limits()
        self.locked = 0
        values[field.LOWER_CIRCUIT] = self.lower
        values[field.UPPER_CIRCUIT] = self.upper

    def record(self, price: int, shares: int, trades: int, now: int) -> None:
        """Add to the day what traded at one price; as many `trades` as there are lots at most."""
        if not self.open:
            self.open = self.high = self.low = price
        elif price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        old = self.last or self.previous
        self.last = price
        self.last_quantity = shares
        if trades > 1:
            lots = shares // self.lot
            trades = min(trades, lots)
            self.last_quantity = lots // trades * self.lot
        self.last_time = now - now % _SECOND
        self.volume += shares
        self.turnover += price * shares
        self.trades += trades
        if price != old:
            for index, held in self.indices:
                index.cap += (price - old) * held
                index.moved = True

    # Auctions

    def enter(self, now: int, world: World, weight: float) -> Tick:
        """Place an order in the call auction; return the tick of it."""
        begins = self.auction is None
        bid = self.order(now, world, weight)
        values: Values = {}
        self._gather(bids=bid or begins, asks=begins or not bid)
        if bid or begins:
            self.tell_bids(values)
        if begins or not bid:
            self.tell_asks(values)
        self.tell_auction(values)
        if not self.stated:
            self.tell_basis(values)
        return Tick(self.symbol, now, values)

    def order(self, now: int, world: World, weight: float) -> bool:
        """Place an order in the call auction, and look no further; return whether it is a bid."""
        auction = self.auction
        if auction is None:
            auction = self.auction = self._new_auction(self.fair(now, world))
            self.bid = self.ask = self.locked = 0
        return auction.enter(world.bits(32), self.size * weight, self.lot)

    def gather(self) -> None:
        """Find where the call auction stands."""
        self._gather(bids=True, asks=True)

    def _gather(self, *, bids: bool, asks: bool) -> None:
        auction = self.auction
        if auction is None:
            return
        auction.find()
        if bids:
            self.bids, self.bid_total = auction.bid_ladder(), sum(auction.bids)
        if asks:
            self.asks, self.ask_total = auction.ask_ladder(), sum(auction.asks)

    def _new_auction(self, fair: int) -> Auction:
        lower, upper = self.lower, self.upper
        if self.reference:
            low, high = band_limits(self.reference, AUCTION_BAND, self.tick)
            lower, upper = max(low, lower), min(high, upper)
        middle = min(max(nearest_tick(fair, self.tick), lower), upper)
        step = max(self.gap, ceil_to_tick(self.previous // AUCTION_STEPS, self.tick))
        return Auction(middle, step, lower, upper)

    def match(self, now: int, world: World, closing: bool) -> Tick | None:
        """End the call auction: trade what matches at one price, which is the close of a closing auction."""
        values: Values = {}
        auction, self.auction = self.auction, None
        if auction is None and not closing:
            return None
        if auction is not None:
            auction.find()
            if auction.quantity:
                self.record(auction.price, auction.quantity, max(1, auction.orders), now)
                self.tell_trade(values)
        if closing:
            self.close = auction.price if auction is not None and auction.quantity else self.reference or self.last
            if self.close:
                values[field.CLOSE_PRICE] = self.close
            self.clear_book(values)
        else:
            self.bids = self.asks = ()
            self.bid = self.ask = 0
            self.quote_around(self.last or self.fair(now, world), world.bits(32))
            self.tell_bids(values)
            self.tell_asks(values)
        values[field.INDICATIVE_PRICE] = values[field.INDICATIVE_QUANTITY] = None
        if not self.stated:
            self.tell_basis(values)
        return Tick(self.symbol, now, values)

    def abandon(self, now: int) -> Tick | None:
        """Give up a call auction without a match."""
        if self.auction is None:
            return None
        self.auction = None
        values: Values = {field.INDICATIVE_PRICE: None, field.INDICATIVE_QUANTITY: None}
        self.clear_book(values)
        return Tick(self.symbol, now, values)

    # The end of the day

    def mark(self) -> None:
        """Remember where the period begins whose average price is the close or the reference."""
        self.mark_volume, self.mark_turnover = self.volume, self.turnover

    def period_average(self) -> int:
        """Return the volume-weighted average price since `mark`, the last price without trades, 0 on a day without."""
        volume = self.volume - self.mark_volume
        if not volume:
            return self.last
        return nearest_tick(divide_half_up(self.turnover - self.mark_turnover, volume), self.tick)

    def refer(self, now: int) -> Tick | None:
        """Begin the closing auction: no book, and the reference price."""
        self.reference = self.period_average() or self.previous
        values: Values = {field.REFERENCE_PRICE: self.reference}
        self.clear_book(values)
        return Tick(self.symbol, now, values)

    def finish(self, now: int) -> Tick | None:
        """Determine the close of a scrip without closing auction; the book is gone."""
        if self.close or not (self.last or self.bids or self.asks):
            return None
        values: Values = {}
        self.close = self.period_average()
        if self.close:
            values[field.CLOSE_PRICE] = self.close
        self.clear_book(values)
        return Tick(self.symbol, now, values)

    def trade_at_close(self, now: int, world: World) -> Tick | None:
        """Trade after the close, at the close."""
        if not self.close:
            return None
        wanted = int(self.size * world.qty_scale * SIZES[world.bits(SIZE_BITS)])
        self.record(self.close, wanted - wanted % self.lot or self.lot, world.trades_per_tick, now)
        values: Values = {}
        self.tell_trade(values)
        return Tick(self.symbol, now, values)

    def official_close(self) -> int:
        """Return what the next day calls its previous close."""
        return self.close or self.last or self.previous

    # What is told

    def tell_trade(self, values: Values) -> None:
        """State the last trade and the day it made."""
        volume = self.volume
        values[field.CURRENT_PRICE] = self.last
        values[field.OPEN] = self.open
        values[field.HIGH] = self.high
        values[field.LOW] = self.low
        values[field.VOLUME] = volume
        values[field.VALUE] = self.turnover // self.per_paisa
        values[field.TRADES] = self.trades
        values[field.AVERAGE_PRICE] = (2 * self.turnover + volume) // (2 * volume)
        values[field.LAST_QUANTITY] = self.last_quantity
        values[field.LAST_TRADE_TIME] = self.last_time
        if self.high > self.year_high or self.low < self.year_low:
            self._stretch_year(values)

    def _stretch_year(self, values: Values) -> None:
        if self.year_high:
            values[field.YEAR_HIGH] = self.year_high = max(self.year_high, self.high)
            values[field.YEAR_LOW] = self.year_low = min(self.year_low, self.low)

    def tell_bids(self, values: Values) -> None:
        """State the buying side, or that there is none."""
        bids = self.bids
        if bids:
            values[field.BID_PRICE], values[field.BID_QUANTITY], _ = bids[0]
            values[field.TOTAL_BID_QUANTITY] = self.bid_total
            values[field.BIDS] = bids
        else:
            values[field.BID_PRICE] = values[field.BID_QUANTITY] = None
            values[field.TOTAL_BID_QUANTITY] = values[field.BIDS] = None

    def tell_asks(self, values: Values) -> None:
        """State the selling side, or that there is none."""
        asks = self.asks
        if asks:
            values[field.ASK_PRICE], values[field.ASK_QUANTITY], _ = asks[0]
            values[field.TOTAL_ASK_QUANTITY] = self.ask_total
            values[field.ASKS] = asks
        else:
            values[field.ASK_PRICE] = values[field.ASK_QUANTITY] = None
            values[field.TOTAL_ASK_QUANTITY] = values[field.ASKS] = None

    def tell_auction(self, values: Values) -> None:
        """State where the call auction would match, or that it would not."""
        auction = self.auction
        matches = auction is not None and auction.quantity > 0
        values[field.INDICATIVE_PRICE] = auction.price if auction is not None and matches else None
        values[field.INDICATIVE_QUANTITY] = auction.quantity if auction is not None and matches else None

    def tell_basis(self, values: Values) -> None:
        """State what was fixed before the day's first trade."""
        self.stated = True
        values[field.PREVIOUS_CLOSE] = self.previous
        values[field.LOWER_CIRCUIT] = self.lower
        values[field.UPPER_CIRCUIT] = self.upper
        if self.year_high:
            values[field.YEAR_HIGH] = self.year_high
            values[field.YEAR_LOW] = self.year_low

    def clear_book(self, values: Values) -> None:
        """Take all orders away, and say so."""
        self.bids = self.asks = ()
        self.bid = self.ask = self.bid_total = self.ask_total = self.locked = 0
        self.tell_bids(values)
        self.tell_asks(values)

    def basis(self, now: int) -> Tick | None:
        """Return the day's first statement, unless it was made."""
        if self.stated:
            return None
        values: Values = {}
        self.tell_basis(values)
        return Tick(self.symbol, now, values)

    def whole(self, now: int) -> Tick:
        """Return everything there is to say."""
        values: Values = {}
        self.tell_basis(values)
        if self.volume:
            self.tell_trade(values)
        if self.close:
            values[field.CLOSE_PRICE] = self.close
        if self.reference:
            values[field.REFERENCE_PRICE] = self.reference
        self.tell_bids(values)
        self.tell_asks(values)
        self.tell_auction(values)
        return Tick(self.symbol, now, values)
