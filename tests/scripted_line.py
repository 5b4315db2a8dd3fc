"""An ingest whose feed is a script and whose clock stands still until the script moves it."""

import datetime
from collections.abc import AsyncIterator
from pathlib import Path

from bhavcast.board.board import Board
from bhavcast.board.staleness import Staleness
from bhavcast.bus.memory import MemoryBus
from bhavcast.bus.port import Bus
from bhavcast.domain import field
from bhavcast.domain.calendar import Calendar, at_ist
from bhavcast.domain.field import Values
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.session import class_of
from bhavcast.domain.tick import Batch, FeedState, Source, Tick
from bhavcast.domain.universe import Universe
from bhavcast.feeds.supervisor import Supervised
from bhavcast.flow import Ingest, ingest, recover
from bhavcast.guard.guard import Guard
from bhavcast.journal import reader
from bhavcast.journal.writer import FileJournal
from bhavcast.reference.past_days import PastDays
from bhavcast.telemetry.clock import ManualClock, MarketClock

RELIANCE = Instrument(symbol="500325", id="RELIANCE", name="RELIANCE INDUSTRIES LTD.", group="A", band=10)
TCS = Instrument(symbol="532540", id="TCS", name="TATA CONSULTANCY SERVICES LTD.", group="A", band=20)
UNIVERSE = Universe({each.symbol: each for each in (RELIANCE, TCS)}, {"500325": 150000, "532540": 300000}, [])
SOURCE = Source(name="script", mode="sim", grade="tick")


def moment(text: str) -> int:
    """Read `2026-11-23 09:15:00` in IST as milliseconds."""
    at = datetime.datetime.fromisoformat(text)
    return at_ist(at.date(), at.time())


class Script:
    """A feed that yields what it is given, and moves the clock before each batch."""

    source = SOURCE
    state: FeedState = "live"

    def __init__(self, line: "Line") -> None:
        self._line = line
        self.steps: list[tuple[int, list[Tick]]] = []

    def instruments(self) -> list[Instrument]:
        return []

    async def batches(self) -> AsyncIterator[Batch]:
        for at, ticks in self.steps:
            self._line.go_to(at)
            yield Batch(self.source, self._line.market.now_ms(), ticks)

    async def close(self) -> None:
        return


class Line:
    """One life of the writer, from the start to a stop that it does not see coming."""

    def __init__(
        self,
        folder: Path,
        start: str = "1970-01-01 05:30:00",
        *,
        speed: float = 1.0,
        universe: Universe = UNIVERSE,
        boot_id: str = "boot",
        endless: bool = False,
        calendar: Calendar | None = None,
        bus: Bus | None = None,
        writer: str = "script",
        clock: ManualClock | None = None,
        market: MarketClock | None = None,
    ) -> None:
        self.folder = folder
        self.boot_id = boot_id
        self.universe = universe
        self.clock = clock or ManualClock(moment(start))
        self.speed = speed
        self.market = market or MarketClock(self.clock, start_ms=moment(start), speed=speed)
        self.board = Board()
        self.bus: Bus = bus or MemoryBus()
        self.writer = writer
        self.days = PastDays(folder / "days")
        self.feed = Script(self)
        calendar = calendar or Calendar.builtin()
        self.journal = FileJournal(folder, self.clock, boot_id=boot_id, directory_token=writer)
        self.line = Ingest(
            feed=self.feed,
            guard=Guard(self._instrument, lambda instrument, at: calendar.phase(class_of(instrument), at), self._close),
            board=self.board,
            staleness=Staleness(self.board, calendar.phase),
            journal=self.journal,
            bus=self.bus,
            clock=self.clock,
            market=self.market,
            calendar=calendar,
            phase_of=calendar.phase,
            reload=lambda: self.universe,
            keep_day=lambda day, ranges: self.days.keep(day, "sim", ranges),
            spans=lambda today: self.days.spans(today, "sim", lambda symbol: self.board.rows[symbol].instrument.scale),
            endless=endless,
        )

    def _instrument(self, symbol: str) -> Instrument | None:
        row = self.board.rows.get(symbol)
        return None if row is None else row.instrument

    def _close(self, symbol: str) -> int | None:
        close = self.board.rows[symbol][field.PREVIOUS_CLOSE]
        return close if isinstance(close, int) else None

    async def start(self) -> "Line":
        found = reader.recover(self.folder, self.boot_id)
        await recover(self.line, found, self.writer)
        return self

    def supervised(self) -> "Line":
        """Let its feed be one that can be paused, and begins anew at once when it fails."""
        self.line.feed = Supervised(
            lambda: Script(self),
            SOURCE,
            clock=self.clock,
            now_ms=self.market.now_ms,
            ticks_due=lambda at: True,
            chance=lambda: 1.0,
        )
        return self

    def found(self) -> reader.Recovery:
        """What a start would find now."""
        return reader.recover(self.folder, self.boot_id)

    def go_to(self, market_ms: int) -> None:
        self.clock.advance((market_ms - self.market.now_ms()) / 1000 / self.speed)

    async def play(self, *steps: tuple[str, list[tuple[str, Values]]]) -> None:
        """Let ticks come: `("2026-11-23 09:15:01", [("500325", {…})])`, stamped with that moment."""
        for when, said in steps:
            at = moment(when)
            await self.say(at, [Tick(symbol, at, values) for symbol, values in said])

    async def say(self, at: int, ticks: list[Tick]) -> None:
        self.feed.steps = [(at, ticks)]
        await ingest(self.line)

    async def wait(self, until: str, each_ms: int = 250) -> None:
        """Let time pass with nothing to say, in steps of market time."""
        end = moment(until)
        while (now := self.market.now_ms()) < end:
            await self.say(min(now + each_ms, end), [])

    def value(self, symbol: str, number: int) -> field.Held:
        return self.board.rows[symbol][number]

    def state(self) -> dict[str, tuple[int, list[field.Held], list[int]]]:
        return {row.symbol: (row.rev, list(row), row.revs) for row in self.board.order}
