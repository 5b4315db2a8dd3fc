"""From a configuration to the parts that run: the only place that names concrete adapters."""

import datetime
from dataclasses import dataclass
from typing import Final

import msgspec

from bhavcast import __version__
from bhavcast.app import sources, upgrade
from bhavcast.app.boot import boot_id
from bhavcast.app.bus import choose_bus, writer_of
from bhavcast.app.calendar import calendar_of
from bhavcast.app.config import Config
from bhavcast.app.reference import was_asked
from bhavcast.board.board import Board
from bhavcast.board.staleness import Staleness
from bhavcast.bus.port import Bus
from bhavcast.domain import field
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.session import class_of
from bhavcast.domain.span import DayRanges, Spans
from bhavcast.domain.universe import Universe
from bhavcast.flow import Ingest
from bhavcast.guard.guard import Guard
from bhavcast.journal.lease import DirectoryLease
from bhavcast.journal.reader import Recovery, recover
from bhavcast.journal.writer import FileJournal
from bhavcast.reference.store import ReferenceStore
from bhavcast.telemetry.clock import Clock, MarketClock, SystemClock

# Markets that begin anew where nothing is taken over: what an earlier one of the kind went through is not their past.
MADE: Final = ("sim", "replay")


@dataclass
class Parts:
    """What the writer's process runs."""

    config: Config
    clock: Clock
    market: MarketClock
    bus: Bus
    line: Ingest
    journal: FileJournal
    recovery: Recovery
    lease: DirectoryLease
    writer: str


def build(config: Config, clock: Clock | None = None, *, alone: bool = False) -> Parts:
    """Read what the data directory holds and put the parts together; nothing runs yet. `alone`: see RedisBus.

    Raises:
        NotTheWriter: another process writes there.
        UnknownFormat: something in it was written by a Bhavcast too new, or too old, for this one. Nothing was touched.
    """
    clock = clock or SystemClock()
    config.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    lease = DirectoryLease(config.data)
    lease.acquire()
    upgrade.refuse(config.data)
    calendar = calendar_of(config)
    recovery = recover(config.data / "journal", boot_id())
    store = ReferenceStore(config.data / "reference")

    def load() -> Universe:
        return store.load(config.scrips, config.seed)

    recovery, kept_rev = _usable(config, recovery)
    source = sources.choose(config, clock, calendar, load(), recovery)
    market, phase_of, board = source.market, source.phase_of, Board(rev=kept_rev)

    def instrument_of(symbol: str) -> Instrument | None:
        row = board.rows.get(symbol)
        return None if row is None else row.instrument

    def close_of(symbol: str) -> int | None:
        row = board.rows.get(symbol)
        close = None if row is None else row[field.PREVIOUS_CLOSE]
        return close if isinstance(close, int) else None

    days, mode = store.days, source.feed.source.mode
    if recovery.snapshot is None and mode in MADE:
        days.forget(mode)

    def keep_day(day: datetime.date, ranges: DayRanges) -> None:
        if mode != "eod":  # its file is kept already
            days.keep(day, mode, ranges)

    def spans(today: datetime.date) -> Spans:
        scales = {row.symbol: row.instrument.scale for row in board.order}
        return days.spans(today, mode, scales.get)

    writer = writer_of(config.data)
    journal = FileJournal(
        config.data / "journal", clock, boot_id=boot_id(), directory_token=writer, program=__version__
    )
    line = Ingest(
        feed=source.feed,
        guard=Guard(instrument_of, lambda instrument, at: phase_of(class_of(instrument), at), close_of),
        board=board,
        staleness=Staleness(board, phase_of),
        journal=journal,
        bus=(bus := choose_bus(config, clock, alone=alone)),
        clock=clock,
        market=market,
        calendar=calendar,
        phase_of=phase_of,
        reload=(lambda: source.universe) if source.fixed else load,
        asked=lambda: was_asked(config),
        keep_day=keep_day,
        spans=spans,
        sweep_s=config.sweep_ms / 1000,
        checkpoint_s=config.checkpoint_seconds,
        trade=source.trade,
        endless=source.endless,
    )
    return Parts(config, clock, market, bus, line, journal, recovery, lease, writer)


def _usable(config: Config, found: Recovery) -> tuple[Recovery, int]:
    """Return what is taken over: nothing but the revision where another source spoke last, or a start was asked for."""
    if found.snapshot is None:
        return found, 0
    spoke = found.snapshot.facts.get("feeds") or {}
    if config.at is None and config.source_name in spoke and config.source_name == "sim":
        return found, 0
    why = "a start of its own was asked for" if config.at else "another source speaks now"
    # The token stays known: the next writer's must be higher.
    opening = None if found.opening is None else msgspec.structs.replace(found.opening, token=found.token)
    return Recovery(None, continues=False, reason=why, opening=opening), found.snapshot.rev
