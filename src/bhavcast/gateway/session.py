"""One stream client's conversation: what it says, what it is told, what it holds. The wire is somebody else's."""

import random
import secrets
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import structlog

from bhavcast.access.doorkeeper import Visitor
from bhavcast.board.board import LISTED, Row
from bhavcast.domain.errors import BadRequest, BhavcastError, TooManySymbols, UnknownSymbol
from bhavcast.domain.field import STATE
from bhavcast.domain.format import STREAM
from bhavcast.domain.instrument import INDEX_PREFIX
from bhavcast.domain.position import NOWHERE, Position
from bhavcast.domain.shape import Shape, parse_depth, parse_fields
from bhavcast.gateway import close_codes, problems, protocol
from bhavcast.gateway.close_codes import CloseCode
from bhavcast.gateway.gateway import Gateway
from bhavcast.hub.port import Sink

log = structlog.get_logger()

EVERYTHING: Final = "*"
GROUP: Final = "group:"
MEMBERS: Final = "/members"
DEFAULT_HZ: Final = 10.0
FLAWS: Final = 10  # malformed messages in FLAWS_WITHIN_S, then the connection is closed
FLAWS_WITHIN_S: Final = 60.0
AHEAD_WAIT_S: Final = 2.0  # how long a reader that knows more than this gateway is kept waiting
AHEAD_LOOK_S: Final = 0.05
LINED_UP: Final = 64  # messages kept while a resume waits
NO_DATA_AFTER_S: Final = 5.0
LOOK_S: Final = 1.0  # between two looks at whether a client may stay, and what it has to be told
TOLD: Final = ("halted", "stale")  # states that whoever does not see them in the rows is told of
RESET_JITTER_S: Final = 1.0


def hello(gateway: Gateway, heartbeat_ms: int) -> dict[str, Any]:
    """Return what a client is greeted with."""
    limits = gateway.limits
    return {
        "t": "hello",
        "v": STREAM.written,
        "sid": secrets.token_hex(8),
        "epoch": gateway.replica.epoch,
        "link": gateway.link,
        "now": gateway.market.now_ms(),
        "clock": gateway.fact("clock"),
        "limits": {
            "symbols": limits.symbols,
            "symbols_per_message": limits.symbols_per_message,
            "max_message_bytes": limits.message_bytes,
        },
        "heartbeat_ms": heartbeat_ms,
        "market": gateway.fact("market"),
        "feeds": gateway.feed_states(),
    }


