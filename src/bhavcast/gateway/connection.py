"""An HTTP connection as uvicorn keeps it, with limits on what is not a body, and with what long-lived answers need."""

import asyncio
import re
import socket
from collections.abc import Callable
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from bhavcast.domain.errors import (
    BhavcastError,
    HeadersTooLarge,
    Malformed,
    RequestTimeout,
    TooManyConnections,
    UrlTooLong,
)
from bhavcast.gateway import problems, request_id
from bhavcast.gateway.access_log import AccessLog
from bhavcast.gateway.problems import Wordings
from bhavcast.telemetry.metrics import HttpCounters

HEADERS_BYTES: Final = 16 * 1024  # all headers of one request
CHUNKED: Final = 9  # bytes on the wire for one of a body, where each is sent as a chunk of its own, and some to spare
# `GET http://host/path`, as it is sent to proxies: scheme, host, and the rest as everyone else sends it.
_ABSOLUTE: Final = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
GONE_S: Final = 30  # a peer that acknowledges nothing for so long is not there any more
REQUEST_S: Final = 10.0  # from the first byte of a request to its last; of a new connection, from its beginning


class Houses:
    """Counts by address the connections that are no WebSocket (yet), so that no address alone takes the places of all.

    It remembers who is there and nobody else: no more addresses than there are connections.
    """

    def __init__(self, most: int, house_of: Callable[[str], str | None]) -> None:
        self.most = most
        self.house_of = house_of
        self._held: dict[str, int] = {}

    def __len__(self) -> int:
        """Return how many addresses are there."""
        return len(self._held)

    def enter(self, house: str) -> bool:
        """Count one connection more; return whether there was a place for it."""
        held = self._held.get(house, 0)
        if held >= self.most:
            return False
        self._held[house] = held + 1
        return True

    def leave(self, house: str) -> None:
        """Count one less."""
        self._held[house] -= 1
        if not self._held[house]:
            del self._held[house]


