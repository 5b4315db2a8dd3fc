"""Socket.IO 5 over Engine.IO 4: subscriptions and prices as events, off the same hub as `/ws`.

    C 42["subscribe",{"symbols":["RELIANCE"]}]
    S 42["subscription_confirmed",{"symbols":["500325"],"bad":[],"active":1}]
    S 42["batch_data",{"type":"initial_data","data":[{"symbol":"500325","price":1574.55,…}]}]
    S 42["stock_update",{"type":"stock_update","data":{"symbol":"500325","price":1574.6,…}}]

A `stock_update` is encoded and framed once per change, for all clients; each gets a flush's in one write.
"""

import random
import re
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from bhavcast.access.doorkeeper import Visitor
from bhavcast.board import encode
from bhavcast.board.board import Row
from bhavcast.domain import field
from bhavcast.domain.errors import BadRequest, BhavcastError, NoDataYet, TooManySymbols
from bhavcast.domain.shape import Shape
from bhavcast.gateway import close_codes, problems
from bhavcast.gateway.close_codes import CloseCode
from bhavcast.gateway.decode_errors import explain
from bhavcast.gateway.engineio import EngineSocket, framed
from bhavcast.gateway.gateway import Gateway
from bhavcast.gateway.session import DEFAULT_HZ, FLAWS, FLAWS_WITHIN_S, RESET_JITTER_S
from bhavcast.gateway.stay import Stay
from bhavcast.hub.outbox import Outbox

DIALECT: Final = "socketio"
SHAPE: Final = Shape(
    (field.CURRENT_PRICE, field.CHANGE, field.PERCENT_CHANGE, field.TIMESTAMP), binary=True, dialect=DIALECT
)
BATCH: Final = 100  # symbols of one subscribe_batch
CONNECT_WITHIN_S: Final = 20.0
_CONNECT, _DISCONNECT, _EVENT, _ACK, _REFUSED = b"0", b"1", b"2", b"3", b"4"
# Type, namespace, id of an acknowledgement, content.
_PACKET: Final = re.compile(rb"([0-9])(?:(/[^,]*),?)?([0-9]{0,15})(.*)", re.DOTALL)
_json = msgspec.json.Encoder().encode
T = TypeVar("T")


class Symbols(msgspec.Struct, forbid_unknown_fields=True):
    """What is subscribed, or not any more."""

    symbols: list[str] | str


class Symbol(msgspec.Struct, forbid_unknown_fields=True):
    """One scrip."""

    symbol: str


def shown(row: Row) -> dict[str, Any]:
    """Return a quote as this protocol shows it; fields without a value are absent."""
    told: dict[str, Any] = {"symbol": row.symbol}
    for name, number, divisor in (
        ("price", field.CURRENT_PRICE, row.divisor),
        ("change", field.CHANGE, row.divisor),
        ("pChange", field.PERCENT_CHANGE, 100),
    ):
        if isinstance(value := row[number], int):
            told[name] = value / divisor
    if isinstance(stamp := row[field.TIMESTAMP], int):
        told["timestamp"] = encode.iso_ms(stamp)
    return told


def stock_update(row: Row) -> bytes:
    """Return the packet that tells of a change, framed; nothing of a scrip without data."""
    return _event("stock_update", {"type": "stock_update", "data": shown(row)}) if row.has_data else b""


def _event(name: str, told: object) -> bytes:
    return framed(b"42" + _json((name, told)))


