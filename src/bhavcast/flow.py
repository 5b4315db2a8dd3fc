"""THE MAIN PATH. Read this file first.

    feed -> guard -> board -> journal -> bus -> (each gateway) replica -> hub -> outbox -> client

`recover` begins an epoch or goes on with one, `ingest` carries ticks from the feed to the bus, `relay` carries messages
from the bus to a gateway's clients. Why a reader can be brought up to date exactly, from any position, is said in
docs/explanation/state.md.
"""

import asyncio
import datetime
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import msgspec
import structlog

from bhavcast.board.board import Board, Row
from bhavcast.board.checkpoint import Checkpoint
from bhavcast.board.staleness import Staleness
from bhavcast.bus.port import Bus
from bhavcast.domain import field as fields
from bhavcast.domain import gap
from bhavcast.domain.calendar import Calendar, at_ist, ist
from bhavcast.domain.change import Change, Message
from bhavcast.domain.errors import BusHole, Unavailable
from bhavcast.domain.field import Value, Values
from bhavcast.domain.instrument import CANARY_SYMBOL, Instrument
from bhavcast.domain.price import band_limits
from bhavcast.domain.session import Phase, ScripClass
from bhavcast.domain.span import SPANS, DayRange, DayRanges, Spans
from bhavcast.domain.tick import Batch, FeedState, Source, Tick
from bhavcast.domain.universe import Universe
from bhavcast.feeds.port import Feed
from bhavcast.guard.guard import Guard
from bhavcast.journal.port import Journal
from bhavcast.journal.reader import Recovery
from bhavcast.telemetry.clock import Clock, MarketClock

log = structlog.get_logger()

# A scrip of our own that ticks once a second through the whole path, in bus order: what it takes to arrive is what any
# price takes. Hidden from lists and breadth, exempt from the guard.
CANARY: Final = Instrument(symbol=CANARY_SYMBOL, id="CANARY", name="Bhavcast canary", call_auction="none")
CANARY_SOURCE: Final = Source(name="canary", mode="real", grade="tick")

SECOND_S: Final = 1.0
# A checkpoint also comes when this much has been written since the last: what is read at a recovery stays a second's work.
CHECKPOINT_BYTES: Final = 16 * 1024 * 1024
# Rows that are encoded for it between two batches.
CHECKPOINT_SLICE: Final = 256
# A virtual day is over this long after its last phase; then the clock is set to just before the next continuous session.
AFTERGLOW_MS: Final = 5 * 60_000
CURTAIN_MS: Final = 10_000
DAY_BEGINS_AT: Final = datetime.time(8)


@dataclass
class Ingest:
    """The one writer and what it works with.

    `reload` reads the reference data, `asked` tells (once) that someone wants that done now. `keep_day` stores the ranges
    of a day that is over, `spans` tells what those before a day add up to. `trade` gives a market that is made up another
    universe, whose day it then begins anew; None where others say what is traded. `endless`: a virtual clock goes on to
    the next session by itself.
    """

    feed: Feed
    guard: Guard
    board: Board
    staleness: Staleness
    journal: Journal
    bus: Bus
    clock: Clock
    market: MarketClock
    calendar: Calendar
    phase_of: Callable[[ScripClass, int], Phase]
    reload: Callable[[], Universe]
    asked: Callable[[], bool] = lambda: False
    keep_day: Callable[[datetime.date, DayRanges], None] = lambda day, ranges: None
    spans: Callable[[datetime.date], Spans] = lambda day: {}
    sweep_s: float = 0.25
    checkpoint_s: float = 30.0
    trade: Callable[[Universe], None] | None = None
    endless: bool = False
    traded: Universe | None = None
    # What others want done by the one writer, between two batches.
    errands: deque[Callable[[], Awaitable[None]]] = field(default_factory=lambda: deque(maxlen=64))
    due: dict[str, float] = field(default_factory=dict)
    making: Checkpoint | None = None
    said: dict[str, Any] = field(default_factory=dict)
    began: int = 0  # market time of the start
    ticks: int = 0
    last_said: int = 0

    def is_due(self, what: str, every: float) -> bool:
        """Tell whether an appointment has come, and make the next one; by monotonic time, whatever the clocks do."""
        now = self.clock.monotonic()
        if now < self.due.get(what, 0.0):
            return False
        self.due[what] = now + every
        return True

    async def say(
        self,
        *,
        changes: list[Change] | None = None,
        facts: dict[str, Any] | None = None,
        instruments: list[Instrument] | None = None,
        received: int = 0,
    ) -> None:
        """Put one message on record, then on the bus. In that order: what anyone heard can be recovered."""
        self.last_said = self.market.now_ms()
        message = self.board.seal(
            self.last_said, received=received, changes=changes, facts=facts, instruments=instruments
        )
        self.journal.append(message)
        await self.bus.publish(message)


