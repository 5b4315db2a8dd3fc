"""Readers: a WebSocket client that resumes, and a REST reader that asks `since`."""

from collections.abc import Mapping

from tests.model.board import SHAPES, SYMBOLS, Pos, Quote, Row, Shape
from tests.model.gateway import Gateway, Session, quotes
from tests.model.oracle import Oracle, Violation, Witness
from tests.model.rules import Rules
from tests.model.wire import Ack, Fields, Frame, Hb, Link, Rate, Reset, Resume, Resumed, Snap, Sub, Sync, U, Unsub


class Client:
    """Hold rows, a position, and what of them is complete to that position (3)."""

    def __init__(self, name: str, rules: Rules, oracle: Oracle, symbols: frozenset[str], hz: int) -> None:
        self.name, self.rules = name, rules
        self.witness = Witness(name, oracle)
        self.shape: Shape = SHAPES[0]
        self.hz = hz
        self.wanted = set(symbols)
        self.rows: dict[str, Quote] = {}
        self.pos: Pos | None = None
        self.seen = 0  # the newest revision ever held, which may be past the position
        self.held: set[str] = set()  # complete to the position
        self.at_pos: dict[str, int] = {}  # the oracle's: rows as they were at the position
        self.link: Link | None = None
        self.last_id = 0
        self.needs_sync = 0  # syncs answering an older command do not restore the position
        self.leaving: dict[str, int] = {}  # symbols between unsub and ack

    # -- what the client asks

    def _next_id(self) -> int:
        self.last_id += 1
        return self.last_id

    def connect(self, gateway: Gateway) -> None:
        """Resume with what is held at the position; the rest is a `sub` after it."""
        self.link = link = Link()
        self.leaving = {}
        named = self.held if self.pos and self.rules.resume_names_held else self.wanted
        self.needs_sync = self._next_id()
        link.up.append(Resume(self.last_id, self.pos, self.seen, frozenset(named), self.shape, self.hz))
        if self.wanted - named:
            link.up.append(Sub(self._next_id(), frozenset(self.wanted - named)))
        gateway.sessions.append(Session(link))

    def cut(self) -> None:
        if self.link:
            self.link.close()
        self.link = None

    def sub(self, symbol: str) -> None:
        self.wanted.add(symbol)
        self._send(Sub(self._next_id(), frozenset({symbol})))

    def unsub(self, symbol: str) -> None:
        self.wanted.discard(symbol)
        self.held.discard(symbol)
        self.rows.pop(symbol, None)
        if self.link:
            self.leaving[symbol] = self.last_id + 1
        self._send(Unsub(self._next_id(), frozenset({symbol})))

    def set_fields(self, shape: Shape) -> None:
        """Change the connection's fields, which drops the position (3)."""
        self.shape = shape
        if self.rules.fields_drop_position:
            self._drop_position()
        if self.rules.stale_sync_ignored:
            self.needs_sync = self.last_id + 1
        self._send(Fields(self._next_id(), shape))

    def set_hz(self, hz: int) -> None:
        self.hz = hz
        self._send(Rate(self._next_id(), hz))

    def _send(self, command: Sub | Unsub | Fields | Rate) -> None:
        if self.link:
            self.link.up.append(command)

    # -- what the client is told

    def receive(self) -> Frame | None:
        if self.link is None or not self.link.down:
            return None
        epoch, frame = self.link.down.popleft()
        match frame:
            case Ack():
                self.leaving = {s: i for s, i in self.leaving.items() if i != frame.id}
            case Snap():
                for symbol, quote in frame.rows.items():
                    self._snap(epoch, symbol, quote, frame.shape)
            case U():
                for symbol, quote in frame.rows.items():
                    self._change(epoch, symbol, quote, frame.shape)
                self._move(frame.pos)
            case Hb():
                self._move(frame.pos)
            case Sync():
                self._sync(frame)
            case Resumed(recovered=True):
                if not self.rules.resumed_moves_nothing:
                    self._move(frame.board)
            case Resumed() | Reset():
                self._drop_position()
                self.witness.starts_over(frame.lost)
        return frame

    def _accepts(self, symbol: str) -> bool:
        return symbol not in self.leaving or not self.rules.ignores_unsubscribed

    def _snap(self, epoch: str, symbol: str, quote: Quote | None, shape: Shape) -> None:
        if not self._accepts(symbol):
            return
        if quote is None:
            self.rows.pop(symbol, None)
            return
        if not self.rules.snap_replaces and symbol in self.rows:
            quote = Quote(quote.rev, {**self.rows[symbol].values, **quote.values})
        self._hold(epoch, symbol, quote, shape)

    def _change(self, epoch: str, symbol: str, quote: Quote, shape: Shape) -> None:
        if not self._accepts(symbol):
            return
        if quote.rev < self.at_pos.get(symbol, 0):
            raise Violation(f"{self.name}: {symbol} at {quote.rev} is older than the position")
        old = self.rows.get(symbol)
        if old and quote.rev < old.rev and self.rules.drops_older:
            return
        values = {**(old.values if old else {}), **quote.values}
        self._hold(epoch, symbol, Quote(quote.rev, {f: v for f, v in values.items() if v is not None}), shape)

    def _hold(self, epoch: str, symbol: str, quote: Quote, shape: Shape) -> None:
        self.rows[symbol] = quote
        self.seen = max(self.seen, quote.rev)
        self.witness.held(epoch, symbol, quote, shape)

    def _drop_position(self) -> None:
        self.pos, self.at_pos = None, {}

    def _move(self, pos: Pos | None) -> None:
        """Move the position, if there is one and the frame carries one."""
        if pos is None or self.pos is None:
            return
        self.witness.moved(pos)
        self.pos, self.seen = pos, max(self.seen, pos.rev)
        self.at_pos = {s: q.rev for s, q in self.rows.items() if s in self.held and q.rev <= pos.rev}

    def _sync(self, frame: Sync) -> None:
        synced = {s for s in frame.symbols if s in self.wanted and s not in self.leaving}
        if self.pos is None:
            if frame.id < self.needs_sync:
                return
            self.held, self.pos = set(), frame.pos
            self.seen = max([frame.pos.rev, *(q.rev for q in self.rows.values())])
        self.held |= synced
        self._move(frame.pos)

    def differs(self, rows: Mapping[str, Row]) -> str:
        """Say how this client's state differs from the board's, once things are quiet (invariant 1)."""
        if self.pos is None or self.held != self.wanted:
            return f"{self.name} holds no position for all it wants"
        return _difference(self.name, self.rows, self.wanted, self.shape, rows)


