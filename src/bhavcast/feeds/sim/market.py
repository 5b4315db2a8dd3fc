"""The simulated market: a day of BSE, made up from a seed.

Pure: it knows no clock and no event loop; whoever drives it says until when. Everything happens on a grid of 10 ms,
so how the time is sliced makes no difference to what happens.
"""

from collections.abc import Mapping
from datetime import date, time
from random import Random
from typing import Final

from bhavcast.domain import field
from bhavcast.domain.calendar import Calendar, at_ist
from bhavcast.domain.field import Values
from bhavcast.domain.hours import DAY_BEGINS
from bhavcast.domain.session import CALL_AUCTION_PHASES, CLASSES, Phase, class_of
from bhavcast.domain.tick import Tick
from bhavcast.domain.universe import Universe
from bhavcast.feeds.sim import coast
from bhavcast.feeds.sim.chance import NORMAL_BITS, NORMALS
from bhavcast.feeds.sim.group import Group
from bhavcast.feeds.sim.halts import LEVELS, Breaker, Halt
from bhavcast.feeds.sim.indices import IndexState
from bhavcast.feeds.sim.returns import World
from bhavcast.feeds.sim.roster import indices_of, scrips_of
from bhavcast.feeds.sim.sweep import Action, Sweep

STEP_MS: Final = 10
FACTOR_MS: Final = 500
SECOND_MS: Final = 1000
# K: about 700 updates a second at midday ("Message rates" of the notes on BSE).
USUAL_RATE: Final = 700.0
# A: how long it takes until the last of all scrips has told of a match, a close or the new day.
SWEEP_MS: Final = 4000
BASIS_MS: Final = 10_000
# K: the close is the average price of the last 30 minutes. A: the closing auction's reference that of the last 15.
CLOSE_PERIOD_MS: Final = 1_800_000
REFERENCE_PERIOD_MS: Final = 900_000
# A: how much larger orders are in an auction than in continuous trading, where one order is one of thousands.
AUCTION_WEIGHT: Final[dict[Phase, float]] = {"pre_open_entry": 4.0, "cas_entry": 25.0, "auction_after_halt": 8.0}
# A: the pace of one second varies by this part of it.
PACE_SIGMA: Final = 0.3
# A day's turnover stays about the same at any rate: at a low one each tick tells of several trades, and larger ones, up
# to this many times the usual size (what waits in the book bounds them further).
LARGEST_TRADE: Final = 3.0

