"""One gateway: its replica of the board, its clients, and what it knows of symbols."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import msgspec

from bhavcast.access.allowance import Bucket
from bhavcast.access.doorkeeper import Doorkeeper
from bhavcast.access.keyring import Keyring
from bhavcast.board.board import Board, Row
from bhavcast.board.encode import Encoder, WholeRows
from bhavcast.domain.change import Message
from bhavcast.domain.directory import Directory
from bhavcast.domain.errors import BhavcastError, Draining, TooManyConnections, Unavailable
from bhavcast.domain.field import STATE, TIMESTAMP
from bhavcast.domain.index import IndexBasis
from bhavcast.domain.instrument import CANARY_SYMBOL
from bhavcast.domain.shape import Shape
from bhavcast.gateway.close_codes import CloseCode
from bhavcast.hub.hub import Hub
from bhavcast.telemetry.clock import Clock, MarketClock

DEAF_S: Final = 5.0
BURST_S: Final = 5  # of the messages a second that a client may send, so many seconds' worth may come at once
_NOT_FRESH: Final = ("stale", "no_data", None)


def fresh(rows: Iterable[Row]) -> int:
    """Count the rows whose value is neither stale nor missing."""
    return sum(row[STATE] not in _NOT_FRESH for row in rows)


class Limits(Protocol):
    """What one client may ask for."""

    @property
    def symbols(self) -> int:
        """Symbols on one connection."""

    @property
    def symbols_per_message(self) -> int:
        """Symbols in one message."""

    @property
    def sockets(self) -> int:
        """Connections at once, streams and all others."""

    @property
    def message_bytes(self) -> int:
        """Bytes of one message."""

    @property
    def messages_per_second(self) -> int:
        """Messages of one connection: frames of a WebSocket, packets that are posted."""

    @property
    def connections(self) -> int:
        """Streaming clients at once."""

    @property
    def body_bytes(self) -> int:
        """Bytes of one request's body."""

    @property
    def url_bytes(self) -> int:
        """Bytes of one request's URL."""


class Member(Protocol):
    """A client's session, as the gateway tells it things."""

    def restart(self) -> None:
        """Subscribe everything anew: the epoch is another."""

    def admit(self, rows: list[Row]) -> None:
        """Take in rows that were added, where a group or everything is followed."""

    def note(self, slots: list[int]) -> None:
        """Take note of rows whose state has changed."""

    def beat(self, now: float) -> None:
        """Send a heartbeat if it has been silent for long enough."""

    def send_away(self, code: CloseCode, retry_ms: int | None = None) -> None:
        """Say goodbye and why, and when to come again."""


