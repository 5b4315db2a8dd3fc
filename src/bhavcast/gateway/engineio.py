"""Engine.IO 4, the transport below Socket.IO: one session over long polling, over WebSocket, or moving from one to the other.

    packet     one digit and text: 0 open, 1 close, 2 ping, 3 pong, 4 message, 5 upgrade, 6 noop
    WebSocket  a packet is a text frame
    polling    GET takes all waiting packets, POST brings some, with 0x1e between them

What is sent is framed for a WebSocket when it is made, once for all clients; for the few that poll it is taken apart again.
Nothing piles up: a session that polls is `full` as soon as one packet waits, so a flush passes it over.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import parse_qsl

import msgspec
from websockets.http11 import Request

from bhavcast.access.allowance import Bucket
from bhavcast.access.doorkeeper import Visitor
from bhavcast.domain.errors import BadRequest, BhavcastError, MethodNotAllowed, RateLimited, TooLarge
from bhavcast.gateway import close_codes
from bhavcast.gateway.close_codes import CloseCode
from bhavcast.gateway.edge import Receive, Scope, Send, refuse, respond
from bhavcast.gateway.gateway import Gateway
from bhavcast.gateway.sse import gone
from bhavcast.gateway.websocket import Conversation, WebSocket
from bhavcast.hub.frame import header

PATH: Final = "/socket.io/"
PING_INTERVAL_S: Final = 25.0
PING_TIMEOUT_S: Final = 20.0
# Answers that a client asked for and does not fetch; prices never wait here.
MAX_WAITING: Final = 256 * 1024
MAX_PACKETS: Final = 128  # in one POST, where so many may come at once
_BETWEEN: Final = b"\x1e"
_TEXT: Final = [(b"content-type", b"text/plain; charset=utf-8")]


def framed(packet: bytes) -> bytes:
    """Return a packet as a WebSocket takes it."""
    return header(len(packet), binary=False) + packet


def unframed(frames: bytes) -> Iterator[bytes]:
    """Yield the packets of some frames."""
    at = 0
    while at < len(frames):
        length, at = frames[at + 1], at + 2
        if length > 125:
            size = 2 if length == 126 else 8
            length, at = int.from_bytes(frames[at : at + size], "big"), at + size
        yield frames[at : at + length]
        at += length


class EngineSocket:
    """One session, over whichever transport it has now; implements hub.port.Sink for its conversation."""

    wire = -1  # packets wait where they are fetched, and in their order

    def __init__(
        self, sid: str, max_payload: int, messages: Bucket, now: float, ended: Callable[["EngineSocket"], None]
    ) -> None:
        self.sid = sid
        self.conversation: Conversation | None = None
        self.news = asyncio.Event()  # something waits for the next poll
        self.polled = False  # a poll is under way
        self.probed = False  # a WebSocket is about to take over
        self.messages = messages  # how many packets may be posted yet; a WebSocket counts its own
        self._max_payload = max_payload
        self._ended = ended
        self._ws: WebSocket | None = None
        self._waiting: list[bytes] = []
        self._size = 0
        self._open = True
        self._heard_at = now
        self._pinged_at: float | None = None

    @property
    def transport(self) -> str:
        """Return the name of the transport."""
        return "polling" if self._ws is None else "websocket"

    def greeting(self) -> bytes:
        """Return the first packet."""
        told = {
            "sid": self.sid,
            "upgrades": ["websocket"] if self._ws is None else [],
            "pingInterval": round(PING_INTERVAL_S * 1000),
            "pingTimeout": round(PING_TIMEOUT_S * 1000),
            "maxPayload": self._max_payload,
        }
        return b"0" + msgspec.json.encode(told)

    # -- the hub and the conversation speak ---------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether another price would only wait: where packets are fetched, as soon as there is one to fetch."""
        return bool(self._waiting) if self._ws is None else self._ws.full

    def send(self, *parts: bytes, pos: str | None = None) -> None:
        """Send packets that are framed already; who fetches them gets them with the next poll."""
        if self._ws is not None:
            self._ws.write(b"".join(parts))
            return
        if not self._open:
            return
        for packet in unframed(b"".join(parts)):
            self._waiting.append(packet)
            self._size += len(packet)
        if self._waiting:
            self.news.set()
        if self._size > MAX_WAITING:
            self.close(close_codes.SLOW.code, close_codes.SLOW.reason)

    def buffered(self) -> int:
        """Return the bytes that wait in this process."""
        return self._size if self._ws is None else self._ws.buffered()

    def close(self, code: int, reason: str) -> None:
        """End the session; over polling there is no number to say."""
        if self._ws is not None:
            self._ws.close(code, reason)
        elif self._open:
            self._waiting.append(b"1")
            self.end()

    def beat(self, now: float) -> None:
        """Ask whether the client is there, and end the session of one that does not answer."""
        if self._pinged_at is not None and now - self._pinged_at > PING_TIMEOUT_S:
            self.close(close_codes.SLOW.code, "no pong came")
            self.end()
        elif self._pinged_at is None and now - self._heard_at > PING_INTERVAL_S:
            self._pinged_at = self._heard_at = now
            self.send(framed(b"2"))

    # -- the client speaks --------------------------------------------------------------------------------------------

    def hear(self, packet: bytes) -> None:
        """Take one packet."""
        kind, content = packet[:1], packet[1:]
        if kind == b"4" and self.conversation is not None:
            self.conversation.receive(content)
        elif kind == b"3":
            self._pinged_at = None
        elif kind == b"1":
            self.close(1000, "as asked")
            self.end()
        elif kind not in (b"6", b"2"):
            self.close(close_codes.PROTOCOL_ERROR.code, "expected an Engine.IO 4 packet of text")

    def fetch(self) -> bytes:
        """Return all that waits, as the answer to a poll."""
        waiting, self._waiting, self._size = self._waiting or [b"6"], [], 0
        if self._open:
            self.news.clear()
        return _BETWEEN.join(waiting)

    def take(self, ws: WebSocket) -> None:
        """Go on over a WebSocket, beginning with what waits."""
        waiting, self._waiting, self._size = self._waiting, [], 0
        self._ws, self.probed = ws, False
        self.news.set()  # a poll that is still under way ends
        ws.write(b"".join(map(framed, waiting)))

    def end(self) -> None:
        """Forget the session; idempotent."""
        if not self._open:
            return
        self._open = False
        self._ended(self)
        if self.conversation is not None:
            self.conversation.close()
        self.news.set()


