"""THE MAIN PATH. Read this file first.

    feed -> guard -> board -> journal -> bus -> (each gateway) replica -> hub -> outbox -> client

`recover` begins an epoch or goes on with one, `ingest` carries ticks from the feed to the bus, `relay` carries messages
from the bus to the hub. Why a reader can be brought up to date exactly from any position is said in
docs/explanation/state.md.
"""

from collections.abc import Callable
from typing import Final, Protocol

import msgspec
import structlog

from bhavcast.board.board import Board, Row
from bhavcast.board.staleness import Staleness
from bhavcast.bus.port import Bus
from bhavcast.domain import field
from bhavcast.domain.calendar import Calendar
from bhavcast.domain.change import Message, Snapshot
from bhavcast.domain.errors import BusHole
from bhavcast.domain.field import Values
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.price import band_limits
from bhavcast.domain.tick import Batch, Source, Tick
from bhavcast.domain.universe import Universe
from bhavcast.feeds.port import Feed
from bhavcast.guard.guard import Guard
from bhavcast.journal.port import Journal
from bhavcast.telemetry.clock import Clock, MarketClock

log = structlog.get_logger()

# A scrip of our own, ticking once a second through the whole path in bus order: what it takes to arrive is what any
# price takes. Hidden from lists and breadth.
CANARY: Final = Instrument(symbol="000000", id="CANARY", name="Bhavcast canary", group="", status="A")
CANARY_SOURCE: Final = Source(name="canary", mode="real", grade="tick")