class Reader:
    """A REST reader that polls `since` on whatever gateway it reaches."""

    def __init__(self, name: str, rules: Rules, oracle: Oracle) -> None:
        self.name, self.rules = name, rules
        self.witness = Witness(name, oracle)
        self.shape = SHAPES[1]
        self.rows: dict[str, Quote] = {}
        self.pos: Pos | None = None
        self.behind_since: int | None = None

    def read(self, gateway: Gateway, now: int) -> str:
        """Ask for what changed; 503 `behind` from a gateway that has less."""
        if gateway.pos is None:
            return "503"
        lost = False
        if gateway.ahead(self.pos, 0) and self.rules.ahead_waits:
            self.behind_since = now if self.behind_since is None else self.behind_since
            lost = gateway.is_lost(self.behind_since)
            if not lost:
                return "503 behind"
            gateway.oracle.lost(gateway.name)
        self.behind_since = None
        if self.pos is None or lost or self.pos.epoch != gateway.pos.epoch:
            self.witness.starts_over(lost)
            self.rows = {s: gateway.rows[s].full(self.shape) for s in SYMBOLS if s in gateway.rows}
        else:
            self._merge(quotes(gateway.rows, set(SYMBOLS), self.pos.rev, self.shape))
        self.pos = gateway.pos
        self.witness.moved(self.pos)
        for symbol, quote in self.rows.items():
            self.witness.held(self.pos.epoch, symbol, quote, self.shape)
        return "200"

    def _merge(self, changes: Mapping[str, Quote]) -> None:
        for symbol, quote in changes.items():
            values = {**(self.rows[symbol].values if symbol in self.rows else {}), **quote.values}
            self.rows[symbol] = Quote(quote.rev, {f: v for f, v in values.items() if v is not None})

    def differs(self, rows: Mapping[str, Row]) -> str:
        """Say how the last answer differs from the board (invariant 1)."""
        return _difference(self.name, self.rows, set(SYMBOLS), self.shape, rows)


def _difference(who: str, held: Mapping[str, Quote], symbols: set[str], shape: Shape, rows: Mapping[str, Row]) -> str:
    for symbol in sorted(symbols):
        mine = held[symbol].values if symbol in held else {}
        true = rows[symbol].full(shape).values if symbol in rows else {}
        if mine != true:
            return f"{who} holds {symbol}={mine}, the board has {true}"
    return ""
