"""The ticker of the Kite API at `/kite`: a program written for `kiteconnect.KiteTicker` follows Bhavcast.

    C {"a":"subscribe","v":[128083204]}   {"a":"mode","v":["full",[128083204]]}   {"a":"unsubscribe","v":[…]}
    S binary: how many packets (2 bytes), then each with its length (2 bytes) before it; one byte alone is a heartbeat
    S {"type":"error","data":"…"}

A connection has an outbox per mode, because that is what a hub's cohort shows alike; all write to the one wire.
"""

from collections import deque
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from websockets.http11 import Request

from bhavcast.access.doorkeeper import Visitor
from bhavcast.board.board import Row
from bhavcast.domain.errors import BadHandshake, BadRequest, BhavcastError, TooManySymbols
from bhavcast.gateway import close_codes
from bhavcast.gateway.close_codes import CloseCode
from bhavcast.gateway.edge import Receive, Scope, Send, refuse
from bhavcast.gateway.gateway import Gateway
from bhavcast.gateway.kite import MODES, WORDING, Tokens
from bhavcast.gateway.session import FLAWS, FLAWS_WITHIN_S
from bhavcast.gateway.stay import Stay
from bhavcast.gateway.websocket import WebSocket
from bhavcast.hub.frame import header
from bhavcast.hub.outbox import Outbox

PATH: Final = "/kite"
HZ: Final = 10.0
HEARTBEAT_S: Final = 2.0
MOST_NAMED: Final = 10  # tokens in an error


class _Tokens(msgspec.Struct, frozen=True, tag_field="a", forbid_unknown_fields=True):
    v: list[int]


class Subscribe(_Tokens, frozen=True, tag="subscribe"):
    """Follow some tokens, in mode `quote` if they are new."""


class Unsubscribe(_Tokens, frozen=True, tag="unsubscribe"):
    """Follow some tokens no more."""


class Mode(msgspec.Struct, frozen=True, tag_field="a", tag="mode", forbid_unknown_fields=True):
    """Show some tokens in another mode."""

    v: tuple[str, list[int]]


_decode = msgspec.json.Decoder(Subscribe | Unsubscribe | Mode).decode
_encode = msgspec.json.Encoder().encode


class PacketSink:
    """Puts packets together for one connection; implements hub.port.Sink."""

    wire = -1  # packets have a number before them, which a flush would not write

    def __init__(self, ws: WebSocket) -> None:
        self._ws = ws
        self.sent = False

    @property
    def full(self) -> bool:
        """Whether another message would only wait."""
        return self._ws.full

    def send(self, *parts: bytes, pos: str | None = None) -> None:
        """Write packets in one message, with their number before them."""
        packets = b"".join(parts)
        if packets:
            self.write(_count(packets).to_bytes(2, "big") + packets)

    def write(self, message: bytes, *, binary: bool = True) -> None:
        """Write one message."""
        self.sent = True
        self._ws.write(header(len(message), binary=binary) + message)

    def buffered(self) -> int:
        """Return the bytes that wait in this process."""
        return self._ws.buffered()

    def close(self, code: int, reason: str) -> None:
        """End the connection with a numbered reason."""
        self._ws.close(code, reason)


def _count(packets: bytes) -> int:
    count = at = 0
    while at < len(packets):
        at += 2 + (packets[at] << 8 | packets[at + 1])
        count += 1
    return count


def token(request: Request) -> list[tuple[bytes, bytes]]:
    """Return the access token, which this API writes into the URL, as the header it is elsewhere."""
    try:
        asked = dict(parse_qsl(request.path.partition("?")[2], max_num_fields=16))
    except ValueError:
        return []
    return [(b"authorization", b"token " + asked.get("access_token", "").encode())]