class SocketIo:
    """The conversation with one client. Implements gateway.Member and websocket.Conversation."""

    def __init__(self, gateway: Gateway, engine: EngineSocket, *, visitor: Visitor) -> None:
        self._gateway = gateway
        self._stay = Stay(gateway, visitor, engine.close)
        self._engine = engine
        self._since = gateway.clock.monotonic()
        self._outbox: Outbox | None = None  # from the connection to the namespace on
        self._held: dict[str, int] = {}  # symbol → slot
        self._flaws: deque[float] = deque(maxlen=FLAWS)
        self._handlers: dict[str, Callable[[Any], object]] = {
            "subscribe": lambda told: self._subscribe(told, gateway.limits.symbols_per_message),
            "subscribe_batch": lambda told: self._subscribe(told, BATCH),
            "unsubscribe": self._unsubscribe,
            "request_symbol_data": self._symbol_data,
            "get_connection_info": lambda _: self._tell("connection_info", self._info()),
            "ping": lambda _: self._tell("pong", {"timestamp": encode.iso_ms(gateway.market.now_ms())}),
        }
        gateway.members.add(self)

    # -- the client speaks --------------------------------------------------------------------------------------------

    def receive(self, payload: bytes) -> None:
        """Handle one packet; whatever is wrong with it is answered, never raised."""
        read = _PACKET.fullmatch(payload)
        kind, namespace, number, content = read.groups() if read else (b"", None, b"", b"")
        name = ""
        try:
            if namespace not in (None, b"/"):
                refused = b"44%b,%b" % (namespace[:64], _json({"message": "Invalid namespace"}))
                self._engine.send(framed(refused))
            elif kind == _CONNECT and self._outbox is None:
                self._connect()
            elif kind == _DISCONNECT:
                self._engine.close(1000, "as asked")
            elif kind == _EVENT and self._outbox is not None:
                name, told = _read(content)
                self._answer(number, self._handle(name, told))
            elif kind != _ACK:
                raise BadRequest("expected one connect, then events of text", field="packet")
        except BhavcastError as error:
            self._refuse(error, name, number)

    def _connect(self) -> None:
        now = self._gateway.clock.monotonic()
        self._outbox = self._gateway.hub.join(self._engine, SHAPE, DEFAULT_HZ, now)
        self._engine.send(framed(b"40" + _json({"sid": self._engine.sid})))
        self._tell("connection_established", self._info())

    def _handle(self, name: str, told: object) -> object:
        handler = self._handlers.get(name)
        if handler is None:
            raise BadRequest(f"expected one of {', '.join(self._handlers)}, got {name[:40]!r}", field="event")
        return handler(told)

    def _subscribe(self, told: object, most: int) -> object:
        rows, bad = self._rows(_convert(told, Symbols), most)
        held = self._held | {row.symbol: row.slot for row in rows}
        if len(held) > self._gateway.limits.symbols:
            raise TooManySymbols(
                f"expected at most {self._gateway.limits.symbols} symbols on one connection, got {len(held)}",
                field="symbols",
            )
        self._held = held
        confirmed = {"symbols": [row.symbol for row in rows], "bad": bad, "active": len(held)}
        self._tell("subscription_confirmed", confirmed)
        self._show(rows)
        return confirmed

    def _unsubscribe(self, told: object) -> object:
        rows, bad = self._rows(_convert(told, Symbols), self._gateway.limits.symbols_per_message)
        gone = [row.symbol for row in rows if self._held.pop(row.symbol, None) is not None]
        bad += [{"symbol": row.symbol, "code": "not_subscribed"} for row in rows if row.symbol not in gone]
        self._follow()
        confirmed = {"symbols": [], "unsubscribed": gone, "bad": bad, "active": len(self._held)}
        return self._tell("subscription_confirmed", confirmed)

    def _symbol_data(self, told: object) -> object:
        row = self._gateway.row(_convert(told, Symbol).symbol)
        if not row.has_data:
            raise NoDataYet(f"{row.symbol} exists, and nothing has been seen of it yet", field="symbol")
        return self._tell("symbol_data", {"symbol": row.symbol, "data": encode.full(row, Shape())})

    def _info(self) -> dict[str, Any]:
        gateway = self._gateway
        return {
            "sid": self._engine.sid,
            "transport": self._engine.transport,
            "connected_seconds": round(gateway.clock.monotonic() - self._since, 3),
            "symbols": list(self._held),
            "active": len(self._held),
            "limits": {"symbols": gateway.limits.symbols, "symbols_per_batch": BATCH, "hz": DEFAULT_HZ},
            "market": gateway.fact("market").get("status"),
            "feeds": gateway.feed_states(),
        }

    # -- what is subscribed -------------------------------------------------------------------------------------------

    def _rows(self, wish: Symbols, most: int) -> tuple[list[Row], list[dict[str, Any]]]:
        texts = [wish.symbols] if isinstance(wish.symbols, str) else wish.symbols
        if not 1 <= len(texts) <= most:
            raise TooManySymbols(f"expected 1 to {most} symbols, got {len(texts)}", field="symbols")
        rows: dict[str, Row] = {}
        bad: list[dict[str, Any]] = []
        for text in texts:
            try:
                row = self._gateway.row(text)
            except BhavcastError as error:
                bad.append({"symbol": text[:64], **problems.brief(error)})
            else:
                rows[row.symbol] = row
        return list(rows.values()), bad

    def _show(self, rows: list[Row]) -> None:
        """Show rows as they are now; from here on their changes are told."""
        if rows:
            told = [shown(row) for row in rows if row.has_data]
            self._tell("batch_data", {"type": "initial_data", "data": told})
            self._follow()

    def _follow(self) -> None:
        if self._outbox is not None:
            now = self._gateway.clock.monotonic()
            self._gateway.hub.follow(self._outbox, frozenset(self._held.values()), now)

    # -- the gateway speaks -------------------------------------------------------------------------------------------

    def restart(self) -> None:
        """Show everything anew, for there is a new epoch: a little later, not to all clients at once."""
        # Who subscribes before that adds to what is held here, so its slots have to be the new epoch's at once.
        board = self._gateway.replica.rows
        self._held = {symbol: board[symbol].slot for symbol in self._held if symbol in board}
        share = min(1.0, len(self._gateway.members) / 100)
        self._gateway.later(random.uniform(0, RESET_JITTER_S) * share, self._show_again)

    def _show_again(self) -> None:
        rows = [self._gateway.replica.rows[symbol] for symbol in self._held]
        most = self._gateway.limits.symbols_per_message
        for start in range(0, len(rows), most):
            self._show(rows[start : start + most])

    def admit(self, rows: list[Row]) -> None:
        """Let new scrips be: only what is named is followed here."""

    def note(self, slots: list[int]) -> None:
        """Let changes of state be: this protocol has no word for them."""

    def beat(self, now: float) -> None:
        """Keep the transport alive, and end one that never connected."""
        self._engine.beat(now)
        self._stay.check(now)
        if self._outbox is None and now - self._since > CONNECT_WITHIN_S:
            self._engine.close(close_codes.PROTOCOL_ERROR.code, "no connect came")

    def send_away(self, code: CloseCode, retry_ms: int | None = None) -> None:
        """Say goodbye and why, and when to come again."""
        when = {} if retry_ms is None else {"retry_ms": retry_ms}
        self._tell("error", {"code": code.name, "message": code.reason, **when})
        self._engine.close(code.code, code.why(retry_ms))

    def close(self) -> None:
        """Forget the client: its session is gone."""
        self._gateway.members.discard(self)
        self._stay.end()
        self._held = {}
        if self._outbox is not None:
            self._gateway.hub.leave(self._outbox)
            self._outbox = None

    def _tell(self, name: str, told: object) -> object:
        self._engine.send(_event(name, told))
        return told

    def _answer(self, number: bytes, told: object) -> None:
        """Acknowledge an event, where the client asked for that."""
        if number:
            self._engine.send(framed(b"43" + number + _json((told,))))

    def _refuse(self, error: BhavcastError, event: str, number: bytes) -> None:
        told = {**problems.brief(error), "event": event[:40]}
        if error.field is not None:
            told["field"] = error.field
        self._tell("error", told)
        self._answer(number, {"error": told})
        now = self._gateway.clock.monotonic()
        self._flaws.append(now)
        if len(self._flaws) == FLAWS and now - self._flaws[0] < FLAWS_WITHIN_S:
            self._engine.close(close_codes.PROTOCOL_ERROR.code, close_codes.PROTOCOL_ERROR.reason)


def _read(content: bytes) -> tuple[str, object]:
    """Return the name and the argument of an event."""
    try:
        told = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"expected a JSON list of a name and an argument: {error}", field="packet") from error
    if not isinstance(told, list) or not 1 <= len(told) <= 2 or not isinstance(told[0], str):
        raise BadRequest("expected a JSON list of a name and at most one argument", field="packet")
    return told[0], told[1] if len(told) == 2 else None


def _convert(told: object, kind: type[T]) -> T:
    try:
        return msgspec.convert(told, kind)
    except msgspec.ValidationError as error:
        raise explain(str(error)) from error
