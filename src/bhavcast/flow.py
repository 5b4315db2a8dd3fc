"""THE MAIN PATH. Read this file first.

    feed -> guard -> board -> journal -> bus -> (each gateway) replica -> hub -> outbox -> client

`recover` begins an epoch or goes on with one, `ingest` carries ticks from the feed to the bus, `relay` carries messages
from the bus to a gateway's clients. Why a reader can be brought up to date exactly, from any position, is said in
docs/explanation/state.md.
"""

import asyncio
import contextlib
import datetime
import random
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
from bhavcast.bus.port import Bus, Claim, Lead, Link
from bhavcast.domain import field as fields
from bhavcast.domain import gap
from bhavcast.domain.calendar import Calendar, at_ist, ist
from bhavcast.domain.change import Change, Message, encode
from bhavcast.domain.errors import BadRecord, BusHole, NotTheWriter, Unavailable
from bhavcast.domain.field import Values
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
# A journal that fails tries a checkpoint this often: soon after there is room again, nothing is missing any more.
MEND_S: Final = 2.0
# Rows that are encoded for it between two batches.
CHECKPOINT_SLICE: Final = 256
# A virtual day is over this long after its last phase; then the clock is set to just before the next continuous session.
AFTERGLOW_MS: Final = 5 * 60_000
CURTAIN_MS: Final = 10_000
DAY_BEGINS_AT: Final = datetime.time(8)
# How often one who stands by asks for the lease: with the lease's 3 s, a takeover takes less than 4.
ASK_AGAIN_S: Final = (0.25, 0.5)
# An orphan asks within its work, which must go on. Longer than the bus waits for a replica that does not answer.
REGAIN_S: Final = 0.75
INTEREST_S: Final = 10.0
BAD_S: Final = 1.0


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
    errands: deque[Callable[[], Awaitable[None]]] = field(default_factory=deque)
    due: dict[str, float] = field(default_factory=dict)
    making: Checkpoint | None = None
    said: dict[str, Any] = field(default_factory=dict)
    writer: str = ""  # who this is on the bus
    orphan: str | None = None  # why nothing of this is published
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
        encoded = encode(message)
        self.journal.append(message, encoded)
        if self.orphan is None:
            await self.tell(self.bus.publish(message, encoded))

    async def tell(self, saying: Awaitable[None]) -> None:
        """Say something on the bus. Whoever may not any more is an orphan: it goes on for its journal alone."""
        try:
            await saying
            self.orphan = None
        except NotTheWriter as refused:
            self.orphan = refused.detail
            log.error("an orphan: this ingest goes on for its journal alone", why=refused.detail)

    def lead(self, lead: Lead) -> None:
        """Write with this lease from now on."""
        self.board.token, self.journal.run_id = lead.token, lead.run_id


# -- start and recovery: the same thing ---------------------------------------------------------------------------------


async def recover(line: Ingest, found: Recovery, writer: str) -> None:
    """Take the lease, and take up what the journal holds.

    Its epoch goes on if nothing can be missing and the bus is where this directory left it; else a new one begins, from
    the newer of journal and bus.
    """
    line.began, line.writer = line.market.now_ms(), writer
    run_id = "" if found.opening is None else found.opening.run_id
    epoch = found.snapshot.epoch if found.continues and found.snapshot is not None else ""
    lead = await stand_by(line.bus, Claim(writer, found.token, epoch, run_id))
    if found.snapshot is not None:
        line.board.load(found.snapshot)
        line.last_said = found.snapshot.market
    await take_newer(line, lead)
    known = [row.instrument for row in line.board.order]
    universe = line.traded = line.reload()
    instruments = [CANARY, *universe.instruments.values(), *line.feed.instruments()]
    line.board.add(instruments)
    redefined = known != [row.instrument for row in line.board.order]
    line.lead(lead)
    day = line.calendar.trading_date(line.market.now_ms()).isoformat()
    if found.continues and lead.continues and not redefined and line.board.facts.get("day") == day:
        snapshot = line.board.snapshot(line.market.now_ms())
        line.journal.resume(replace(found, snapshot=snapshot))  # with this writer's token: the next one's is higher
        await line.tell(line.bus.begin(snapshot))
        log.info("epoch goes on", epoch=line.board.epoch, rev=line.board.rev, rows=len(line.board.order))
    else:
        # A whole journal lost nothing, whatever the reason for which its epoch is over; nor did a first start.
        changed = "scrips were redefined" if redefined else "day roll"
        reason = found.reason if not found.continues else lead.reason or changed
        first = found.snapshot is None and not found.skipped
        await begin(line, planned=first or found.continues, reason=reason)