class Leg:
    """A WebSocket of a session: all of it from the start, or a probe that may take over from polling."""

    def __init__(self, socket: EngineSocket, ws: WebSocket, *, probe: bool) -> None:
        self._socket, self._ws, self._probe = socket, ws, probe
        if not probe:
            socket.take(ws)
            ws.write(framed(socket.greeting()))

    def receive(self, payload: bytes) -> None:
        """Handle one packet."""
        if not self._probe:
            self._socket.hear(payload)
        elif payload == b"2probe":
            self._ws.write(framed(b"3probe"))
            self._socket.probed = True
            self._socket.news.set()
        elif payload == b"5":
            self._probe = False
            self._socket.take(self._ws)
        else:
            self._ws.close(close_codes.PROTOCOL_ERROR.code, "expected a probe or an upgrade")

    def send_away(self, code: CloseCode, retry_ms: int | None = None) -> None:
        """Say goodbye and why, and when to come again."""
        conversation = self._socket.conversation
        if self._probe or conversation is None:
            self._ws.close(code.code, code.why(retry_ms))
        else:
            conversation.send_away(code, retry_ms)

    def close(self) -> None:
        """End the session with its connection; of a probe that failed, polling goes on."""
        if self._probe:
            self._socket.probed = False
        else:
            self._socket.end()


