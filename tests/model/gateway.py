"""One gateway: its replica of the board, and the hub that flushes deltas to sessions."""

from collections import deque
from dataclasses import dataclass, field

from tests.model.board import CANARY, Pos, Quote, Row, Rows, Shape, merge
from tests.model.bus import MemoryBus
from tests.model.oracle import Oracle, Violation
from tests.model.rules import Rules
from tests.model.wire import (
    Ack,
    Command,
    Fields,
    Frame,
    Hb,
    Link,
    Rate,
    Reset,
    Resume,
    Resumed,
    Snap,
    Sub,
    Sync,
    U,
    Unsub,
)

PIECE = 1  # quotes in a `snap` piece (50 on the wire)
CAP = 3  # unread frames beyond which a client is full
WAIT_MS = 2_000
BELOW_MS = 5_000
HEARTBEAT_MS = 100


@dataclass(slots=True)
class Snapshot:
    """A snapshot under way: the sync carries `start`."""

    start: Pos
    symbols: frozenset[str]
    left: list[str]


@dataclass(slots=True, eq=False)
class Session:
    """A connected client as its gateway knows it. Until `cursor` is set it has not been answered."""

    link: Link
    hz: int = 10
    shape: Shape = ()
    subscribed: set[str] = field(default_factory=set)
    active: set[str] = field(default_factory=set)  # whose snap was sent
    cursor: Pos | None = None  # everything active was sent to here
    snapshot: Snapshot | None = None
    waiting: tuple[Resume, int] | None = None  # a reader ahead of the replica, and when it came
    last_id: int = 0
    last_sent: int = 0

    @property
    def full(self) -> bool:
        return len(self.link.down) >= CAP


@dataclass(slots=True)
class Flush:
    """One flush of a class, in slices; fragments are encoded at first use and shared."""

    start: Pos
    previous: Pos | None
    todo: deque[Session]
    fragments: dict[tuple[str, Shape], Quote | None] = field(default_factory=dict)


@dataclass(slots=True)
class RateClass:
    """The sessions of one `hz`."""

    previous: Pos | None = None  # where the last flush started
    last_ms: int = 0
    flush: Flush | None = None