DAY_BEGINS_AT: Final = time(DAY_BEGINS // 60, DAY_BEGINS % 60)

_ENTRY: Final = CALL_AUCTION_PHASES - {"pre_open_match", "cas_match"}
_HALT_PHASES: Final = ("halted", "auction_after_halt")
_CLOSED: Final[frozenset[Phase]] = frozenset({"closing", "post_close", "closed"})


class Market:
    """All scrips and indices of a universe, from day to day.

    `rate` is the mean of ticks in a second of continuous trading, in market time; `seed` chooses the one course that
    the market then takes. Begin with `start` or `restore`; then `advance`. `now` is the market time it has reached.
    """

    def __init__(self, universe: Universe, calendar: Calendar, seed: int = 1, rate: float = USUAL_RATE) -> None:
        self._calendar = calendar
        self._seed = seed
        self._rate = rate
        self.indices = indices_of(universe)
        self.scrips, sectors = scrips_of(universe, self.indices, seed)
        self._closes = {scrip.symbol: universe.closes[scrip.symbol] for scrip in self.scrips}
        self._index_closes = {index.basis.symbol: universe.closes.get(index.basis.symbol, 0) for index in self.indices}
        self._world = World(sectors, Random(seed).getrandbits)
        self._world.trades_per_tick = max(1, round(USUAL_RATE / rate))
        self._world.qty_scale = min(USUAL_RATE / rate, LARGEST_TRADE)
        self._groups = self._make_groups()
        self._busy: list[Group] = []  # the groups with something to do
        self._breaker = Breaker()
        self._sweeps: list[Sweep] = []
        self._pending: list[Tick] = []
        self._forced: int | None = None
        self._next_turn = self._roll_at = self._session_end = 0
        self.date: date | None = None
        self.now = 0

    def _make_groups(self) -> list[Group]:
        everything = sum(scrip.weight for scrip in self.scrips)
        members = {cls: [s for s in self.scrips if class_of(s.instrument) == cls] for cls in CLASSES}
        return [Group(cls, scrips, everything) for cls, scrips in members.items() if scrips]

    # Beginning

    def adopt(self, universe: Universe) -> None:
        """Trade another universe, from its closes: nothing has begun then, and the day is gone through anew."""
        self.__init__(universe, self._calendar, self._seed, self._rate)  # type: ignore[misc]  # start anew, by the one rule

    def start(self, at_ms: int) -> None:
        """Begin at any moment; what the day brought until then is told by the first ticks."""
        day = self._calendar.trading_date(at_ms)
        self._begin(day, at_ist(day, DAY_BEGINS_AT))
        self.leap(at_ms)

    def restore(self, rows: Mapping[str, Values], at_ms: int) -> None:
        """Go on from a board that stood like this at `at_ms` (of the same trading date)."""
        for scrip in self.scrips:
            known = rows.get(scrip.symbol, {}).get(field.PREVIOUS_CLOSE)
            if isinstance(known, int) and known > 0:
                self._closes[scrip.symbol] = known
        self._begin(self._calendar.trading_date(at_ms), at_ms)
        self._sweeps.clear()
        for scrip in self.scrips:
            scrip.restore(rows.get(scrip.symbol, {}), self._world)
        for index in self.indices:
            index.restore(rows.get(index.basis.symbol, {}))
        self._resume_halts(rows)
        for group in self._groups:
            group.phase = self._phase_of(group, self.now)
            if self.now >= self._mark_of(group):
                self._mark(group)
            self._resume_auctions(group, rows)
            self._enter(group, group.phase, self._pending)
        self._set_next_turn()
        self._set_pace()

    def _resume_halts(self, rows: Mapping[str, Values]) -> None:
        if self.indices:
            passed = max([level for level in LEVELS if self._leading().moved_by(level)], default=0)
            member = next(iter(self._leading().basis.members), "")
            interrupted = rows.get(member, {}).get(field.PHASE) in _HALT_PHASES
            self._breaker.resume(passed, interrupted, self.now, self._session_end)

    def _resume_auctions(self, group: Group, rows: Mapping[str, Values]) -> None:
        """Gather orders anew where an auction was going on, and match them where it should have matched by now."""
        for scrip in group.scrips:
            if rows.get(scrip.symbol, {}).get(field.INDICATIVE_PRICE) is not None:
                weight = AUCTION_WEIGHT.get(group.phase, 1.0)
                coast.order_through(scrip, self.now, coast.ORDERS, self._world, weight)
        if group.phase not in _ENTRY:
            self._match(group, closing=group.phase == "cas_match")

    def _begin(self, day: date, now: int) -> None:
        """Begin a trading day at its previous closes."""
        self.date = day
        self.now = now - now % STEP_MS
        self._roll_at = self._calendar.day_roll_after(self.now)
        chance = Random(f"{self._seed}:{day.isoformat()}")
        self._world.new_day(chance.getrandbits)
        for scrip in self.scrips:
            scrip.new_day(self._closes[scrip.symbol], self.now)
            scrip.gap_overnight(chance.getrandbits(NORMAL_BITS))
        for index in self.indices:
            cap = index.basis.cap(self._closes)
            index.new_day(cap, self._index_closes[index.basis.symbol] or index.basis.value(cap))
        for group in self._groups:
            group.new_day(self._calendar.windows(day, group.cls), chance)
        self._session_end = max([group.session[1] for group in self._groups], default=0)
        self._breaker.new_day()
        self._busy = []
        self._sweeps = [Sweep(self.scrips, lambda scrip, at: scrip.basis(at), BASIS_MS, STEP_MS)]
        self._next_turn = self.now

    # Going on

    @property
    def idle(self) -> bool:
        """Whether nothing will happen until the next turn of a phase."""
        return not self._busy and not self._sweeps

    def advance(self, to_ms: int) -> list[Tick]:
        """Let the market go on until `to_ms` and return what happened, in order."""
        out, self._pending = self._pending, []
        last = to_ms - STEP_MS
        while self.now <= last:
            if not self._busy and self.idle and self._next_turn > self.now + STEP_MS:
                reach = min(self._next_turn - 1, to_ms)
                self.now = max(self.now, reach - reach % STEP_MS)
                if self.now > last:
                    break
            self.now += STEP_MS
            self._step(self.now, out)
        return out

    def leap(self, to_ms: int) -> None:
        """Cover the time until `to_ms` coarsely; the next ticks tell how everything stands then.

        Days that begin and end on the way are left out: their closes are those of the day before.
        """
        to_ms -= to_ms % STEP_MS
        day = self._calendar.trading_date(to_ms)
        if day != self.date:
            self._coast(self._roll_at - STEP_MS)
            self._keep_closes()
            self._begin(day, at_ist(day, DAY_BEGINS_AT))
        self._coast(to_ms)
        self._pending = self.whole()
        self._set_pace()

    def whole(self) -> list[Tick]:
        """Return how everything stands, one tick for each scrip and index."""
        return [scrip.whole(self.now) for scrip in self.scrips] + [index.whole(self.now) for index in self.indices]

    def _step(self, now: int, out: list[Tick]) -> None:
        if now >= self._next_turn or self._forced is not None:
            self._turn(now, out)
        if now % FACTOR_MS == 0:
            self._world.pass_time(FACTOR_MS)
        if self._sweeps:
            self._sweeps = [sweep for sweep in self._sweeps if sweep.step(now, out)]
        for group in self._busy:
            group.credit += group.pace
            if group.credit >= 1:
                due = int(group.credit)
                group.credit -= due
                self._act(group, due, now, out)
        if now % SECOND_MS == 0:
            self._each_second(now, out)

    def _act(self, group: Group, due: int, now: int, out: list[Tick]) -> None:
        table, bits, world, size = group.table, self._world.bits, self._world, group.bits
        if group.phase == "continuous":
            out.extend([table[bits(size)].act(now, world) for _ in range(due)])
        elif group.phase == "post_close":
            ticks = [table[bits(size)].trade_at_close(now, world) for _ in range(due)]
            out.extend([tick for tick in ticks if tick is not None])
        else:
            weight = AUCTION_WEIGHT[group.phase]
            out.extend([table[bits(size)].enter(now, world, weight) for _ in range(due)])

    def _each_second(self, now: int, out: list[Tick]) -> None:
        for index in self.indices:
            if index.moved:
                out.append(index.tick(now))
            elif not index.stated:
                out.append(index.basis_tick(now))
        self._set_pace()
        level = self._breaker.next_level()
        if level is not None and self.indices and self._trading() and self._leading().moved_by(level):
            self._forced = level

    def _set_pace(self) -> None:
        """Set how many ticks are due at each step of the next second."""
        burst = max(0.2, 1 + PACE_SIGMA * NORMALS[self._world.bits(NORMAL_BITS)])
        for group in self._groups:
            group.pace = self._rate * group.part * group.busy(self.now) * burst * STEP_MS / SECOND_MS
        self._busy = [group for group in self._groups if group.pace]
        self._world.vol = max([group.busy(self.now) for group in self._groups], default=0.0) ** 0.5

    def _trading(self) -> bool:
        return any(group.phase == "continuous" for group in self._groups)

    def _leading(self) -> IndexState:
        """Return the index that halts the market."""
        return next((index for index in self.indices if index.basis.symbol == "IDX:SENSEX"), self.indices[0])

    # Phases

    def phase_override(self, at_ms: int) -> Phase | None:
        """Return the phase that a market-wide halt puts in place of every scrip's planned one."""
        return self._breaker.phase(at_ms)

    @property
    def halts(self) -> list[Halt]:
        """The day's market-wide halts and the auctions after them."""
        return list(self._breaker.halts)

    def force_halt(self, percent: int = 10) -> None:
        """Halt the market at the next step as if the index had moved by `percent`."""
        self._forced = percent

    def shock(self, fraction: float) -> None:
        """Move every scrip's fair price by a part of it: -0.11 takes the index down by about 11 per cent."""
        self._world.shock(fraction)

    def _phase_of(self, group: Group, at: int) -> Phase:
        planned = group.planned(at)
        return planned if planned in _CLOSED else self._breaker.phase(at) or planned

    def _turn(self, now: int, out: list[Tick]) -> None:
        """Do what the moment asks for: a new day, a new phase, the period of the close, a halt."""
        if now >= self._roll_at:
            self._roll(now)
        if self._forced is not None:
            percent, self._forced = self._forced, None
            self._breaker.trip(percent, now, self._session_end)
        for group in self._groups:
            if not group.marked and now >= self._mark_of(group):
                self._mark(group)
            phase = self._phase_of(group, now)
            if phase != group.phase:
                self._change(group, phase, now, out)
        self._set_next_turn()
        self._set_pace()

    def _set_next_turn(self) -> None:
        moments = [self._roll_at]
        edge = self._breaker.next_edge(self.now)
        if edge is not None:
            moments.append(edge)
        for group in self._groups:
            moments += [edge for window in group.windows for edge in (window.start, window.end) if edge > self.now]
            if not group.marked:
                moments.append(self._mark_of(group))
        self._next_turn = min(moments)

    def _mark_of(self, group: Group) -> int:
        """Return when the period begins whose average is the close, or the reference of the closing auction."""
        for window in group.windows:
            if window.phase == "cas_reference":
                return window.start - REFERENCE_PERIOD_MS
            if window.phase == "closing":
                return window.start - CLOSE_PERIOD_MS
        return self._roll_at

    def _mark(self, group: Group) -> None:
        group.marked = True
        for scrip in group.scrips:
            scrip.mark()

    def _change(self, group: Group, phase: Phase, now: int, out: list[Tick]) -> None:
        """Take a group from its phase to the next."""
        self._finish_sweeps(now, out)
        left, group.phase = group.phase, phase
        group.credit = 0.0
        if left in _ENTRY and phase == "halted":
            self._sweep(group, lambda scrip, at: scrip.abandon(at))
        elif left in _ENTRY:
            self._match(group, closing=left == "cas_entry")
        if phase == "continuous":  # a book that still waits for its match would be crossed
            self._finish_sweeps(now, out)
        self._enter(group, phase, out)

    def _match(self, group: Group, *, closing: bool) -> None:
        world = self._world
        self._sweep(group, lambda scrip, at: scrip.match(at, world, closing))

    def _finish_sweeps(self, now: int, out: list[Tick]) -> None:
        for sweep in self._sweeps:
            sweep.drain(now, out)
        self._sweeps.clear()

    def _enter(self, group: Group, phase: Phase, out: list[Tick]) -> None:
        if phase == "continuous" or phase in _ENTRY:
            for scrip in group.scrips:
                scrip.moved = self.now
        if phase in ("cas_reference", "cas_entry"):
            self._sweep(group, lambda scrip, at: scrip.refer(at))
        if phase in _CLOSED and (phase != "closed" or group.over(self.now)):
            self._sweep(group, lambda scrip, at: scrip.finish(at))
        if phase == "post_close":
            self._finish_indices(out)

    def _sweep(self, group: Group, action: Action) -> None:
        self._sweeps.append(Sweep(group.scrips, action, SWEEP_MS, STEP_MS))

    def _finish_indices(self, out: list[Tick]) -> None:
        """Determine the closes of the indices, once their members' are known."""
        closes = {scrip.symbol: scrip.official_close() for scrip in self.scrips}
        unfinished = [index for index in self.indices if index.open and not index.close]
        out.extend([index.finish(self.now, index.basis.cap(closes)) for index in unfinished])

    # From day to day

    def _roll(self, now: int) -> None:
        self._keep_closes()
        self._begin(self._calendar.trading_date(now), now)

    def _keep_closes(self) -> None:
        """Make today's official closes the previous closes of the next day."""
        self._closes = {scrip.symbol: scrip.official_close() for scrip in self.scrips}
        self._index_closes = {index.basis.symbol: index.close or index.last or index.previous for index in self.indices}

    def _coast(self, to_ms: int) -> None:
        """Cover time in slices between turns; nothing of it is told."""
        untold: list[Tick] = []
        while self.now < to_ms:
            if self.now >= self._next_turn:
                self._turn(self.now, untold)
                self._drain(untold)
            end = max(self.now + STEP_MS, min(to_ms, self._next_turn + -self._next_turn % STEP_MS))
            self._coast_groups(end)
            self.now = end
        if self.now >= self._next_turn:
            self._turn(self.now, untold)
        self._drain(untold)
        self._place_books()

    def _drain(self, untold: list[Tick]) -> None:
        self._finish_sweeps(self.now, untold)
        self._pending.clear()
        untold.clear()

    def _coast_groups(self, end: int) -> None:
        busy = [group for group in self._groups if group.busy(self.now)]
        start = self.now
        while busy and start < end:
            until = min(end, start + coast.SLICE_MS)
            self._world.vol = max(group.work(start, until) for group in busy) / (until - start)
            self._world.vol **= 0.5
            self._world.pass_time(until - start)
            for group in busy:
                self._coast_slice(group, start, until)
            for index in self.indices:
                if index.moved:
                    index.tick(until)
            start = until

    def _coast_slice(self, group: Group, start: int, end: int) -> None:
        world = self._world
        ticks = self._rate * group.part / group.weight * group.work(start, end) / SECOND_MS
        if group.phase == "continuous":
            for scrip in group.scrips:
                coast.trade_through(scrip, start, end, ticks * scrip.weight, world)
        elif group.phase == "post_close":
            for scrip in group.scrips:
                for _ in range(min(coast.ORDERS, int(ticks * scrip.weight + world.bits(8) / 256))):
                    scrip.trade_at_close(end, world)
        else:
            weight = AUCTION_WEIGHT[group.phase]
            for scrip in group.scrips:
                coast.order_through(scrip, end, ticks * scrip.weight, world, weight)

    def _place_books(self) -> None:
        for group in self._groups:
            for scrip in group.scrips:
                if scrip.auction is not None:
                    scrip.gather()
                elif group.phase == "continuous":
                    scrip.quote_around(scrip.fair(self.now, self._world), self._world.bits(32))