# -- start and recovery: the same thing ---------------------------------------------------------------------------------


async def recover(line: Ingest, found: Recovery, token: int) -> None:
    """Take up what the journal holds: its epoch goes on if nothing can be missing, else a new one begins from its rows."""
    line.began = line.market.now_ms()
    if found.snapshot is not None:
        line.board.load(found.snapshot)
        line.last_said = found.snapshot.market
    known = [row.instrument for row in line.board.order]
    universe = line.traded = line.reload()
    instruments = [CANARY, *universe.instruments.values(), *line.feed.instruments()]
    line.board.add(instruments)
    redefined = known != [row.instrument for row in line.board.order]
    line.board.token = token
    day = line.calendar.trading_date(line.market.now_ms()).isoformat()
    if found.continues and not redefined and line.board.facts.get("day") == day:
        snapshot = line.board.snapshot(line.market.now_ms())
        line.journal.resume(replace(found, snapshot=snapshot))  # with this writer's token: the next one's is higher
        await line.bus.begin(snapshot)
        log.info("epoch goes on", epoch=line.board.epoch, rev=line.board.rev, rows=len(line.board.order))
    else:
        # A whole journal lost nothing, whatever the reason for which its epoch is over; nor did a first start.
        reason = ("scrips were redefined" if redefined else "day roll") if found.continues else found.reason
        first = found.snapshot is None and not found.skipped
        await begin(line, planned=first or found.continues, reason=reason)


async def begin(line: Ingest, *, planned: bool, reason: str, imported: bool = False) -> None:
    """Begin an epoch, and a day with it where the trading date is another.

    `planned`: nothing was lost on the way. `imported`: reference data was, and is taken up.
    """
    now, board = line.market.now_ms(), line.board
    today = line.calendar.trading_date(now)
    await asyncio.to_thread(keep_day, line, today)
    known = board.rev
    stamp = datetime.datetime.fromtimestamp(line.clock.wall_ms() / 1000, datetime.UTC)
    board.begin(f"{stamp:%Y%m%dT%H%MZ}-{secrets.token_hex(8)}", line.clock.wall_ms() * 1000, board.token)
    day, ended = today.isoformat(), board.facts.get("day")
    fresh = ended != day or imported
    universe = line.reload() if fresh or line.traded is None else line.traded
    if fresh:
        board.add(universe.instruments.values())
        board.facts["indices"] = msgspec.to_builtins(universe.indices)
        line.guard.roll()
        line.staleness.forget()
    if ended != day:
        # An official close of the day that ends, or of a later one that was slept through, is better than what was seen.
        official = universe.date is not None and universe.date.isoformat() >= (ended or "9999")
        board.roll(lambda row: opening(row, universe, seen=close_of(row), official=official))
        board.facts["day"] = day
        if line.trade is not None and universe != line.traded:
            trade(line, universe)
    elif imported and line.trade is not None:
        official = universe.date is not None and universe.date < today
        board.roll(lambda row: opening(row, universe, seen=row.values[fields.PREVIOUS_CLOSE], official=official))
        trade(line, universe)
    else:
        board.complete(lambda row: opening(row, universe, seen=None, official=True))
    board.facts[SPANS] = await asyncio.to_thread(line.spans, today)
    if not planned:
        since = line.last_said or now
        ledger = gap.opened(board.facts.get("gaps", []), "epoch", None, since, known, reason)
        board.facts["gaps"] = gap.closed(ledger, "epoch", None, now, board.rev)
    line.said.clear()
    line.making = None
    snapshot = board.snapshot(now, planned=planned)
    line.journal.begin(snapshot)
    await line.bus.begin(snapshot)
    log.info("epoch begins", epoch=board.epoch, rev=board.rev, rows=len(board.order), day=day, reason=reason)