class Connection(HttpToolsProtocol):
    """Refuses what is not a request, in the shape of its route where that is known; set up with `bind`.

    It tells an event stream of its transport, and of its end. uvicorn tells the newest request of a connection that the
    client has gone. An event stream with another request behind it is not the newest: it would never hear of it, and go
    on for ever.

    A request that comes a byte at a time would hold its connection for ever too: uvicorn counts only idle time, between
    requests, and any byte ends that. The handshake of a WebSocket is a request like any other here.
    """

    most: int = 2**31  # connections at once
    houses: Houses | None = None
    counters: HttpCounters
    accesses: AccessLog
    constant_headers: bytes
    max_url: int
    wordings: Wordings

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._running: Any = None
        self._house: str | None = None  # where it is counted
        self._wording = problems.OURS  # of the request whose head has come, until it is whole
        # A head is due or under way, and what of it has come.
        self._heading = True
        self._head = 0
        self._beside = 0  # what has come after a head and is no body: sizes of chunks and their extensions, trailers
        self._coming = False  # a request is under way
        self._deadline: asyncio.TimerHandle | None = None

    # -- limits -----------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # a stream's transport
        """Wait for the first request, not for ever; or send one that is too many away."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            self._refuse(TooManyConnections(f"at most {self.most} connections are kept"))
            return
        if not self._has_place():
            self._refuse(TooManyConnections("one address may have half of all connections, but for its WebSockets"))
            return
        self._deadline = self.loop.call_later(REQUEST_S, self._overdue)

    def _has_place(self) -> bool:
        """Tell whether its address may have one more, and count it."""
        houses = self.houses
        house = None if houses is None or self.client is None else houses.house_of(self.client[0])
        if houses is None or house is None:
            return True
        if not houses.enter(house):
            return False
        self._house = house
        return True

    def _give_place(self) -> None:
        if self.houses is not None and self._house is not None:
            self.houses.leave(self._house)
            self._house = None

    def data_received(self, data: bytes) -> None:
        """Let the parser read it, unless the head grows without end; and see to it that what has begun ends in time."""
        self._coming = True
        if not self._too_long(data):
            super().data_received(data)
            if self._beside > HEADERS_BYTES:
                self._refuse(
                    HeadersTooLarge(f"expected at most {HEADERS_BYTES} bytes of chunk extensions and trailers")
                )
        if not self._coming or self.transport.is_closing():
            self._in_time()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_S, self._overdue)

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over, unless an earlier answer is still to be written: it would go into the WebSocket."""
        if self.cycle is not None and not self.cycle.response_complete:  # type: ignore[redundant-expr]  # None at first
            self.transport.close()
            return
        self._in_time()
        self._give_place()
        self._coming = False
        super().handle_websocket_upgrade()

    def _in_time(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _overdue(self) -> None:
        self._deadline = None
        self._refuse(RequestTimeout(f"expected a whole request within {REQUEST_S:g} s"))

    def _too_long(self, data: bytes) -> bool:
        """Refuse a head that does not end: httptools has no limit of its own."""
        if not self._heading:
            self._beside += len(data)
            return False
        self._head += len(data)
        most = self.max_url + HEADERS_BYTES
        if self._head <= most or b"\r\n\r\n" in data[: most + 4]:
            return False
        long_url = b"\r\n" not in data[: self.max_url] and not self.headers
        error: BhavcastError = (
            UrlTooLong(f"expected a URL of at most {self.max_url} bytes")
            if long_url
            else HeadersTooLarge(f"expected at most {HEADERS_BYTES} bytes of headers")
        )
        self._refuse(error)
        return True

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP; uvicorn calls this."""
        self._refuse(Malformed(f"expected a request in HTTP/1.1: {msg}"))

    def _refuse(self, error: BhavcastError) -> None:
        """Answer what no application sees, and close: where the next request begins cannot be known."""
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:  # type: ignore[redundant-expr]  # None at first
            if self._heading or cycle.response_started or self.pipeline:
                self.transport.close()  # in place of an earlier answer it would be taken for that
                return
            cycle.disconnected = True  # it is this request's body that is wrong
            cycle.message_event.set()
        elif cycle is not None and not self._heading:  # type: ignore[redundant-expr]  # None at first
            self.transport.close()  # its answer has gone out: another would be taken for that to what comes next
            return
        own_id = request_id.new().decode()
        body = self._wording.write(error, own_id)
        self.counters.count("unparsed", error.status, 0.0)
        peer = self.client[0] if self.client else "unknown"
        self.accesses.refused("unparsed", error.status, address=peer, request_id=own_id, code=error.code)
        head = [STATUS_LINE[error.status], self.constant_headers]
        head += [b"%b: %b\r\n" % header for header in self.server_state.default_headers]
        head.append(b"content-type: %b\r\ncontent-length: %d\r\n" % (self._wording.content_type.encode(), len(body)))
        head += [b"%b: %b\r\n" % (n.lower().encode(), v.encode()) for n, v in problems.headers(error).items()]
        head.append(b"x-request-id: %b\r\nconnection: close\r\n\r\n" % own_id.encode())
        self.transport.write(b"".join([*head, body]))
        self.transport.close()

    # -- parser callbacks -------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._coming = True
        super().on_message_begin()
        self.scope["bhavcast.transport"] = self.transport  # type: ignore[typeddict-unknown-key]  # for event streams

    def on_headers_complete(self) -> None:
        """Hand a request whose head is short enough to the application."""
        long_url = len(self.url) > self.max_url  # with the host, where that is in it
        whole = self.url.startswith((b"/", b"*")) or self._absolute()
        if self.wordings:
            path = self.url.partition(b"?")[0].decode("latin-1")
            self._wording = self.wordings.get(path, problems.OURS)
        if long_url:
            self._refuse(UrlTooLong(f"expected a URL of at most {self.max_url} bytes"))
            return
        if self._head > HEADERS_BYTES and sum(len(n) + len(v) + 4 for n, v in self.headers) > HEADERS_BYTES:
            self._refuse(HeadersTooLarge(f"expected at most {HEADERS_BYTES} bytes of headers"))
            return
        if not whole:
            self._refuse(Malformed("expected a path, or a URL that begins with http:// or https://"))
            return
        self._heading = False
        self._head = 0
        self._begin()

    def _absolute(self) -> bool:
        """Take the host out of a whole URL: it counts, whatever the Host header says (RFC 9112, 3.2.2)."""
        found = _ABSOLUTE.fullmatch(self.url)
        if found is None:
            return False
        host, rest = found.groups()
        self.url = rest if rest.startswith(b"/") else b"/" + rest
        self.headers[:] = [(name, host if name == b"host" else value) for name, value in self.headers]
        return True

    def _begin(self) -> None:
        super().on_headers_complete()
        # uvicorn adds trailers to its list. They are no headers (RFC 9110, 6.5.1): a proxy that minds those may let them pass.
        self.scope["headers"] = self.headers.copy()

    def on_body(self, body: bytes) -> None:
        """Pass a body on; a request that was refused has no cycle for it."""
        self._beside = max(0, self._beside - CHUNKED * len(body))
        if self.cycle is not None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._heading = True
        self._beside = 0
        self._coming = False
        self._wording = problems.OURS
        if self.cycle is not None:
            super().on_message_complete()

    # -- long answers -----------------------------------------------------------------------------------------------

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that is being answered, whichever it is."""
        self._in_time()
        self._give_place()
        super().connection_lost(exc)
        self.pipeline.clear()
        running, self._running = self._running, None
        if running is not None and not running.response_complete:
            running.disconnected = True
            running.message_event.set()


def bind(
    counters: HttpCounters,
    access_log: AccessLog,
    constant_headers: bytes,
    *,
    max_url: int,
    wordings: Wordings | None = None,
) -> type[Connection]:
    """Return the connection class of one server."""
    names = {
        "counters": counters,
        "accesses": access_log,
        "constant_headers": constant_headers,
        "max_url": max_url,
        "wordings": wordings or {},
    }
    return type("BoundConnection", (Connection,), names)


def notice_who_vanishes(listener: socket.socket) -> None:
    """Have the kernel end the connections of peers that are gone without a word: a cable pulled, a machine asleep.

    What is sent to them is repeated for a quarter of an hour otherwise, and where nothing is sent nobody would ever know. The
    connections of a listener inherit it from there.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", GONE_S // 2), ("TCP_KEEPINTVL", max(1, GONE_S // 6)), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    if hasattr(
        socket, "TCP_USER_TIMEOUT"
    ):  # Linux alone: elsewhere what is sent is repeated for as long as the system does
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_S * 1000)


def limited(kind: type[asyncio.Protocol], most: int, house_of: Callable[[str], str | None]) -> type[asyncio.Protocol]:
    """Return a class of connections that keeps so many of them at once, and of each house half as many."""
    return type(kind.__name__, (kind,), {"most": most, "houses": Houses(max(1, most // 2), house_of)})