async def stand_by(bus: Bus, claim: Claim) -> Lead:
    """Wait for the lease, however long another has it or the bus is out of reach."""
    said = ""
    while True:
        try:
            return await bus.lead(claim)
        except (NotTheWriter, Unavailable) as refused:
            if refused.detail != said:
                said = refused.detail
                log.warning("standing by", why=said)
            await asyncio.sleep(random.uniform(*ASK_AGAIN_S))


async def take_newer(line: Ingest, lead: Lead) -> None:
    """Become what the bus holds where that is newer: another ingest has written since."""
    if lead.position.rev > line.board.rev:
        line.board.load(await line.bus.snapshot())


async def regain(line: Ingest) -> None:
    """Ask for the lease again; what was said without it stands in the journal only, so a new epoch begins."""
    with contextlib.suppress(NotTheWriter, Unavailable, TimeoutError):
        async with asyncio.timeout(REGAIN_S):
            lead = await line.bus.lead(Claim(line.writer, line.board.token))
            instruments = [row.instrument for row in line.board.order]
            await take_newer(line, lead)
            line.board.add(instruments)
            line.lead(lead)
        why, line.orphan = line.orphan, None
        await begin(line, planned=False, reason=f"the lease was lost: {why}")


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
        board.roll(lambda row: opening(row, universe, seen=row.price(fields.PREVIOUS_CLOSE), official=official))
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
    await asyncio.to_thread(line.journal.begin, snapshot)
    await line.tell(line.bus.begin(snapshot))
    log.info("epoch begins", epoch=board.epoch, rev=board.rev, rows=len(board.order), day=day, reason=reason)


def trade(line: Ingest, universe: Universe) -> None:
    """Let the market that is made up begin its day with a universe, from the previous closes that the board has."""
    closes = {row.symbol: row[fields.PREVIOUS_CLOSE] for row in line.board.order}
    known = {symbol: close for symbol, close in closes.items() if isinstance(close, int)}
    line.traded = universe
    if line.trade is not None:
        line.trade(msgspec.structs.replace(universe, closes=universe.closes | known))


def keep_day(line: Ingest, today: datetime.date) -> None:
    """Keep the highs and lows of the day that is over, if one is."""
    ended = line.board.facts.get("day")
    if ended is not None and ended != today.isoformat():
        figures = ((row, row[fields.HIGH], row[fields.LOW]) for row in line.board.order)
        ranges = {
            row.symbol: DayRange(high, low, row.instrument.scale)
            for row, high, low in figures
            if isinstance(high, int) and isinstance(low, int)
        }
        try:
            line.keep_day(datetime.date.fromisoformat(ended), ranges)
        except Unavailable as error:
            log.warning("the ranges of the day could not be kept", day=ended, why=error.detail)


def close_of(row: Row) -> int | None:
    """Return the close of the day that ends, as far as it was seen; of a scrip that did not trade, the one before."""
    return row.price(fields.CLOSE_PRICE) or row.price(fields.CURRENT_PRICE) or row.price(fields.PREVIOUS_CLOSE)


