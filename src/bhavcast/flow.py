"""THE MAIN PATH. Read this file first.

    feed -> guard -> board -> journal -> bus -> (each gateway) replica -> hub -> outbox -> client

`recover` begins an epoch or goes on with one, `ingest` carries ticks from the feed to the bus, `relay` carries messages
from the bus to a gateway's clients. Why a reader can be brought up to date exactly, from any position, is said in
docs/explanation/state.md.
"""

import datetime
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import msgspec
import structlog

from bhavcast.board.board import Board, Row
from bhavcast.board.staleness import Staleness
from bhavcast.bus.port import Bus
from bhavcast.domain import field as fields
from bhavcast.domain.calendar import Calendar, at_ist, ist
from bhavcast.domain.change import Change, Message
from bhavcast.domain.errors import BusHole
from bhavcast.domain.field import Values
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.price import band_limits
from bhavcast.domain.session import Phase, ScripClass
from bhavcast.domain.tick import FeedState, Source, Tick
from bhavcast.domain.universe import Universe
from bhavcast.feeds.port import Feed
from bhavcast.guard.guard import Guard
from bhavcast.journal.port import Journal
from bhavcast.journal.reader import Recovery
from bhavcast.telemetry.clock import Clock, MarketClock

log = structlog.get_logger()

# A scrip of our own that ticks once a second through the whole path, in bus order: what it takes to arrive is what any
# price takes. Hidden from lists and breadth, exempt from the guard.
CANARY: Final = Instrument(symbol="000000", id="CANARY", name="Bhavcast canary", call_auction="none")
CANARY_SOURCE: Final = Source(name="canary", mode="real", grade="tick")

SWEEP_S: Final = 0.25
SECOND_S: Final = 1.0
CHECKPOINT_S: Final = 30.0
# A virtual day is over this long after its last phase; then the clock is set to just before the next continuous session.
AFTERGLOW_MS: Final = 5 * 60_000
CURTAIN: Final = datetime.time(9, 14, 50)


@dataclass
class Ingest:
    """The one writer and what it works with.

    `reload` reads the reference data; `reload_asked` tells once that it is to be read at once rather than tomorrow.
    `endless`: a virtual clock goes on to the next session by itself.
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
    reload_asked: Callable[[], bool] = lambda: False
    endless: bool = False
    due: dict[str, float] = field(default_factory=dict)
    said: dict[str, Any] = field(default_factory=dict)
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
    if found.snapshot is not None:
        line.board.load(found.snapshot)
    known = [row.instrument for row in line.board.order]
    instruments = [CANARY, *line.reload().instruments.values(), *line.feed.instruments()]
    line.board.add(instruments)
    redefined = known != [row.instrument for row in line.board.order]
    line.board.token = token
    day = line.calendar.trading_date(line.market.now_ms()).isoformat()
    if found.continues and not redefined and line.board.facts.get("day") == day:
        snapshot = line.board.snapshot(line.market.now_ms())
        line.journal.resume(found)
        await line.bus.begin(snapshot)
        log.info("epoch goes on", epoch=line.board.epoch, rev=line.board.rev, rows=len(line.board.order))
    else:
        reason = "scrips were redefined" if found.continues and redefined else found.reason
        await begin(line, planned=found.snapshot is None or (found.continues and redefined), reason=reason)


async def begin(line: Ingest, *, planned: bool, reason: str, universe: Universe | None = None) -> None:
    """Begin an epoch, and a day with it where the trading date is another. `planned`: nothing was lost on the way.

    `universe` has scrips that are to be known from now on, in the middle of a day.
    """
    now, board = line.market.now_ms(), line.board
    stamp = datetime.datetime.fromtimestamp(line.clock.wall_ms() / 1000, datetime.UTC)
    board.begin(f"{stamp:%Y%m%dT%H%MZ}-{secrets.token_hex(8)}", line.clock.wall_ms() * 1000, board.token)
    day = line.calendar.trading_date(now).isoformat()
    if board.facts.get("day") != day:
        universe = line.reload()
        board.add(universe.instruments.values())
        board.roll(lambda row: opening(row, universe))
        board.facts["day"] = day
        board.facts["indices"] = msgspec.to_builtins(universe.indices)
        line.guard.roll()
        line.staleness.forget()
    elif universe is not None:
        introduce(board, universe)
    line.said.clear()
    snapshot = board.snapshot(now, planned=planned)
    line.journal.begin(snapshot)
    await line.bus.begin(snapshot)
    log.info("epoch begins", epoch=board.epoch, rev=board.rev, rows=len(board.order), day=day, reason=reason)


def introduce(board: Board, universe: Universe) -> None:
    """Describe scrips anew in the middle of a day, and give those that are new what their day begins with.

    Prices are in the scale of their scrip: a scrip with prices that has another scale now waits for the next day.
    """
    instruments = []
    for instrument in universe.instruments.values():
        row = board.rows.get(instrument.symbol)
        if row is None or not row.rev or row.instrument.scale == instrument.scale:
            instruments.append(instrument)
    for row in board.add(instruments):
        row.put(board.rev, opening(row, universe))


def opening(row: Row, universe: Universe) -> Values:
    """Return what a scrip's day begins with: the previous close, and the limits it gives."""
    values = row.values
    close = values[fields.CLOSE_PRICE] or values[fields.CURRENT_PRICE] or universe.closes.get(row.symbol)
    close = close or values[fields.PREVIOUS_CLOSE]
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
        ticks = line.guard.check(batch)
        changes = line.board.apply(batch.source, ticks)
        line.ticks += len(batch.ticks)
        if changes:
            await line.say(changes=changes, received=batch.received)
        await keep_appointments(line)


async def keep_appointments(line: Ingest) -> None:
    """Do what the time asks for rather than a tick."""
    now = line.market.now_ms()
    if line.is_due("sweep", SWEEP_S):
        states: dict[str, FeedState] = {line.feed.source.name: line.feed.state, CANARY_SOURCE.name: "live"}
        if changes := line.staleness.sweep(now, states):
            await line.say(changes=changes)
    if line.is_due("second", SECOND_S):
        beat = Tick(CANARY.symbol, now, {fields.LAST_TRADE_TIME: now})
        await line.say(changes=line.board.apply(CANARY_SOURCE, [beat]), facts=news(line, now))
    if line.is_due("checkpoint", CHECKPOINT_S):
        line.journal.checkpoint(line.board.snapshot(now))


async def roll(line: Ingest) -> None:
    """Begin a new day when the market clock says so, and an epoch when reference data is to be read at once.

    A virtual clock is set to the next session when its day is over.
    """
    now = line.market.now_ms()
    today = line.calendar.trading_date(now)
    if line.endless and now > line.calendar.close_of(today) + AFTERGLOW_MS:
        today = line.calendar.next_trading_day(today)
        line.market.jump(at_ist(today, CURTAIN))
    if line.board.facts.get("day") != today.isoformat():
        await begin(line, planned=True, reason="day roll")
    elif line.is_due("reload", SECOND_S) and line.reload_asked():
        await begin(line, planned=True, reason="import", universe=line.reload())


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
        **line.guard.facts(),
    }
    fresh = {name: fact for name, fact in facts.items() if line.said.get(name) != fact}
    line.said.update(fresh)
    return fresh


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