@dataclass
class Gateway:
    """Implements flow.Audience. Answers everything from its replica and calls nobody."""

    replica: Board
    clock: Clock
    market: MarketClock
    limits: Limits
    heartbeat_ms: int = 5000
    link: str = "ok"
    linked_at: float = 0.0
    draining: bool = False
    heard_at: int = 0  # market time of the last message
    # How the processes of this system are, by name, where something watches over them.
    roles: Callable[[], dict[str, dict[str, Any]]] = dict
    reads: int = 0
    fresh_reads: int = 0
    wanted: int = 0  # scrips that streams follow by name, when ingest was last told
    # Rises whenever what a symbol means, or whether this gateway answers at all, may have changed.
    generation: int = 0
    # Calls back after seconds; a test without a loop has its own.
    later: Callable[[float, Callable[[], None]], object] = lambda delay, call: asyncio.get_running_loop().call_later(
        delay, call
    )
    # Who may come in; without another, whoever is on this machine reads.
    keeper: Doorkeeper | None = None
    directory: Directory = field(default_factory=lambda: Directory(()))
    members: set[Member] = field(default_factory=set)
    # How other protocols write a row: Socket.IO, Kite.
    dialects: dict[str, Callable[[Row], bytes]] = field(default_factory=dict)
    # Those of them whose rows do not show the state of a scrip: they are told of it.
    blind: set[Member] = field(default_factory=set)
    # Slots of the rows that no source has spoken of yet.
    unseen: set[int] = field(default_factory=set)
    quote: Encoder = field(init=False)
    hub: Hub = field(init=False)
    door: Doorkeeper = field(init=False)
    _newest: Message | None = None
    _header: bytes = b""
    _header_rev: int = -1

    def __post_init__(self) -> None:
        self.door = Doorkeeper(Keyring(), self.clock) if self.keeper is None else self.keeper
        self.hub = Hub(self.replica, self._encoder)
        self.hub.stamps = self._stamps
        self.quote = self.hub.encoder(Shape())  # type: ignore[assignment]  # the hub makes board encoders here

    def _encoder(self, shape: Shape) -> Encoder | WholeRows:
        return WholeRows(shape, self.dialects[shape.dialect]) if shape.dialect else Encoder(shape)

    # -- the bus speaks ---------------------------------------------------------------------------------------------

    def restart(self, *, planned: bool) -> None:
        """Begin again: the replica is of another epoch."""
        self._learn()
        self.hub.reset()
        for member in list(self.members):
            member.restart()

    def hear(self, slots: list[int], message: Message | None) -> None:
        """Pass on what changed."""
        if message is None or message.instruments:
            self._grow()
        if message is not None and message.changes:
            self._newest = message
        self.hub.notice(slots)
        if self.unseen and (met := self.unseen.intersection(slots)):
            self.unseen.difference_update(slot for slot in met if self.replica.order[slot].has_data)
        if self.blind:
            self._note(slots, message)
        if message is not None:
            self.heard_at = message.published
            if message.facts:
                self._tell(message.facts)

    def linked(self, link: str) -> None:
        """Learn how well the bus is heard, and tell it: rows of streams keep the state that the board gave them."""
        if link == self.link:
            return
        self.link, self.linked_at = link, self.clock.monotonic()
        self.generation += 1  # full quotes carry it
        self.hub.tell_all({"t": "feed", "link": link}, self.linked_at)

    def interest(self) -> frozenset[str]:
        """Return what streams follow by name; whoever follows everything wants nothing in particular."""
        slots = set[int]().union(*(cohort.subscribed() for cohort in self.hub.cohorts))
        self.wanted = len(slots)
        return frozenset(self.replica.order[slot].symbol for slot in slots)

    def _note(self, slots: list[int], message: Message | None) -> None:
        since = 0 if message is None else message.from_rev
        order = self.replica.order
        changed = [slot for slot in slots if order[slot].changed(STATE) >= since]
        if changed:
            for member in self.blind:
                member.note(changed)

    def _stamps(self) -> dict[str, int]:
        """Say when the newest batch was traded, received and published, and that it is sent now: market time, ms."""
        told = {"flushed": self.market.now_ms()}
        if (newest := self._newest) is None:
            return told
        times = [time for change in newest.changes if isinstance(time := change.values.get(TIMESTAMP), int)]
        exchange = {"exchange": max(times)} if times else {}
        received = {"received": newest.received} if newest.received else {}
        return {**exchange, **received, "published": newest.published, **told}

    def _grow(self) -> None:
        before = len(self.directory)
        new = [row for row in self.replica.order if row.symbol not in self.directory]
        self._learn()
        self.hub.grow()
        if before and new:
            for member in list(self.members):
                member.admit(new)

    def full_up(self) -> BhavcastError | None:
        """Return why no further stream is taken, if so."""
        if self.draining:
            return Draining("the service is shutting down")
        if not self.ready:
            return Unavailable("the board is not here yet")
        if len(self.members) >= self.limits.connections:
            return TooManyConnections(f"at most {self.limits.connections} streaming clients are served")
        return None

    def drain(self) -> None:
        """Answer nobody any more."""
        self.draining = True
        self.generation += 1

    def _learn(self) -> None:
        self.generation += 1
        self._header_rev = -1
        self.unseen = {row.slot for row in self.replica.order if not row.has_data}
        bases = msgspec.convert(self.replica.facts.get("indices", []), list[IndexBasis])
        self.directory = Directory((row.instrument for row in self.everyone()), bases)

    def _tell(self, facts: dict[str, Any]) -> None:
        now = self.clock.monotonic()
        if (market := facts.get("market")) is not None:
            self.hub.tell_all({"t": "market", **market}, now)
        for name, feed in (facts.get("feeds") or {}).items():
            self.hub.tell_all({"t": "feed", "feed": name, **feed}, now)

    # -- what is known ----------------------------------------------------------------------------------------------

    @property
    def position(self) -> str:
        """How far this gateway has come."""
        return f"{self.replica.epoch}:{self.replica.rev}"

    def position_header(self) -> bytes:
        """Return the position as a header line; made once per revision."""
        rev = self.replica.rev
        if rev != self._header_rev:
            self._header_rev = rev
            self._header = f"x-bhavcast-position: {self.position}\r\n".encode()
        return self._header

    @property
    def ready(self) -> bool:
        """Whether there is a board to answer from. A bus out of reach makes it old; only one that others hear, useless."""
        deaf = self.link == "deaf" and self.clock.monotonic() - self.linked_at >= DEAF_S
        return bool(self.replica.epoch) and not self.draining and not deaf

    def message_allowance(self) -> Bucket:
        """Return what one connection may send: so much a second on the average, and BURST_S seconds' worth at once."""
        rate = self.limits.messages_per_second
        return Bucket(rate, BURST_S * rate, self.clock.monotonic())

    def count_reads(self, rows: Iterable[Row], asked: int) -> None:
        """Count quote reads, and those answered with a value that is neither stale nor missing."""
        self.reads += asked
        self.fresh_reads += fresh(rows)

    def row(self, symbol: str) -> Row:
        """Find the row of a code, id, ISIN or index; raise UnknownSymbol or AmbiguousSymbol."""
        row = self.replica.rows.get(symbol)
        return row if row is not None else self.replica.rows[self.directory.resolve(symbol).symbol]

    def heard_since(self, market_ms: int) -> bool:
        """Tell whether a canary that was sent at or after some market time has come: whether this gateway hears."""
        canary = self.replica.rows.get(CANARY_SYMBOL)
        sent = None if canary is None else canary[TIMESTAMP]
        return self.link == "ok" and isinstance(sent, int) and sent >= market_ms

    def fact(self, name: str) -> dict[str, Any]:
        """Return the latest content of a fact, empty if it was never said."""
        return self.replica.facts.get(name) or {}

    def feed_states(self) -> dict[str, str]:
        """Return the state of each feed."""
        return {name: feed["state"] for name, feed in self.fact("feeds").items()}

    def everyone(self) -> list[Row]:
        """Return the rows of all scrips and indices, without the canary."""
        return [row for row in self.replica.order if not row.hidden]