def opening(row: Row, universe: Universe, *, seen: int | None, official: bool) -> Values:
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
    if line.orphan is not None and line.is_due("regaining", random.uniform(*ASK_AGAIN_S)):
        await regain(line)
    if line.is_due("second", SECOND_S):
        beat = Tick(CANARY.symbol, now, {fields.LAST_TRADE_TIME: now})
        await line.say(changes=line.board.apply(CANARY_SOURCE, [beat]), facts=news(line, now))
        if line.asked():
            await begin(line, planned=True, reason="reference data was imported", imported=True)
    failing = line.journal.failing is not None
    if line.is_due("checkpoint", line.checkpoint_s) or (
        line.is_due("mending", MEND_S) if failing else line.journal.tail > CHECKPOINT_BYTES
    ):
        line.making = line.making or Checkpoint(line.board)
    if line.making is not None and line.making.ahead(CHECKPOINT_SLICE):
        began = line.clock.monotonic()
        # Nothing is said meanwhile, for it is said here; so the order in the journal is that of the revisions.
        snapshot, line.making = line.making.finish(now), None
        await asyncio.to_thread(line.journal.checkpoint, snapshot)
        ended = line.clock.monotonic()
        # The feed waits meanwhile, so a disk that takes its time to fail is asked less often.
        line.due["mending"] = ended + max(MEND_S, 10 * (ended - began))


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
        "ingest": figures(line),
        **line.guard.facts(),
    }
    fresh = {name: fact for name, fact in facts.items() if line.said.get(name) != fact}
    line.said.update(fresh)
    return fresh


def figures(line: Ingest) -> dict[str, Any]:
    """Return what ingest counts: gateways show it among their own figures, wherever they run."""
    return {
        "ticks": {line.feed.source.name: line.ticks},
        "late": line.guard.late,
        "duplicates": line.guard.duplicates,
        "journal_bytes": line.journal.size,
        "journal_lost": line.journal.lost,
        "journal_synced_rev": line.journal.synced_rev,
        "orphan": line.orphan is not None,
        "errands": len(line.errands),
        "tasks": len(asyncio.all_tasks()),
        "bus": line.bus.counts(),
    }


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

    def hear(self, slots: list[int], message: Message | None) -> None:
        """Pass on that the rows of some slots changed, by a message or (None) by a snapshot within the epoch."""

    def linked(self, link: Link) -> None:
        """Learn how well the bus is heard."""

    def interest(self) -> frozenset[str]:
        """Return the scrips that someone asked for by name."""


async def relay(bus: Bus, replica: Board, audience: Audience) -> None:
    """Keep a replica of the board and tell its audience, until the bus is closed. What fails beside that is raised too."""
    following = asyncio.create_task(_follow(bus, replica, audience))
    parts = {following, asyncio.create_task(_watch(bus, audience)), asyncio.create_task(_ask(bus, audience))}
    try:
        while not following.done():
            done, parts = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                part.result()
    finally:
        for part in (following, *parts):
            part.cancel()
        await asyncio.gather(following, *parts, return_exceptions=True)


async def _watch(bus: Bus, audience: Audience) -> None:
    async for link in bus.links():
        audience.linked(link)


async def _ask(bus: Bus, audience: Audience) -> None:
    """Tell ingest what is asked for, well before it forgets."""
    name = secrets.token_hex(8)
    while True:
        await bus.want(name, audience.interest())
        await asyncio.sleep(INTEREST_S)


async def _follow(bus: Bus, replica: Board, audience: Audience) -> None:
    """Follow; a hole in what was heard means: take the snapshot again. A lower one only if what was above is lost."""
    while True:
        snapshot = await bus.snapshot(replica.position)
        lost = snapshot.rev < replica.rev
        if lost or snapshot.epoch != replica.epoch:
            replica.load(snapshot)
            audience.restart(planned=snapshot.planned and not lost)
        else:
            audience.hear(replica.catch_up(snapshot), None)
        try:
            async for message in bus.follow(replica.position):
                audience.hear(replica.follow(message), message)
        except BusHole as hole:
            log.info("bus followed from its snapshot", why=hole.detail)
        except BadRecord as bad:
            log.error("a message of the bus is none; its snapshot is taken", why=bad.detail)
            await asyncio.sleep(BAD_S)  # until its writer has gone on: before that the same one comes again
        else:
            return
