"""WebSocket connections: handshake, parsing, ping and close by the `websockets` library, frames written by us.

Frames with quotes are put together from parts that are encoded already and go straight to the transport in one write:
measured, the number of sends costs, not the bytes, and the library's own send is dearer than the kernel's.
"""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from time import thread_time
from typing import Any, Final, Protocol

import structlog
from websockets.exceptions import InvalidState, NegotiationError
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from bhavcast.domain.errors import BadHandshake, BhavcastError
from bhavcast.gateway import close_codes, problems, protocol, request_id
from bhavcast.gateway.close_codes import CloseCode
from bhavcast.gateway.problems import Wording
from bhavcast.hub.frame import header as frame_header
from bhavcast.hub.outbox import HIGH_WATER

log = structlog.get_logger()

CLOSE_TIMEOUT_S: Final = 1.0
# What one client's messages may cost at a stretch, in CPU time; then it is not listened to for so many times as long. So who
# asks for the whole market again and again has a tenth of the loop, and the others do not wait for more than one message.
SLICE_S: Final = 0.0005
REST: Final = 9
# Kernel buffers would hide a slow client and deliver it old prices in order: keep what is unsent with us, where it
# conflates.
NOTSENT_LOWAT: Final = 16 * 1024
SEND_BUFFER: Final = 256 * 1024
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: what is unsent is thrown away, and the other side sees a reset
_SUBPROTOCOLS: Final = (Subprotocol(protocol.JSON), Subprotocol(protocol.MSGPACK))
_TCP_NOTSENT_LOWAT: Final = getattr(socket, "TCP_NOTSENT_LOWAT", 25)


def keep_kernel_buffers_small(transport: asyncio.Transport) -> None:
    """Make what a slow client has not taken wait in this process, where it conflates."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, NOTSENT_LOWAT)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)


class Conversation(Protocol):
    """Whoever the messages of a connection are for."""

    def receive(self, payload: bytes) -> None:
        """Handle one message."""

    def send_away(self, code: CloseCode, retry_ms: int | None = None) -> None:
        """Say goodbye and why, and when to come again."""

    def close(self) -> None:
        """Forget the client."""


def _nowhere(_: bytes) -> None:
    """Drop a frame for a connection that is not open."""


def _select_subprotocol(_: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Take the first offer that is ours; a client that offers none speaks JSON."""
    for each in offered:
        if each in _SUBPROTOCOLS:
            return each
    if offered:
        raise NegotiationError(f"expected one of {', '.join(_SUBPROTOCOLS)}, got {', '.join(offered)[:80]}")
    return None


class Server(ServerProtocol):
    """The library's, but for one thing."""

    def recv_frame(self, frame: Frame) -> None:
        """Take a close in the middle of a fragmented message for what it is, rather than for an error of the client."""
        if frame.opcode is Opcode.CLOSE:
            self.current_size = None
        super().recv_frame(frame)