class Session:
    """The conversation with one client, in either encoding.

    `visitor`: who it is, None where nobody asks. `greet`: say hello; at the doorstep that was done.
    """

    def __init__(
        self, gateway: Gateway, sink: Sink, *, binary: bool, visitor: Visitor | None = None, greet: bool = True
    ) -> None:
        self._gateway = gateway
        self.visitor = visitor
        if visitor is not None:
            gateway.door.enter(visitor)
        self._hub = gateway.hub
        self._sink = sink
        self._binary = binary
        self.heartbeat_ms = gateway.heartbeat_ms
        now = gateway.clock.monotonic()
        self.outbox = self._hub.join(sink, Shape(binary=binary), DEFAULT_HZ, now)
        # What was asked for, as it was asked ("group:A"), and the slots of each.
        self._items: dict[str, frozenset[int]] = {}
        self._flaws: deque[float] = deque(maxlen=FLAWS)
        self._unseen: dict[str, float] = {}  # scrips without data, and when that is told
        # Rows without their state in the frames: the slots whose state is still to be told, and what was told last.
        self._untold: set[int] = set()
        self._look_at = 0.0  # when `beat` has to look again
        self._told_states: dict[int, str] = {}
        self._cap: float | None = None  # the pace the client was told it is slowed down to
        # Of a resume in several messages: the symbols so far, and whether one of the messages was refused: then all are.
        self._parts: list[str] = []
        self._spoilt = False
        # While a reader that knows more waits for the replica: the messages after it, which must not overtake it.
        self._waiting = False
        self._behind_it: deque[bytes | str] = deque()
        # After a reset, until the snapshots begin: what is held is not sent yet, so no position may be told.
        self._pending = False
        # Whoever hears of a reset lets go of its position, also where the resume that names it is under way.
        self._was_reset = False
        self._open = True
        gateway.members.add(self)
        if greet:
            self._tell(hello(gateway, self.heartbeat_ms))
        else:
            self._tell_facts()

    @property
    def lined_up(self) -> int:
        """Messages that wait behind a resume."""
        return len(self._behind_it)

    # -- the client speaks ------------------------------------------------------------------------------------------

    def receive(self, payload: bytes | str) -> None:
        """Handle one message; whatever is wrong with it is answered, never raised."""
        try:
            if self._waiting:
                self._line_up(payload)
                return
        except BhavcastError as error:
            self._refuse(error, protocol.message_id(payload, binary=self._binary))
            return
        self._take_up(payload)

    def _take_up(self, payload: bytes | str) -> None:
        try:
            self.handle(payload)
        except BhavcastError as error:
            self._refuse(error, protocol.message_id(payload, binary=self._binary))

    def handle(self, payload: bytes | str) -> None:
        """Handle one message; raise what is wrong with it."""
        self._handle(protocol.read(payload, binary=self._binary))

    def _line_up(self, payload: bytes | str) -> None:
        if len(self._behind_it) >= LINED_UP:
            raise BadRequest(f"expected at most {LINED_UP} messages before the answer to resume", field="t")
        self._behind_it.append(payload)

    def _handle(self, message: protocol.Message) -> None:
        if message.id is not None and not 0 <= message.id <= protocol.MAX_ID:
            raise BadRequest(f"expected a whole number from 0 to 2^53, got {message.id}", field="id")
        if self._parts and not isinstance(message, protocol.Resume):
            self._parts, self._spoilt = [], True
            raise BadRequest("expected the rest of a resume, whose last message has no `more`", field="t")
        match message:
            case protocol.Auth():
                raise BadRequest("expected no key: who this is was settled with the handshake", field="t")
            case protocol.Sub():
                self._wait(protocol.seen(message.seen), lambda _: self._sub(message))
            case protocol.Unsub():
                self._unsub(message)
            case protocol.Set():
                self._set(message)
            case protocol.List():
                self._tell({"t": "list", "id": message.id, "symbols": list(self._items), **self._shown()})
            case protocol.Resume():
                self._resume(message)

    def _sub(self, message: protocol.Sub) -> None:
        shape, hz = self._wish(message)
        ok, bad = self._expand(self._texts(message.symbols))
        new = {item: slots for item, slots in ok.items() if item not in self._items}
        total = self._slots(self._items | new)
        self._check_total(total)
        self._tell(self._ack(message.id, list(ok), bad, len(total), hz))
        if self._show(shape, hz):
            new, self._items = self._items | new, {}
        self._take(new, message.id)

    def _unsub(self, message: protocol.Unsub) -> None:
        # A scrip goes with any of its names, and with several of them once: they are ways to write one subscription.
        named = [(text, self._held_item(text)) for text in self._texts(message.symbols)]
        bad = [{"symbol": text[:64], "code": "not_subscribed"} for text, item in named if item is None]
        ok = dict.fromkeys(item for _, item in named if item is not None)
        self._items = {item: slots for item, slots in self._items.items() if item not in ok}
        self._narrow()
        self._tell(self._ack(message.id, list(ok), bad, len(self._slots(self._items)), self.outbox.hz))

    def _set(self, message: protocol.Set) -> None:
        shape, hz = self._wish(message)
        beat = self.heartbeat_ms if message.heartbeat_ms is None else protocol.heartbeat(message.heartbeat_ms)
        ok: dict[str, frozenset[int]] = self._items
        bad: list[dict[str, Any]] = []
        if message.symbols is not None:
            ok, bad = self._expand(self._texts(message.symbols))
            self._check_total(self._slots(ok))
        self.heartbeat_ms = beat
        self._look_at = 0.0
        self._tell(self._ack(message.id, list(ok), bad, len(self._slots(ok)), hz))
        if message.symbols is not None:
            self._items = {item: slots for item, slots in self._items.items() if item in ok}
            self._narrow()
        if self._show(shape, hz):
            held, self._items = dict(ok), {}
            if held or message.symbols is not None:
                self._take(held, message.id)
        elif message.symbols is not None:
            self._take({item: slots for item, slots in ok.items() if item not in self._items}, message.id)

    def _resume(self, message: protocol.Resume) -> None:
        try:
            position, texts = self._gather(message)
        except BhavcastError:
            self._parts, self._spoilt = [], message.more
            raise
        if message.more:
            self._parts = texts
            return
        self._parts = []
        shape, hz = self._wish(message)
        ok, _ = self._expand(texts)
        self._check_total(self._slots(ok))
        self._show(shape, hz)
        self._wait(
            max(position.rev, protocol.seen(message.seen)),
            lambda lost: self._go_on(message.id, NOWHERE if lost else position, *self._expand(texts)),
        )

    def _gather(self, message: protocol.Resume) -> tuple[Position, list[str]]:
        """Return the position and the symbols of a resume up to this message of it."""
        if self._items:
            raise BadRequest("expected resume before any subscription of this connection", field="t")
        if self._spoilt:
            raise BadRequest("expected a resume none of whose messages was refused", field="more")
        texts = self._parts + self._texts(message.symbols)
        if len(texts) > self._gateway.limits.symbols:
            raise self._too_many(len(texts))
        return Position.parse(message.pos), texts

    def _wait(self, rev: int, go_on: Callable[[bool], None]) -> None:
        """Go on once the replica has come to a revision; tell whether the history up to it is lost.

        Who has seen more than this gateway comes from another one: nothing older may be sent to it.
        """
        if rev <= self._gateway.replica.rev:
            go_on(False)
            return
        self._waiting = True
        until, arrived = self._gateway.clock.monotonic() + AHEAD_WAIT_S, self._gateway.market.now_ms()
        self._gateway.later(AHEAD_LOOK_S, lambda: self._look(rev, until, arrived, go_on))

    def _look(self, rev: int, until: float, arrived: int, go_on: Callable[[bool], None]) -> None:
        if not self._open:
            return
        gateway = self._gateway
        lost = gateway.replica.rev < rev
        if lost and gateway.clock.monotonic() < until:
            gateway.later(AHEAD_LOOK_S, lambda: self._look(rev, until, arrived, go_on))
            return
        self._waiting = False
        # Still below it, and hearing what was sent since: that history is lost, and the reader has to begin anew. Not
        # hearing, this gateway cannot tell, and sends the reader to another.
        if lost and not gateway.heard_since(arrived):
            self.send_away(close_codes.POSITION_LOST)
            return
        try:
            go_on(lost)
        except BhavcastError as error:  # a day may have begun meanwhile
            self._refuse(error, None)
        while self._behind_it and not self._waiting:  # a close forgets them
            self._take_up(self._behind_it.popleft())

    def _go_on(self, message_id: int | None, position: Position, ok: dict[str, frozenset[int]], bad: list[Any]) -> None:
        known = position.epoch == self._gateway.replica.epoch and not bad and not self._was_reset
        now = self._gateway.clock.monotonic()
        # A scrip that came to a group since is no part of what was held.
        late = self._late(ok, position.rev) if known else frozenset()
        held = self._slots(ok) - late
        answer: dict[str, Any] = {"t": "resumed", "id": message_id, "recovered": known, "changed": len(held)}
        answer |= {"bad": bad} if bad else {}
        if known:
            self._items = ok
            self._hub.resume(self.outbox, held, position.rev, answer, now, everything=EVERYTHING in ok, new=late)
            self._expect(held | late if self._is_blind else late, now)
        else:
            self._tell(answer)
            self._take(ok, message_id)
        self._tell_facts()

    def _late(self, items: dict[str, frozenset[int]], rev: int) -> frozenset[int]:
        listed: dict[str, int] = self._gateway.fact(LISTED)
        late = self._slots_of([symbol for symbol, since in listed.items() if since > rev])
        return late & self._slots({item: slots for item, slots in items.items() if not item[0].isdigit()})

    # -- what is subscribed -----------------------------------------------------------------------------------------

    def _take(self, new: dict[str, frozenset[int]], message_id: int | None) -> None:
        self._send_again()  # first what is owed: the sync of the new ones speaks for everything
        self._items.update(new)
        # Also what another item brings already: who has just left that one may have let go of its rows.
        self._send(self._slots(new), message_id, everything=EVERYTHING in new)

    def _send(self, slots: frozenset[int], message_id: int | None, *, everything: bool) -> None:
        now = self._gateway.clock.monotonic()
        self._hub.add(self.outbox, slots, message_id, now, everything=everything)
        self._expect(slots, now)

    def _expect(self, slots: frozenset[int], now: float) -> None:
        order = self._gateway.replica.order
        for slot in sorted(slots & self._gateway.unseen):
            symbol = order[slot].symbol
            self._unseen.pop(symbol, None)  # asked for again it is last again: the first is the next that is due
            self._unseen[symbol] = now + NO_DATA_AFTER_S
        if self._is_blind:
            self._untold |= slots

    def _narrow(self) -> None:
        self._hub.narrow(self.outbox, self._slots(self._items), everything=EVERYTHING in self._items)

    def _slots(self, items: dict[str, frozenset[int]]) -> frozenset[int]:
        if len(items) == 1:
            return next(iter(items.values()))
        return frozenset().union(*items.values())

    def _check_total(self, slots: frozenset[int]) -> None:
        most = self._gateway.limits.symbols
        if len(slots) > most:
            raise self._too_many(len(slots))

    def _too_many(self, count: int) -> TooManySymbols:
        most = self._gateway.limits.symbols
        return TooManySymbols(f"expected at most {most} symbols on one connection, got {count}", field="symbols")

    def _texts(self, symbols: list[str] | str) -> list[str]:
        texts = [symbols] if isinstance(symbols, str) else symbols
        most = self._gateway.limits.symbols_per_message
        if not texts or len(texts) > most:
            raise TooManySymbols(f"expected 1 to {most} symbols in one message, got {len(texts)}", field="symbols")
        return texts

    def _expand(self, texts: list[str]) -> tuple[dict[str, frozenset[int]], list[dict[str, Any]]]:
        """Return the slots of each symbol, group or whole that exists, and what was wrong with each that does not."""
        ok: dict[str, frozenset[int]] = {}
        bad: list[dict[str, Any]] = []
        for text in texts:
            try:
                item, slots = self._item(text)
            except BhavcastError as error:
                bad.append({"symbol": text[:64], **problems.brief(error)})
            else:
                ok[item] = slots
        return ok, bad

    def _item(self, text: str) -> tuple[str, frozenset[int]]:
        gateway = self._gateway
        if text == EVERYTHING:
            return text, gateway.hub.everything.slots
        if text.lower().startswith(GROUP):
            name = text[len(GROUP) :].upper()
            symbols = gateway.directory.group(name)
            if not symbols:
                raise UnknownSymbol(f"no group {name[:16]!r}", field="symbols")
            return GROUP + name, self._slots_of(symbols)
        if text.upper().startswith(INDEX_PREFIX) and text.lower().endswith(MEMBERS):
            index = gateway.row(text[: -len(MEMBERS)]).symbol
            return index + MEMBERS, self._slots_of(gateway.directory.members(index))
        row = gateway.row(text)
        return row.symbol, frozenset((row.slot,))

    def _slots_of(self, symbols: list[str]) -> frozenset[int]:
        return frozenset(self._gateway.replica.rows[symbol].slot for symbol in symbols)

    def _held_item(self, text: str) -> str | None:
        if text in self._items:
            return text
        try:
            item, _ = self._item(text)
        except BhavcastError:
            return None
        return item if item in self._items else None

    # -- what is shown ----------------------------------------------------------------------------------------------

    def _wish(self, asked: protocol.Showing) -> tuple[Shape, float]:
        """Return the shape and rate after a message; the last message that names them wins."""
        old = self.outbox.shape
        shape = Shape(
            old.numbers if asked.fields is None else parse_fields(asked.fields),
            old.depth if asked.depth is None else parse_depth(asked.depth),
            self._binary,
            old.stamps if asked.stamps is None else asked.stamps,
        )
        self._hub.encoder(shape)  # refuses one field list too many before anything is changed
        return shape, self.outbox.hz if asked.hz is None else protocol.rate(asked.hz)

    def _show(self, shape: Shape, hz: float) -> bool:
        """Apply a wish; return whether it dropped the position, so that everything has to be sent again."""
        if shape != self.outbox.shape:
            self._hub.reshape(self.outbox, shape, hz)
            self._look_blindly()
            return True
        if hz != self.outbox.hz:
            self._hub.move(self.outbox, hz)
        return False

    @property
    def _is_blind(self) -> bool:
        return STATE not in self.outbox.shape.numbers

    def _look_blindly(self) -> None:
        """Have the states of scrips told where the rows do not show them."""
        self._told_states.clear()
        if self._is_blind:
            self._gateway.blind.add(self)
            self._untold |= self._slots(self._items)
        else:
            self._gateway.blind.discard(self)
            self._untold.clear()

    def _shown(self) -> dict[str, Any]:
        shape = self.outbox.shape
        return {"hz": self.outbox.hz, "depth": shape.depth, "active": len(self._slots(self._items))}

    # -- the gateway speaks -----------------------------------------------------------------------------------------

    def restart(self) -> None:
        """Tell of the new epoch; the snapshots follow a little later, not for all clients at once."""
        self._untold.clear()  # slots of rows that may be others now
        self._told_states.clear()
        self._was_reset = True
        self._tell({"t": "reset", "epoch": self._gateway.replica.epoch})
        asked, self._items = list(self._items), {}
        for text in asked:
            try:
                item, slots = self._item(text)
            except BhavcastError:
                self._tell({"t": "status", "symbol": text, "state": "unknown_symbol"})
            else:
                self._items[item] = slots
        self._tell_facts()
        if self._items and not self._outgrown():
            self._pending = True
            share = min(1.0, len(self._gateway.members) / 100)
            self._gateway.later(random.uniform(0, RESET_JITTER_S) * share, self._send_again)

    def _send_again(self) -> None:
        if self._open and self._pending and self._items:
            self._send(self._slots(self._items), None, everything=EVERYTHING in self._items)
        self._pending = False

    def admit(self, rows: list[Row]) -> None:
        """Give new rows to whoever follows the group or the whole they are in."""
        slots = {row.slot for row in rows}
        fresh: frozenset[int] = frozenset()
        for item in [each for each in self._items if not each[0].isdigit()]:
            try:
                _, present = self._item(item)
            except BhavcastError:
                continue  # a group that lost its last scrip
            new = (present - self._items[item]) & slots
            self._items[item] |= new
            fresh |= new
        if fresh and self._outgrown():
            return
        if fresh and not self._pending:
            now = self._gateway.clock.monotonic()
            self._hub.admit(self.outbox, fresh, now)
            self._expect(fresh, now)

    def _outgrown(self) -> bool:
        """End where the groups that are followed have grown beyond what one connection may hold; tell whether so."""
        if len(self._slots(self._items)) <= self._gateway.limits.symbols:
            return False
        self.send_away(close_codes.TOO_MANY_SUBSCRIPTIONS)
        return True

    def note(self, slots: list[int]) -> None:
        """Take note of rows whose state has changed, to tell of it."""
        self._untold.update(slots)

    def _tell_states(self) -> None:
        order = self._gateway.replica.order
        untold, self._untold = self._untold & self._slots(self._items), set()
        for slot in sorted(untold):
            state, before = str(order[slot][STATE]), self._told_states.pop(slot, "")
            if state in TOLD:
                self._told_states[slot] = state
            if state != before and (state in TOLD or before):
                self._tell({"t": "status", "symbol": order[slot].symbol, "state": state})

    def _tell_pace(self) -> None:
        """Tell a client that it is slowed down, or is not any more."""
        asked = self.outbox.hz
        pace = self._hub.pace(asked)
        cap = None if pace == asked else pace
        if cap != self._cap:
            self._cap = cap
            self._tell({"t": "rate", "hz": pace, "why": "overload" if cap is not None else "over"})

    def beat(self, now: float) -> None:
        """Send a heartbeat after a silence, and what has to be said of scrips that stay without data."""
        if now < self._look_at and not self._untold:
            return
        if not self._may_stay(now):
            return
        self._tell_pace()
        if self._untold and not self.outbox.full:
            self._tell_states()
        if self._unseen and next(iter(self._unseen.values())) <= now:
            silent = [symbol for symbol, at in self._unseen.items() if at <= now]
            rows = self._gateway.replica.rows
            for symbol in silent:
                del self._unseen[symbol]
                if symbol in rows and not rows[symbol].has_data and rows[symbol].slot in self.outbox.slots:
                    self._tell({"t": "status", "symbol": symbol, "state": "no_data"})
        due = self.outbox.sent_at + self.heartbeat_ms / 1000
        if now >= due and not self.outbox.full:
            self._say_alive()
            due = now + self.heartbeat_ms / 1000
        self._look_at = min(now + LOOK_S, due)

    def _say_alive(self) -> None:
        beat: dict[str, Any] = {"t": "hb", "now": self._gateway.market.now_ms(), "feeds": self._gateway.feed_states()}
        pos = self._hub.position(self.outbox)
        if pos is not None and self._items and not self._pending:
            beat["pos"] = pos
        self._tell(beat)

    def _may_stay(self, now: float) -> bool:
        """Tell whether who opened the stream may still read; close it where not."""
        if self.visitor is None:
            return True
        found = self._gateway.door.again(self.visitor, now)
        if isinstance(found, Visitor):
            self.visitor = found
            return True
        code = close_codes.of_leaving(found)
        self._tell({"t": "error", "code": code.name, "message": found.detail, "temporary": code.reconnect})
        self._sink.close(code.code, code.reason)
        return False

    def send_away(self, code: CloseCode, retry_ms: int | None = None) -> None:
        """Say goodbye and why, and when to come again."""
        self._tell(code.told(retry_ms))
        self._sink.close(code.code, code.why(retry_ms))

    def close(self) -> None:
        """Forget the client: its connection is gone."""
        if self._open and self.visitor is not None:
            self._gateway.door.leave(self.visitor)
        self._open = False
        self._behind_it.clear()
        self._gateway.members.discard(self)
        self._gateway.blind.discard(self)
        self._hub.leave(self.outbox)

    def _ack(
        self, message_id: int | None, ok: list[str], bad: list[dict[str, Any]], active: int, hz: float
    ) -> dict[str, Any]:
        return {"t": "ack", "id": message_id, "ok": ok, "bad": bad, "active": active, "hz": hz}

    def _refuse(self, error: BhavcastError, message_id: int | None) -> None:
        told = {"t": "error", "id": message_id, **problems.brief(error), "temporary": error.temporary}
        if error.field is not None:
            told["field"] = error.field
        self._tell(told)
        now = self._gateway.clock.monotonic()
        self._flaws.append(now)
        if len(self._flaws) == FLAWS and now - self._flaws[0] < FLAWS_WITHIN_S:
            greedy = isinstance(error, TooManySymbols)
            code = close_codes.TOO_MANY_SUBSCRIPTIONS if greedy else close_codes.PROTOCOL_ERROR
            self._sink.close(code.code, code.reason)

    def _tell_facts(self) -> None:
        """Say again what is not state of a scrip: what was said of it before may have been missed."""
        self._tell({"t": "market", **self._gateway.fact("market")})
        for name, feed in self._gateway.fact("feeds").items():
            self._tell({"t": "feed", "feed": name, **feed})

    def _tell(self, message: dict[str, Any]) -> None:
        self._hub.tell(self.outbox, message, self._gateway.clock.monotonic())
