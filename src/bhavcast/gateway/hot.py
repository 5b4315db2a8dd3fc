"""The hot path: `GET /api/stock/…` and `GET /api/stocks/batch` answered inside the protocol, without a framework.

A subclass of uvicorn's httptools protocol. A request it can answer never becomes an ASGI task; anything unusual (another
method, a body, an Origin, an upgrade, a pipeline) falls through to the application, which answers the same by the same
functions (quotes.py). Without this class everything still works, slower.

Clients send the same bytes again and again. Bytes that the parser has once found to be one whole, usual request for a
hot URL need no second look: they are the key to a ready answer, which is made anew only when one of its quotes changed.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from bhavcast.board.board import Row
from bhavcast.domain.errors import BhavcastError, HeadersTooLarge, Malformed, UrlTooLong
from bhavcast.gateway import connection, quotes
from bhavcast.gateway.connection import Connection
from bhavcast.gateway.gateway import Gateway, fresh
from bhavcast.telemetry.metrics import HttpCounters, RouteCounter

STOCK: Final = b"/api/stock/"
BATCH: Final = b"/api/stocks/batch"
HEADERS_BYTES: Final = 16 * 1024  # all headers of one request
MAX_READY: Final = 4096  # ready answers kept
MAX_READY_BYTES: Final = 64 * 1024 * 1024  # of all their bodies and keys
READY_BYTES: Final = 8 * 1024  # a longer request is not kept as a key
_USUAL: Final = frozenset(
    {b"host", b"user-agent", b"accept", b"accept-encoding", b"accept-language", b"connection", b"if-none-match"}
    | {b"cache-control", b"pragma", b"traceparent", b"tracestate"}
)


class Ready:
    """An answer that stands as long as none of its quotes changes."""

    __slots__ = ("body", "counter", "fresh", "head", "make", "rev", "rows", "stamp")

    def __init__(self, make: Callable[[], quotes.Answer], counter: RouteCounter) -> None:
        self.make = make
        self.counter = counter
        self.rows: tuple[Row, ...] = ()
        self.rev = -1
        self.fresh = 0
        self.stamp = 0
        self.head = b""
        self.body = b""

    def take(self, answer: quotes.Answer, head: bytes) -> bool:
        """Become this answer; return whether it is one that can stand."""
        if not answer.lasting:
            return False
        self.rows, self.rev = answer.rows, max(row.rev for row in answer.rows)
        self.stamp = answer.stamp or 0
        self.head, self.body = head, answer.body
        self.fresh = fresh(answer.rows)
        return True


class HotProtocol(Connection):
    """Set up with `bind`, which gives it the gateway."""

    gateway: Gateway
    counters: HttpCounters
    host_allowed: Callable[[str], bool]
    constant_headers: bytes
    max_url: int
    ready: dict[bytes, Ready]
    ready_bytes: int
    generation: int
    dates: list[Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._raw = b""
        self._between = True
        # A head is due or under way, and what of it has come.
        self._heading = True
        self._head = 0
        self._answer: bytes | None = None
        self._used_at = 0.0

    # -- bytes ------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Answer at once what has been asked before; else let the parser read it."""
        ready = self.ready.get(data)
        if ready is not None and self._between and self.gateway.generation == type(self).generation:
            answer = self._again(ready)
            if answer is not None:
                self.transport.write(answer)
                self._used_at = self.loop.time()
                return
        # Only bytes that begin a request can be all of it: the same ones after a part of another mean something else.
        self._raw = data if self._between else b""
        if not self._too_long(data):
            super().data_received(data)

    def _again(self, ready: Ready) -> bytes | None:
        """Return a ready answer as of now; None where it cannot stand any more."""
        if self.cycle is not None and not self.cycle.response_complete:  # type: ignore[redundant-expr]  # None at first
            return None  # an earlier answer of this connection is still to be written
        began = perf_counter()
        rows = ready.rows
        rev = rows[0].rev if len(rows) == 1 else max([row.rev for row in rows])
        gateway = self.gateway
        if rev != ready.rev:
            answer = ready.make()
            if not ready.take(answer, self._stable_head(answer)):
                return None
        else:
            gateway.reads += len(rows)
            gateway.fresh_reads += ready.fresh
        written = b"%b%b%bx-bhavcast-age-ms: %d\r\n\r\n%b" % (
            ready.head,
            self._dates(),
            gateway.position_header(),
            max(0, gateway.market.now_ms() - ready.stamp),
            ready.body,
        )
        ready.counter.observe(200 if ready.body else 304, perf_counter() - began)
        return written

    def _too_long(self, data: bytes) -> bool:
        """Refuse a head that does not end: httptools has no limit of its own."""
        if not self._heading:
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
        """Refuse what is not HTTP in the one shape of all refusals; uvicorn calls this."""
        self._refuse(Malformed(f"expected a request in HTTP/1.1: {msg}"))

    def _refuse(self, error: BhavcastError) -> None:
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:  # type: ignore[redundant-expr]  # None at first
            if self._heading or cycle.response_started or self.pipeline:
                self.transport.close()  # in place of an earlier answer it would be taken for that
                return
            cycle.disconnected = True  # it is this request's body that is wrong
            cycle.message_event.set()
        answer = quotes.refusal(error)
        self.counters.count("unparsed", answer.status, 0.0)
        self.transport.write(self._written(answer, close=True))
        self.transport.close()

    # -- parser callbacks -------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._between = False
        self._answer = None
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Answer a usual request for a hot URL here; leave the rest to the application."""
        self._heading = False
        self._head = 0
        if len(self.url) > self.max_url:
            self._refuse(UrlTooLong(f"expected a URL of at most {self.max_url} bytes"))
            return
        if self.parser.get_method() == b"GET" and self.url.startswith(b"/api/stock") and self._is_usual():
            etag = next((value.decode("latin-1") for name, value in self.headers if name == b"if-none-match"), None)
            self._answer = self._first(self.url, etag)
            if self._answer is not None:
                return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass a body on; a hot request has none."""
        if self._answer is None and self.cycle is not None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._between = self._heading = True
        self._coming = False
        if self._answer is None:
            if self.cycle is not None:
                super().on_message_complete()
            return
        self.transport.write(self._answer)
        self._used_at = self.loop.time()
        self.server_state.total_requests += 1
        if self.timeout_keep_alive_task is None:
            self._arm()

    def _is_usual(self) -> bool:
        if self.parser.get_http_version() != "1.1" or not self.parser.should_keep_alive():
            return False
        if self.cycle is not None and not self.cycle.response_complete:  # type: ignore[redundant-expr]  # None at first
            return False  # an earlier answer of a pipeline is still to be written
        hosts = 0
        for name, value in self.headers:
            if name not in _USUAL:
                return False
            if name == b"host":
                hosts += 1
                if not self.host_allowed(value.decode("latin-1")):
                    return False
        return hosts == 1

    def _overdue(self) -> None:
        deadline, self._deadline = self._deadline, None
        if self._between and deadline is not None and self._used_at > deadline.when() - connection.REQUEST_S:
            # It was answered since, with a ready answer, which leaves no other trace: the connection is idle at most.
            if self.timeout_keep_alive_task is None:
                self._arm()
            return
        super()._overdue()

    # -- keep-alive -------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection. Hot answers only note the time: a timer each would cost more than the answer."""
        idle = self.loop.time() - self._used_at
        if idle < self.timeout_keep_alive:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive - idle, self.timeout_keep_alive_handler
            )
            return
        super().timeout_keep_alive_handler()

    # -- answers ----------------------------------------------------------------------------------------------------

    def _first(self, target: bytes, etag: str | None) -> bytes | None:
        """Answer a request that is new to us; None where this is not a hot URL or the gateway cannot answer now."""
        gateway = self.gateway
        path, _, query = target.partition(b"?")
        # A fragment or a slash that is written otherwise: rare enough to leave it to those who know.
        if not gateway.ready or not target.isascii() or b"#" in target or b"%2f" in path.lower():
            return None
        text = query.decode("ascii")
        make: Callable[[], quotes.Answer]
        if path.startswith(STOCK) and path != STOCK and b"/" not in path[len(STOCK) :]:
            counter = self.counters.route("/api/stock/{symbol}")
            make = partial(quotes.stock, gateway, path[len(STOCK) :].decode("ascii"), text, etag)
        elif path == BATCH:
            counter = self.counters.route("/api/stocks/batch")
            make = partial(quotes.batch, gateway, text)
        else:
            return None
        began = perf_counter()
        answer = make()
        written = self._written(answer)
        counter.observe(answer.status, perf_counter() - began)
        if answer.lasting:
            self._keep(Ready(make, counter), answer)
        return written

    def _keep(self, ready: Ready, answer: quotes.Answer) -> None:
        """Keep an answer under the bytes that asked for it, if they are one whole request and nothing else."""
        raw = self._raw
        whole = raw.startswith(b"GET ") and raw.find(b"\r\n\r\n") == len(raw) - 4 and len(raw) <= READY_BYTES
        if not whole or not ready.take(answer, self._stable_head(answer)):
            return
        cls = type(self)
        size = len(raw) + len(ready.body)
        old = cls.generation != self.gateway.generation
        if old or len(self.ready) >= MAX_READY or cls.ready_bytes + size > MAX_READY_BYTES:
            self.ready.clear()
            cls.generation, cls.ready_bytes = self.gateway.generation, 0
        self.ready[raw] = ready
        cls.ready_bytes += size

    def _dates(self) -> bytes:
        """Return the server's own headers; uvicorn puts a new list of them in place once a second."""
        headers = self.server_state.default_headers
        if headers is not self.dates[0]:
            self.dates[:] = [headers, b"".join([b"%b: %b\r\n" % header for header in headers])]
        return self.dates[1]  # type: ignore[no-any-return]  # the second of the pair

    def _stable_head(self, answer: quotes.Answer) -> bytes:
        """Return the part of the head that does not move while the quotes do not change."""
        parts = [STATUS_LINE[answer.status], self.constant_headers]
        if answer.status != 304:
            parts.append(b"content-type: %b\r\n" % answer.content_type.encode())
            parts.append(b"content-length: %d\r\n" % len(answer.body))
        if answer.etag is not None:
            parts.append(b"etag: %b\r\n" % answer.etag.encode())
        return b"".join(parts)

    def _written(self, answer: quotes.Answer, *, close: bool = False) -> bytes:
        parts = [self._stable_head(answer), self._dates()]
        if answer.pos is not None:
            parts.append(b"x-bhavcast-position: %b\r\n" % answer.pos.encode())
        if (stamp := answer.stamp) is not None:
            parts.append(b"x-bhavcast-age-ms: %d\r\n" % quotes.age_ms(self.gateway, stamp))
        if answer.retry_after is not None:
            parts.append(b"retry-after: %d\r\n" % answer.retry_after)
        parts.append(b"connection: close\r\n\r\n" if close else b"\r\n")
        parts.append(answer.body)
        return b"".join(parts)


def bind(
    gateway: Gateway,
    counters: HttpCounters,
    host_allowed: Callable[[str], bool],
    constant_headers: bytes,
    *,
    max_url: int,
) -> type[asyncio.Protocol]:
    """Return the protocol class of one gateway."""
    names = {
        "gateway": gateway,
        "counters": counters,
        "host_allowed": staticmethod(host_allowed),
        "constant_headers": constant_headers,
        "max_url": max_url,
        "ready": {},
        "ready_bytes": 0,
        "generation": -1,
        "dates": [None, b""],
    }
    return type("BoundHotProtocol", (HotProtocol,), names)