class EngineServer:
    """All sessions of one gateway. `converse` begins the conversation of a new one."""

    def __init__(self, gateway: Gateway, converse: Callable[[EngineSocket, Visitor], Conversation]) -> None:
        self._gateway = gateway
        self._converse = converse
        self.sockets: dict[str, EngineSocket] = {}

    def _new(self, visitor: Visitor) -> EngineSocket:
        gateway = self._gateway
        socket = EngineSocket(
            secrets.token_urlsafe(15),
            min(gateway.limits.message_bytes, gateway.limits.body_bytes),
            gateway.message_allowance(),
            gateway.clock.monotonic(),
            self._forget,
        )
        self.sockets[socket.sid] = socket
        socket.conversation = self._converse(socket, visitor)
        return socket

    def _forget(self, socket: EngineSocket) -> None:
        self.sockets.pop(socket.sid, None)

    def _of(self, asked: dict[str, str]) -> EngineSocket | None:
        """Return the session that is asked for, None for a new one; refuse what cannot be served."""
        if asked.get("EIO") != "4":
            raise BadRequest(f"expected 4, got {asked.get('EIO', 'none')[:16]!r}", field="EIO")
        if "sid" not in asked:
            return None
        socket = self.sockets.get(asked["sid"])
        if socket is None:
            raise BadRequest("expected the sid of a session that goes on: begin a new one", field="sid")
        return socket

    # -- WebSocket ----------------------------------------------------------------------------------------------------

    def refuses(self, request: Request) -> BhavcastError | None:
        """Return why a handshake is refused, if so."""
        try:
            asked = _query(request.path.partition("?")[2])
            socket = self._of(asked)
            if asked.get("transport") != "websocket":
                raise BadRequest("expected websocket where an upgrade is asked for", field="transport")
            if socket is not None and socket.transport == "websocket":
                raise BadRequest("expected the sid of a session that polls", field="sid")
        except BhavcastError as error:
            return error
        return None

    def open(self, ws: WebSocket, request: Request, visitor: Visitor) -> Leg:
        """Begin a session over WebSocket, or probe whether one that polls can move to it."""
        socket = self._of(_query(request.path.partition("?")[2]))
        return Leg(socket or self._new(visitor), ws, probe=socket is not None)

    # -- polling ------------------------------------------------------------------------------------------------------

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the requests of sessions that poll: the ASGI application of the route."""
        try:
            asked = _query(scope["query_string"].decode("latin-1"))
            socket = self._of(asked)
            if asked.get("transport") != "polling":
                raise BadRequest("expected polling, or websocket with an upgrade", field="transport")
            if scope["method"] not in ("GET", "POST"):
                raise MethodNotAllowed(f"expected GET or POST, got {scope['method']}", allowed=("GET", "POST"))
            if socket is not None and socket.transport != "polling":
                raise BadRequest("expected a session that polls; this one has moved to WebSocket", field="sid")
            if scope["method"] == "POST":
                await self._post(socket, receive)
                await respond(send, 200, b"ok", _TEXT)
            elif socket is None:
                visitor: Visitor = scope["bhavcast.visitor"]
                if (refused := self._gateway.full_up() or self._gateway.door.full(visitor)) is not None:
                    raise refused
                await respond(send, 200, self._new(visitor).greeting(), _TEXT)
            else:
                await self._poll(socket, receive, send)
        except BhavcastError as error:
            await refuse(error, send)

    async def _post(self, socket: EngineSocket | None, receive: Receive) -> None:
        if socket is None:
            raise BadRequest("expected the sid of a session", field="sid")
        body = b""
        while True:
            event = await receive()
            body += event.get("body", b"")
            if len(body) > self._gateway.limits.body_bytes:
                raise TooLarge(f"expected a body of at most {self._gateway.limits.body_bytes} bytes")
            if not event.get("more_body"):
                break
        packets = body.split(_BETWEEN)
        most = min(MAX_PACKETS, int(socket.messages.burst))  # for more no wait would be long enough
        if len(packets) > most:
            raise TooLarge(f"expected at most {most} packets in one request, got {len(packets)}")
        now = self._gateway.clock.monotonic()
        # All or none is heard, so that whoever comes again with them says nothing twice.
        if not socket.messages.take(now, len(packets)):
            raise RateLimited("expected fewer packets a second", retry_after=socket.messages.wait(len(packets)))
        for packet in packets:
            socket.hear(packet)

    async def _poll(self, socket: EngineSocket, receive: Receive, send: Send) -> None:
        if socket.polled:
            socket.close(close_codes.PROTOCOL_ERROR.code, "two polls at once")
            raise BadRequest("expected one poll at a time", field="sid")
        socket.polled = True
        if socket.probed:
            socket.news.set()  # lets go of polling, for the WebSocket to take over
        ends = [asyncio.create_task(each) for each in (gone(receive), socket.news.wait())]
        try:
            await asyncio.wait(ends, timeout=PING_INTERVAL_S + PING_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            socket.polled = False
            for each in ends:
                each.cancel()
        if not ends[0].done():
            await respond(send, 200, socket.fetch(), _TEXT)


def _query(text: str) -> dict[str, str]:
    """Read a query string; names that are not Engine.IO's are the program's own."""
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=16))
    except ValueError as error:
        raise BadRequest("expected at most 16 name=value pairs", field="query") from error