class WebSocket(asyncio.Protocol):
    """One connection; implements hub.port.Sink for its session.

    Args:
        open_session: makes the session of an accepted connection.
        admit: looks at the request and returns a response that refuses it, or None.
        max_bytes: of one message.
        wording: the shape in which the request's path says no.
        wait_ms: counts a frame; 0 where it may come, else how long the client should have waited.
        slice_s, rest: what its messages may cost at a stretch, and how many times as long it is not listened to then.
    """

    __slots__ = (
        "_admit",
        "_connections",
        "_descriptor",
        "_inbox",
        "_message",
        "_open_session",
        "_put",
        "_rest",
        "_resting",
        "_session",
        "_slice_s",
        "_text",
        "_timer",
        "_wait_ms",
        "_wording",
        "_ws",
        "binary",
        "full",
        "transport",
        "wire",
    )

    def __init__(
        self,
        *,
        open_session: Callable[["WebSocket", Request], Conversation],
        admit: Callable[[ServerProtocol, Request, Any], Response | None],
        connections: set[Any],
        max_bytes: int,
        wait_ms: Callable[[], int] = lambda: 0,
        wording: Callable[[Request], Wording] = lambda _: problems.OURS,
        slice_s: float = SLICE_S,
        rest: float = REST,
    ) -> None:
        self._slice_s, self._rest = slice_s, rest
        self._open_session = open_session
        self._admit = admit
        self._wording = wording
        self._wait_ms = wait_ms
        self._connections = connections
        self._ws = Server(subprotocols=_SUBPROTOCOLS, select_subprotocol=_select_subprotocol, max_size=max_bytes)
        self._session: Conversation | None = None
        self._inbox: deque[Frame] = deque()
        self._message: list[bytes] = []
        self._text = True
        self._timer: asyncio.TimerHandle | None = None
        self._resting: asyncio.TimerHandle | None = None
        self.transport: asyncio.Transport | None = None
        self.binary = False
        self.full = False
        # The transport's `write` and its socket, from the handshake until the first sign of an end.
        self._put: Callable[[bytes], None] = _nowhere
        self._descriptor = -1
        # That socket while the transport holds nothing back, so that a frame may go past it.
        self.wire = -1

    # -- asyncio speaks ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # a stream's transport
        """Take over a connection whose request follows as data."""
        self.transport = transport
        self._connections.add(self)
        transport.set_write_buffer_limits(high=HIGH_WATER)
        keep_kernel_buffers_small(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget everything of the client."""
        self._connections.discard(self)
        for timer in (self._timer, self._resting):
            if timer is not None:
                timer.cancel()
        self._forget()
        self.transport = None

    def eof_received(self) -> bool:
        """Take it that the client will send no more: answer what it sent, then close."""
        self._ws.receive_eof()
        self._flush()
        return False

    def data_received(self, data: bytes) -> None:
        """Parse what came and act on it."""
        self._ws.receive_data(data)
        for event in self._ws.events_received():
            if isinstance(event, Request):
                self._handshake(event)
            elif isinstance(event, Frame):
                self._inbox.append(event)
        if self._ws.state is State.OPEN:
            self._flush()  # pongs go before the answers to what came after the pings
        self._read_on()
        self._flush()

    def pause_writing(self) -> None:
        """Listen no more to a client that does not take its answers, they would pile up; above HIGH_WATER."""
        self.full = True
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Listen again."""
        self.full = False
        self._listen()

    def _listen(self) -> None:
        self._read_on()
        self._flush()
        if self.transport is not None and not self.full and self._resting is None:
            self.transport.resume_reading()

    def _read_on(self) -> None:
        began = thread_time()
        while self._inbox and not self.full and self._resting is None:
            self._frame(self._inbox.popleft())
            if (took := thread_time() - began) > self._slice_s and self.transport is not None:
                self.transport.pause_reading()
                self._resting = asyncio.get_running_loop().call_later(self._rest * took, self._rested)

    def _rested(self) -> None:
        self._resting = None
        self._listen()

    def shutdown(self) -> None:
        """End with the server: uvicorn calls this of every connection when it stops."""
        if self._ws.state is State.CONNECTING:
            self._abort()
        self.close(1012, "service restart")

    # -- the client speaks ------------------------------------------------------------------------------------------

    def _handshake(self, request: Request) -> None:
        response = self._admit(self._ws, request, self.transport)
        if response is None:
            response = self._ws.accept(request)
            if response.status_code != 101:
                response = self._bad_handshake(response, self._wording(request))
        self._ws.send_response(response)
        self._flush()
        if response.status_code == 101:
            self.binary = self._ws.subprotocol == protocol.MSGPACK
            self._session = self._open_session(self, request)

    def _bad_handshake(self, refused: Response, wording: Wording) -> Response:
        error = BadHandshake(str(self._ws.handshake_exc), status=refused.status_code)
        response = refusal(self._ws, error, request_id.new().decode(), wording)
        response.headers["Sec-WebSocket-Version"] = "13"  # a client of another version has to be told (RFC 6455, 4.4)
        return response

    def _frame(self, frame: Frame) -> None:
        if self._session is None or frame.opcode is Opcode.CLOSE:
            return
        # Every other counts: what is no message, or only a piece of one, has cost its parsing all the same, and a pong.
        if (wait_ms := self._wait_ms()) > 0:
            self._session.send_away(close_codes.TOO_MANY_REQUESTS, wait_ms)
            return
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._text = frame.opcode == Opcode.TEXT
            self._message = [bytes(frame.data)]
        elif frame.opcode == Opcode.CONT:
            if frame.data:  # the library counts bytes: pieces without any would pile up for ever
                self._message.append(bytes(frame.data))
        else:
            return  # ping and pong are the library's
        if not frame.fin:
            return
        payload = b"".join(self._message)
        self._message = []
        if self._text and not _is_utf8(payload):
            self._ws.fail(1007, "invalid UTF-8")
            return
        self._hear(payload, self._session)

    def _hear(self, payload: bytes, session: Conversation) -> None:
        if self._text == self.binary:
            kind = "binary" if self.binary else "text"
            self.close(1003, f"{kind} frames only, by the subprotocol")
            return
        session.receive(payload)

    def _flush(self) -> None:
        if self.transport is None or self.transport.is_closing():
            return
        if self._ws.state is State.OPEN:
            self._put = self.transport.write
            if self.transport.get_extra_info("sslcontext") is None:
                self._descriptor = self.transport.get_extra_info("socket").fileno()
        else:
            self._forget()
        for data in self._ws.data_to_send():
            if data:
                self.wire = -1
                self.transport.write(data)
            elif self.transport.can_write_eof():
                self.transport.write_eof()
        if self._ws.state is State.CLOSED:
            self.transport.close()
        elif self._ws.close_expected() and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._abort)

    def _forget(self) -> None:
        """Let go of the session: nothing is sent to it, or heard, from the first sign of an end."""
        self._put, self._descriptor, self.wire = _nowhere, -1, -1
        self._inbox.clear()
        if self._session is not None:
            self._session.close()
            self._session = None

    def _abort(self) -> None:
        if self.transport is None:
            return
        sock = self.transport.get_extra_info("socket")
        if self.buffered() and sock is not None and sock.family != socket.AF_UNIX:
            # Else the kernel would go on trying to bring what it holds to somebody who does not read.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    # -- the hub speaks ---------------------------------------------------------------------------------------------

    def send(self, *parts: bytes, pos: str | None = None) -> None:
        """Write one message. The position is in it."""
        self.write(b"".join((frame_header(sum(map(len, parts)), binary=self.binary), *parts)))

    def write(self, data: bytes) -> None:
        """Give the transport a frame. It may hold it back, so from now on nothing goes past it, until `look` allows it."""
        self.wire = -1
        self._put(data)

    def look(self) -> bool:
        """Look whether the transport holds nothing, so that frames may go past it; `wire` is its socket then.

        A transport tells that the connection is lost before it closes the socket.
        """
        if not self.buffered():
            self.wire = self._descriptor
        return self.wire >= 0

    @property
    def unread(self) -> int:
        """Frames of the client that came and are not looked at yet."""
        return len(self._inbox)

    def buffered(self) -> int:
        """Return the bytes that wait in this process."""
        return 0 if self.transport is None else self.transport.get_write_buffer_size()

    def close(self, code: int, reason: str) -> None:
        """Say why, and end; a client that does not even read that is cut off a second later."""
        if self.transport is None:
            return
        try:
            self._ws.send_close(code, reason[:120])
        except InvalidState:
            return
        self._flush()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._abort)


def refusal(ws: ServerProtocol, error: BhavcastError, own_id: str, wording: Wording) -> Response:
    """Return the response that refuses a handshake."""
    response = ws.reject(error.status, wording.write(error, own_id).decode())
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = wording.content_type
    response.headers["X-Request-ID"] = own_id
    for name, value in problems.headers(error).items():
        if name not in response.headers:  # the library has said that it closes
            response.headers[name] = value
    return response


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True