def trade(line: Ingest, universe: Universe) -> None:
    """Let the market that is made up begin its day with a universe, from the previous closes that the board has."""
    closes = {row.symbol: row.values[fields.PREVIOUS_CLOSE] for row in line.board.order}
    known = {symbol: close for symbol, close in closes.items() if isinstance(close, int)}
    line.traded = universe
    if line.trade is not None:
        line.trade(msgspec.structs.replace(universe, closes=universe.closes | known))


def keep_day(line: Ingest, today: datetime.date) -> None:
    """Keep the highs and lows of the day that is over, if one is."""
    ended = line.board.facts.get("day")
    if ended is not None and ended != today.isoformat():
        figures = ((row, row.values[fields.HIGH], row.values[fields.LOW]) for row in line.board.order)
        ranges = {
            row.symbol: DayRange(high, low, row.instrument.scale)
            for row, high, low in figures
            if isinstance(high, int) and isinstance(low, int)
        }
        try:
            line.keep_day(datetime.date.fromisoformat(ended), ranges)
        except Unavailable as error:
            log.warning("the ranges of the day could not be kept", day=ended, why=error.detail)


def close_of(row: Row) -> Value:
    """Return the close of the day that ends, as far as it was seen; of a scrip that did not trade, the one before."""
    values = row.values
    return values[fields.CLOSE_PRICE] or values[fields.CURRENT_PRICE] or values[fields.PREVIOUS_CLOSE]


def opening(row: Row, universe: Universe, *, seen: Value, official: bool) -> Values:
    """Return what a scrip's day begins with: the previous close, and the limits it gives.

    `seen` is the close that the board knows of; `official`: the universe knows better.
    """
    known = universe.closes.get(row.symbol)
    close = (known or seen) if official else (seen or known)
    if not isinstance(close, int):
        return {}
    band, tick = row.instrument.band, row.instrument.tick
    lower, upper = band_limits(close, band, tick) if band else (None, None)
    return {fields.PREVIOUS_CLOSE: close, fields.LOWER_CIRCUIT: lower, fields.UPPER_CIRCUIT: upper}


# -- feed to bus ----------------------------------------------------------------------------------------------------------


async def ingest(line: Ingest) -> None:
    """Carry every batch of the feed to the bus. The feed yields at least every 250 ms, so all else is done in between."""
    async for batch in line.feed.batches():
        await roll(line)
        ticks = line.guard.check(todays(line, batch))
        changes = line.board.apply(batch.source, ticks)
        line.ticks += len(batch.ticks)
        if changes:
            await line.say(changes=changes, received=batch.received)
        await keep_appointments(line)


def todays(line: Ingest, batch: Batch) -> Batch:
    """Leave out what was said of a day that is over: it would fill the new day's fields."""
    begins = at_ist(datetime.date.fromisoformat(line.board.facts["day"]), DAY_BEGINS_AT)
    if batch.source.grade == "eod" or all(tick.time >= begins for tick in batch.ticks):
        return batch
    return Batch(batch.source, batch.received, [tick for tick in batch.ticks if tick.time >= begins])


async def keep_appointments(line: Ingest) -> None:
    """Do what the time asks for rather than a tick."""
    now = line.market.now_ms()
    while line.errands:
        await line.errands.popleft()()
    if line.is_due("sweep", line.sweep_s):
        states: dict[str, FeedState] = {line.feed.source.name: line.feed.state, CANARY_SOURCE.name: "live"}
        if changes := line.staleness.sweep(now, states):
            await line.say(changes=changes)
    if line.is_due("second", SECOND_S):
        beat = Tick(CANARY.symbol, now, {fields.LAST_TRADE_TIME: now})
        await line.say(changes=line.board.apply(CANARY_SOURCE, [beat]), facts=news(line, now))
        if line.asked():
            await begin(line, planned=True, reason="reference data was imported", imported=True)
    if line.is_due("checkpoint", line.checkpoint_s) or (
        line.journal.tail > CHECKPOINT_BYTES and not line.journal.failing
    ):
        line.making = line.making or Checkpoint(line.board)
    if line.making is not None and line.making.ahead(CHECKPOINT_SLICE):
        line.journal.checkpoint(line.making.finish(now))
        line.making = None


