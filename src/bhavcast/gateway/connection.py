"""An HTTP connection as uvicorn keeps it, with what long-lived answers need."""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from bhavcast.domain.errors import BhavcastError, RequestTimeout, TooManyConnections
from bhavcast.gateway import problems

REQUEST_S: Final = 10.0  # from the first byte of a request to its last; of a new connection, from its beginning


class Connection(HttpToolsProtocol):
    """Limits the time a request may take to come, and tells an event stream of its transport, and of its end.

    A request that comes a byte at a time would hold its connection for ever: uvicorn counts only idle time, between
    requests, and any byte ends that. The handshake of a WebSocket is a request like any other here.

    uvicorn tells the newest request of a connection that the client has gone. An event stream with another request
    behind it is not the newest: it would never hear of it, and go on for ever.
    """

    most: int = 2**31  # connections at once

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._running: Any = None
        self._coming = False  # a request is under way
        self._deadline: asyncio.TimerHandle | None = None

    # -- the time of a request --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # a stream's transport
        """Wait for the first request, not for ever; or send one that is too many away."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            self._refuse(TooManyConnections(f"at most {self.most} connections are kept"))
            return
        self._deadline = self.loop.call_later(REQUEST_S, self._overdue)

    def data_received(self, data: bytes) -> None:
        """Let the parser read, and see to it that what has begun ends in time."""
        self._coming = True
        super().data_received(data)
        if not self._coming or self.transport.is_closing():
            self._in_time()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_S, self._overdue)

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over; its request has come."""
        self._in_time()
        self._coming = False
        super().handle_websocket_upgrade()

    def _in_time(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _overdue(self) -> None:
        self._deadline = None
        self._refuse(RequestTimeout(f"expected a whole request within {REQUEST_S:g} s"))

    def _refuse(self, error: BhavcastError) -> None:
        """Answer what no application sees, and close: where the next request begins cannot be known."""
        cycle = self.cycle
        # In place of an earlier answer it would be taken for that.
        if cycle is None or cycle.response_complete:  # type: ignore[redundant-expr]  # None at first
            body = problems.body(error)
            more = [b"%b: %b\r\n" % (n.lower().encode(), v.encode()) for n, v in problems.headers(error).items()]
            head = [STATUS_LINE[error.status], b"content-type: %b\r\n" % problems.CONTENT_TYPE.encode()]
            head.append(b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body))
            self.transport.write(b"".join([head[0], *more, *head[1:], body]))
        self.transport.close()

    # -- what long-lived answers need -------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._coming = True
        super().on_message_begin()
        self.scope["bhavcast.transport"] = self.transport  # type: ignore[typeddict-unknown-key]  # for event streams

    def on_message_complete(self) -> None:
        """End a request."""
        self._coming = False
        super().on_message_complete()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that is being answered, whichever it is."""
        self._in_time()
        super().connection_lost(exc)
        self.pipeline.clear()
        running, self._running = self._running, None
        if running is not None and not running.response_complete:
            running.disconnected = True
            running.message_event.set()


def limited(kind: type[asyncio.Protocol], most: int) -> type[asyncio.Protocol]:
    """Return a class of connections that keeps so many of them at once."""
    return type(kind.__name__, (kind,), {"most": most})