async def without_upgrade(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer a request that is no handshake."""
    await refuse(BadHandshake("expected Connection: Upgrade and Upgrade: websocket", status=426), send, WORDING)


class Ticker:
    """The conversation with one client. Implements gateway.Member and websocket.Conversation."""

    def __init__(self, gateway: Gateway, tokens: Tokens, ws: WebSocket, *, visitor: Visitor) -> None:
        self._gateway = gateway
        self._stay = Stay(gateway, visitor, ws.close)
        self._tokens = tokens
        self._now = gateway.clock.monotonic
        self._sink = PacketSink(ws)
        self._outboxes: dict[str, Outbox] = {}
        self._modes: dict[str, str] = {}  # by symbol
        self._flaws: deque[float] = deque(maxlen=FLAWS)
        self._beat_at = self._now()
        gateway.members.add(self)

    # -- the client speaks --------------------------------------------------------------------------------------------

    def receive(self, payload: bytes) -> None:
        """Handle one message; whatever is wrong with it is answered, never raised."""
        try:
            self._handle(payload)
        except BhavcastError as error:
            self._refuse(error)

    def _handle(self, payload: bytes) -> None:
        try:
            message = _decode(payload)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise BadRequest(f"expected subscribe, unsubscribe or mode with tokens: {error}", field="v") from error
        match message:
            case Subscribe():
                rows = [row for row in self._rows(message.v) if row.symbol not in self._modes]
                self._show(rows, "quote")
            case Unsubscribe():
                self._drop(self._rows(message.v))
            case Mode(v=(mode, numbers)):
                if mode not in MODES:
                    raise BadRequest(f"expected one of {', '.join(MODES)}, got {mode[:40]!r}", field="v")
                rows = [row for row in self._rows(numbers) if self._modes.get(row.symbol) != mode]
                self._show(rows, mode)

    def _rows(self, numbers: list[int]) -> list[Row]:
        """Return what the tokens name, each once; those that name nothing are told."""
        found = {number: self._tokens.row(number) for number in numbers}
        unknown = [number for number, row in found.items() if row is None]
        if unknown:
            named = ", ".join(str(each)[:20] for each in unknown[:MOST_NAMED])
            self._tell(f"unknown_symbol: no instrument has the token {named}; see /instruments")
        return [row for row in found.values() if row is not None]

    def _show(self, rows: list[Row], mode: str) -> None:
        if not rows:
            return
        most = self._gateway.limits.symbols
        if len(self._modes.keys() | {row.symbol for row in rows}) > most:
            raise TooManySymbols(f"expected at most {most} instruments on one connection", field="v")
        self._drop([row for row in rows if row.symbol in self._modes])
        now, hub = self._now(), self._gateway.hub
        outbox = self._outboxes.get(mode)
        if outbox is None:
            outbox = self._outboxes[mode] = hub.join(self._sink, MODES[mode], HZ, now)
        self._modes |= {row.symbol: mode for row in rows}
        hub.add(outbox, frozenset(row.slot for row in rows), None, now)

    def _drop(self, rows: list[Row]) -> None:
        for row in rows:
            self._modes.pop(row.symbol, None)
        for mode, outbox in self._outboxes.items():
            board = self._gateway.replica.rows
            kept = frozenset(board[symbol].slot for symbol, shown in self._modes.items() if shown == mode)
            self._gateway.hub.narrow(outbox, kept)

    # -- the gateway speaks -------------------------------------------------------------------------------------------

    def restart(self) -> None:
        """Show everything anew: there is a new epoch."""
        held, self._modes = self._modes, {}
        for mode in MODES:
            rows = self._gateway.replica.rows
            self._show([rows[each] for each, shown in held.items() if shown == mode and each in rows], mode)

    def admit(self, rows: list[Row]) -> None:
        """Let new scrips be: only what is named is followed here."""

    def note(self, slots: list[int]) -> None:
        """Let changes of state be: this protocol has no word for them."""

    def beat(self, now: float) -> None:
        """Send a heartbeat after a silence."""
        self._stay.check(now)
        if now - self._beat_at < HEARTBEAT_S:
            return
        self._beat_at = now
        if not self._sink.sent and not self._sink.full:
            self._sink.write(b"\0")
        self._sink.sent = False

    def send_away(self, code: CloseCode, retry_ms: int | None = None) -> None:
        """Say goodbye and why, and when to come again."""
        self._tell(f"{code.name}: {code.reason}")
        self._sink.close(code.code, code.why(retry_ms))

    def close(self) -> None:
        """Forget the client: its connection is gone."""
        self._gateway.members.discard(self)
        self._stay.end()
        for outbox in self._outboxes.values():
            self._gateway.hub.leave(outbox)
        self._outboxes.clear()
        self._modes.clear()

    def _tell(self, text: str) -> None:
        told: dict[str, Any] = {"type": "error", "data": text}
        self._sink.write(_encode(told), binary=False)

    def _refuse(self, error: BhavcastError) -> None:
        where = "" if error.field is None else f"{error.field}: "
        self._tell(f"{error.code}: {where}{error.detail}")
        now = self._now()
        self._flaws.append(now)
        if len(self._flaws) == FLAWS and now - self._flaws[0] < FLAWS_WITHIN_S:
            self._sink.close(close_codes.PROTOCOL_ERROR.code, close_codes.PROTOCOL_ERROR.reason)