async def roll(line: Ingest) -> None:
    """Begin a new day when the market clock says so; set a virtual clock to the next session when its day is over."""
    now = line.market.now_ms()
    today = line.calendar.trading_date(now)
    if line.endless and now > max(line.calendar.close_of(today), line.began) + AFTERGLOW_MS:
        line.market.jump(curtain(line.calendar, line.calendar.next_trading_day(today)))
        today = line.calendar.trading_date(line.market.now_ms())
    if line.board.facts.get("day") != today.isoformat():
        await begin(line, planned=True, reason="day roll")


def curtain(calendar: Calendar, day: datetime.date, step: int = 1) -> int:
    """Return the moment just before continuous trading begins, on `day` or the nearest day after it that has any.

    With `step` -1 the nearest day before it.
    """
    while True:
        for window in calendar.windows(day, "standard"):
            if window.phase == "continuous":
                return window.start - CURTAIN_MS
        day += datetime.timedelta(days=step)


def news(line: Ingest, now: int) -> dict[str, Any]:
    """Return the facts that have changed since they were last said."""
    upcoming = line.calendar.next_transition(now)
    today = line.calendar.trading_date(now)
    phases = {cls: line.phase_of(cls, now) for cls in upcoming.phases}
    facts: dict[str, Any] = {
        "market": {
            "status": line.calendar.status(now),
            "date": today.isoformat(),
            "phases": phases,
            "next": {"at": upcoming.at, "status": upcoming.status, "phases": upcoming.phases},
            "holiday": line.calendar.holiday(ist(now).date()),
            "calendar": "known" if line.calendar.known(ist(now).date()) else "assumed",
        },
        "clock": line.market.state(),
        "feeds": {line.feed.source.name: describe(line.feed)},
        "journal": {"state": "failing" if line.journal.failing else "ok", "reason": line.journal.failing},
        "gaps": gaps(line, now),
        **line.guard.facts(),
    }
    fresh = {name: fact for name, fact in facts.items() if line.said.get(name) != fact}
    line.said.update(fresh)
    return fresh


def gaps(line: Ingest, now: int) -> gap.Ledger:
    """Return the ledger of gaps as it is now: one begins where the journal or a source fails, and ends with that."""
    ledger: gap.Ledger = line.board.facts.get("gaps", [])
    feed, rev = line.feed, line.board.rev
    failed = feed.state in ("stale", "failed")
    failing: tuple[tuple[gap.Kind, str | None, str | None], ...] = (
        ("journal", None, line.journal.failing),
        ("feed", feed.source.name, f"the source is {feed.state}" if failed else None),
    )
    for kind, source, reason in failing:
        before = ledger
        if reason is not None:
            ledger = gap.opened(ledger, kind, source, now, rev, reason)
        else:
            ledger = gap.closed(ledger, kind, source, now, rev)
        if ledger is not before:
            log.warning("gap begins" if reason else "gap ends", kind=kind, source=source, rev=rev, reason=reason)
    return ledger


def describe(feed: Feed) -> dict[str, Any]:
    """Return what is told of a feed."""
    source = feed.source
    return {"state": feed.state, "mode": source.mode, "grade": source.grade, "period_ms": source.period_ms}


# -- bus to clients -------------------------------------------------------------------------------------------------------


class Audience(Protocol):
    """A gateway, seen from the bus."""

    def restart(self, *, planned: bool) -> None:
        """Begin again: the replica is of another epoch."""

    def hear(self, rows: list[Row], message: Message | None) -> None:
        """Pass on that rows changed, by a message or (None) by a snapshot within the epoch."""


async def relay(bus: Bus, replica: Board, audience: Audience) -> None:
    """Keep a replica of the board and tell its audience. A hole in what was heard means: take the snapshot again."""
    while True:
        snapshot = await bus.snapshot()
        if snapshot.epoch != replica.epoch:
            replica.load(snapshot)
            audience.restart(planned=snapshot.planned)
        else:
            audience.hear(replica.catch_up(snapshot), None)
        try:
            async for message in bus.follow(replica.position):
                audience.hear(replica.follow(message), message)
        except BusHole as hole:
            log.info("bus followed from its snapshot", why=hole.detail)
        else:
            return