class Gateway:
    """Follow the bus, answer from the replica, call nobody."""

    def __init__(self, name: str, rules: Rules, oracle: Oracle) -> None:
        self.name, self.rules, self.oracle = name, rules, oracle
        self.top = 0  # the oracle's: this process never goes back
        self.rows: Rows = {}
        self.pos: Pos | None = None
        self.torn: Rows | None = None
        self.below_since: int | None = None
        self.sessions: list[Session] = []
        self.classes = {hz: RateClass() for hz in (0, 2, 10)}

    # -- the replica

    def poll(self, bus: MemoryBus, now: int, limit: int) -> str:
        """Read some of the stream; anything that does not follow on means snapshot again."""
        if self.pos is None or self.torn is not None:
            return self._snapshot(bus)
        head = bus.live.pos
        if head is None or head.rev < self.pos.rev:
            return self._below(bus, now)
        self.below_since = None
        did = ""
        for m in bus.read(self.pos.rev, limit):
            foreign = m.epoch != self.pos.epoch and self.rules.foreign_means_snapshot
            hole = m.from_rev != self.pos.rev + 1 and self.rules.hole_means_snapshot
            if foreign or hole:
                return self._snapshot(bus)
            merge(self.rows, m.rows, self.rules.replica_keeps_cleared)
            self._advance(Pos(m.epoch, m.to_rev), list(m.rows))
            did = "read"
        return did

    def _snapshot(self, bus: MemoryBus) -> str:
        """Replace the replica. A lower head means wait: a replica never goes back."""
        store = bus.live
        if not self.rules.pos_in_hash and self.torn is None:
            self.torn = dict(store.rows)
            return "half a snapshot"
        rows, self.torn = self.torn or dict(store.rows), None
        if store.pos is None or (self.pos and store.pos.rev < self.pos.rev and self.rules.lower_head_waits):
            return ""
        self.rows = rows
        self._advance(store.pos, list(rows))
        return "snapshot"

    def _below(self, bus: MemoryBus, now: int) -> str:
        """Wait below the replica, unless canaries prove for 5 s that what it holds is lost."""
        if not self.rules.lower_head_waits:
            return self._snapshot(bus)
        if self.below_since is None:
            self.below_since = now
        if now - self.below_since < BELOW_MS or canary(bus.live.rows) < self.below_since:
            return ""
        self.oracle.lost(self.name)
        self.pos, self.top = None, 0
        return self._snapshot(bus)

    def _advance(self, pos: Pos, symbols: list[str]) -> None:
        if pos.rev < self.top:
            raise Violation(f"{self.name} went back to {pos.rev} after {self.top}")
        self.pos, self.top = pos, pos.rev
        for symbol in symbols:
            values = self.rows[symbol].cells
            self.oracle.observe(self.name, pos.epoch, symbol, self.rows[symbol].rev, {f: values[f][0] for f in values})

    def ahead(self, pos: Pos | None, seen: int) -> bool:
        """Tell whether a reader has seen more than the replica: by `rev` alone, whatever the epoch (4)."""
        assert self.pos is not None
        foreign = pos is None or pos.epoch != self.pos.epoch
        newest = max(seen if self.rules.resume_carries_seen else 0, pos.rev if pos else 0)
        return newest > self.pos.rev and (self.rules.ahead_ignores_epoch or not foreign)

    def is_lost(self, arrived: int) -> bool:
        """Tell whether a canary sent after `arrived` proves that what is above the replica is gone."""
        allowance = 0 if self.rules.canary_since_arrival else 3 * WAIT_MS
        return canary(self.rows) >= arrived - allowance

    # -- deltas

    def delta(self, session: Session, since: int) -> dict[str, Quote]:
        return quotes(self.rows, session.active, since, session.shape)

    def flush(self, hz: int, now: int) -> str:
        """Start a flush of a class if one is due, else serve the next of its sessions."""
        rate = self.classes[hz]
        if self.pos is None:
            return ""
        if rate.flush is None:
            todo = deque(s for s in self.sessions if s.hz == hz and s.link.open)
            behind = any(s.cursor and s.cursor.rev < self.pos.rev for s in todo)
            if not behind or now - rate.last_ms < (1_000 // hz if hz else 0):
                return ""
            rate.flush = Flush(self.pos, rate.previous, todo)
            rate.previous, rate.last_ms = self.pos, now
            return "starts"
        flush = rate.flush
        if not flush.todo or flush.start.epoch != self.pos.epoch:
            rate.flush = None
            return "ends"
        self._serve(flush, flush.todo.popleft(), now)
        return "serves"

    def _serve(self, flush: Flush, session: Session, now: int) -> None:
        assert self.pos is not None
        cursor = session.cursor
        if cursor is None or not session.link.open or not self._same_epoch(session):
            return
        if session.full:
            if not self.rules.full_keeps_cursor:
                session.cursor = flush.start
            return
        if cursor.rev >= flush.start.rev and self.rules.flush_skips_newer:
            return
        rows = self._frame(flush, session, cursor)
        session.cursor = flush.start if self.rules.flush_carries_start else self.pos
        moves = session.snapshot is None or not self.rules.u_waits_for_sync
        if rows:
            self._send(session, U(rows, session.cursor if moves else None, session.shape), now)

    def _frame(self, flush: Flush, session: Session, cursor: Pos) -> dict[str, Quote]:
        """Join the class's fragments, or encode a frame of its own for a client behind the previous flush."""
        previous = flush.previous
        if previous is None or previous.epoch != flush.start.epoch:
            return self.delta(session, cursor.rev)
        if cursor.rev < previous.rev and self.rules.fragments_need_previous:
            return self.delta(session, cursor.rev)
        rows = {}
        for symbol in sorted(session.active):
            key = symbol, session.shape
            if key not in flush.fragments:
                row = self.rows.get(symbol)
                flush.fragments[key] = row.delta(previous.rev, session.shape) if row else None
            quote = flush.fragments[key]
            if quote:
                rows[symbol] = quote
        return rows

    def _same_epoch(self, session: Session) -> bool:
        assert self.pos is not None
        assert session.cursor is not None
        return session.cursor.epoch == self.pos.epoch or not self.rules.reset_on_epoch

    def heartbeat(self, session: Session, now: int) -> bool:
        """Send hb after silence; its position is what this client was sent, never the board's."""
        if session.cursor is None or session.full or not self._same_epoch(session):
            return False
        if now - session.last_sent < HEARTBEAT_MS:
            return False
        moves = session.snapshot is None or not self.rules.hb_waits_for_sync
        pos = session.cursor if self.rules.hb_carries_cursor else self.pos
        self._send(session, Hb(pos if moves else None), now)
        return True

    def _send(self, session: Session, frame: Frame, now: int) -> None:
        assert self.pos is not None
        session.link.down.append((self.pos.epoch, frame))
        session.last_sent = now

    # -- commands and snapshots, one after another

    def work(self, session: Session, now: int) -> str:
        """Do the next thing for one session: reset, snapshot piece, wait, or command."""
        if self.pos is None or session.full or not session.link.open:
            return ""
        if session.cursor is not None and not self._same_epoch(session):
            self._send(session, Reset(lost=session.cursor.rev > self.pos.rev), now)
            return self._snap_all(session, now)
        if session.snapshot is not None:
            return self._piece(session, session.snapshot, now)
        if session.waiting is not None:
            return self._resume(session, *session.waiting, now)
        if not session.link.up:
            return ""
        command = session.link.up.popleft()
        session.last_id = command.id
        return self._handle(session, command, now)

    def _handle(self, session: Session, command: Command, now: int) -> str:
        match command:
            case Resume():
                session.hz, session.shape, session.subscribed = command.hz, command.shape, set(command.symbols)
                return self._resume(session, command, now, now)
            case Sub():
                return self._sub(session, command.symbols - session.subscribed, now)
            case Unsub():
                session.subscribed -= command.symbols
                session.active -= command.symbols
                self._send(session, Ack(command.id), now)
            case Fields():
                session.shape = command.shape
                return self._snap_all(session, now)
            case Rate():
                session.hz = command.hz
        return type(command).__name__.lower()

    def _resume(self, session: Session, command: Resume, arrived: int, now: int) -> str:
        """Answer a reader from anywhere; one that is ahead waits, and never gets anything older."""
        assert self.pos is not None
        pos, lost = command.pos, False
        if self.ahead(pos, command.seen) and self.rules.ahead_waits:
            session.waiting = command, arrived
            if now - arrived < WAIT_MS:
                return "waits"
            lost = self.is_lost(arrived)
            if not lost:
                session.link.close()  # 4010
                return "closes 4010"
            self.oracle.lost(self.name)
        session.waiting = None
        if pos is None or lost or pos.epoch != self.pos.epoch:
            self._send(session, Resumed(recovered=False, lost=lost, board=self.pos), now)
            return self._snap_all(session, now)
        session.active, session.cursor = set(session.subscribed), self.pos
        self._send(session, Resumed(recovered=True, lost=False, board=self.pos), now)
        self._send(session, U(self.delta(session, pos.rev), self.pos, session.shape), now)
        return "recovers"

    def _sub(self, session: Session, new: frozenset[str], now: int) -> str:
        assert self.pos is not None
        assert session.cursor is not None
        session.subscribed |= new
        if self.rules.pending_before_snap:
            pending = self.delta(session, session.cursor.rev)
            session.cursor = self.pos
            if pending:
                self._send(session, U(pending, self.pos, session.shape), now)
        return self._snap(session, new, now)

    def _snap_all(self, session: Session, now: int) -> str:
        session.cursor, session.active = self.pos, set()
        return self._snap(session, frozenset(session.subscribed), now)

    def _snap(self, session: Session, symbols: frozenset[str], now: int) -> str:
        assert self.pos is not None
        session.snapshot = Snapshot(self.pos, symbols, sorted(symbols))
        return self._piece(session, session.snapshot, now)

    def _piece(self, session: Session, snapshot: Snapshot, now: int) -> str:
        assert self.pos is not None
        piece, snapshot.left = snapshot.left[:PIECE], snapshot.left[PIECE:]
        if not piece:
            pos = snapshot.start if self.rules.sync_carries_start else self.pos
            session.snapshot = None
            self._send(session, Sync(session.last_id, pos, snapshot.symbols), now)
            return "syncs"
        session.active |= set(piece)
        rows: dict[str, Quote | None] = {s: self.rows[s].full(session.shape) for s in piece if s in self.rows}
        if self.rules.snap_names_absent:
            rows |= {s: None for s in piece if s not in self.rows}
        self._send(session, Snap(rows, session.shape), now)
        return "snaps"


def quotes(rows: Rows, symbols: set[str], since: int, shape: Shape) -> dict[str, Quote]:
    """Return the delta of some symbols."""
    found = {}
    for symbol in sorted(symbols):
        row = rows.get(symbol)
        quote = row.delta(since, shape) if row else None
        if quote:
            found[symbol] = quote
    return found


def canary(rows: Rows) -> int:
    """Return when the newest canary among these rows was sent."""
    row: Row | None = rows.get(CANARY)
    return (row.cells["last"][0] or 0) if row and "last" in row.cells else 0
