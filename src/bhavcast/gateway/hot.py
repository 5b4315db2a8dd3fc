"""The hot path: `GET /api/stock/…` and `GET /api/stocks/batch` answered inside the protocol, without a framework.

A subclass of uvicorn's httptools protocol. A request it can answer never becomes an ASGI task; anything unusual (another
method, a body, an Origin, an upgrade, a pipeline, a proxy, a key that is not let in, one request too many) falls through
to the application, which answers the same by the same functions (quotes.py, access/doorkeeper.py). So nobody is refused
here. Without this class everything still works, slower.

Clients send the same bytes again and again. Bytes that the parser has once found to be one whole, usual request for a
hot URL need no second look: they are the key to a ready answer, which is made anew only when one of its quotes changed.
The bytes hold the key of whoever sent them, so the answer's visitor is found with it; one without a key is the
connection's.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from bhavcast.access.doorkeeper import Visitor, plain_address
from bhavcast.board.board import Row
from bhavcast.gateway import connection, problems, quotes, request_id
from bhavcast.gateway.access_log import AccessLog, Tally, shown
from bhavcast.gateway.connection import Connection
from bhavcast.gateway.gateway import Gateway, fresh
from bhavcast.gateway.problems import Wordings
from bhavcast.telemetry.metrics import HttpCounters, RouteCounter

STOCK: Final = b"/api/stock/"
BATCH: Final = b"/api/stocks/batch"
MAX_READY: Final = 4096  # ready answers kept
MAX_READY_BYTES: Final = 64 * 1024 * 1024  # of all their bodies and keys
READY_BYTES: Final = 8 * 1024  # a longer request is not kept as a key
_USUAL: Final = frozenset(
    {b"host", b"user-agent", b"accept", b"accept-encoding", b"accept-language", b"connection", b"if-none-match"}
    | {b"cache-control", b"pragma", b"traceparent", b"tracestate", b"authorization", b"x-api-key", b"x-request-id"}
)
_READY: Final = b"%b%08x\r\nx-bhavcast-age-ms: %d\r\n\r\n%b"
_NAME: Final = b"x-request-id: %b-" % request_id.PROCESS


class Ready:
    """An answer that stands as long as none of its quotes changes."""

    __slots__ = ("body", "fresh", "head", "lead", "lines", "make", "rev", "route", "rows", "stamp", "tally", "visitor")

    def __init__(self, make: Callable[[], quotes.Answer], route: "Route", visitor: Visitor | None) -> None:
        self.make = make
        self.route = route
        self.visitor = visitor  # None: the connection's, whoever that is
        self.rows: tuple[Row, ...] = ()
        self.rev = -1
        self.fresh = 0
        self.stamp = 0
        self.head = b""
        self.body = b""
        # The head up to the request's name, and the lines in it that come from elsewhere: mostly they are the same ones.
        self.lead = b""
        self.lines: tuple[bytes, bytes, bytes] | None = None

    def take(self, answer: quotes.Answer, head: bytes, tally: Tally) -> None:
        """Become this answer, which is one that can stand."""
        self.tally = tally
        self.rows, self.rev = answer.rows, max(row.rev for row in answer.rows)
        self.stamp = answer.stamp or 0
        self.head, self.body, self.lines = head, answer.body, None
        self.fresh = fresh(answer.rows)


class Route(NamedTuple):
    """One of the two hot routes, and what is counted of it."""

    template: str
    counter: RouteCounter


class HotProtocol(Connection):
    """Set up with `bind`, which gives it the gateway."""

    gateway: Gateway
    host_allowed: Callable[[str], bool]
    ready: dict[bytes, Ready]
    ready_bytes: int
    max_ready_bytes: int = MAX_READY_BYTES
    generation: int
    keys: int
    rate_limit: bytes
    dates: list[Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._raw = b""
        self._between = True
        self._answer: bytes | None = None
        self._used_at = 0.0
        # Who this connection's requests without a key are from, once that is known.
        self._visitor: Visitor | None = None

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
        super().data_received(data)

    def _again(self, ready: Ready) -> bytes | None:
        """Return a ready answer as of now; None where it cannot stand any more."""
        if self.cycle is not None and not self.cycle.response_complete:  # type: ignore[redundant-expr]  # None at first
            return None  # an earlier answer of this connection is still to be written
        gateway = self.gateway
        visitor = ready.visitor or self._visitor
        now = gateway.clock.monotonic()
        if visitor is None or now >= visitor.until or visitor.generation != gateway.door.keyring.generation:
            return None
        bucket = visitor.account.bucket
        if not bucket.take(now):
            return None
        rows = ready.rows
        rev = rows[0].rev if len(rows) == 1 else max([row.rev for row in rows])
        if rev != ready.rev:
            answer = ready.make()
            if not answer.lasting:
                return self._finish(answer, ready.route, visitor, request_id.new(), now)
            self._renew(ready, answer, visitor)
        else:
            gateway.reads += len(rows)
            gateway.fresh_reads += ready.fresh
        lines = (self._dates(), gateway.position_header(), bucket.line())
        if lines != ready.lines:
            ready.lines, ready.lead = lines, b"".join((ready.head, *lines, _NAME))
        written = _READY % (
            ready.lead,
            next(request_id.numbers),
            max(0, gateway.market.now_ms() - ready.stamp),
            ready.body,
        )
        ready.tally.count += 1
        ready.route.counter.observe(200 if ready.body else 304, gateway.clock.monotonic() - now)
        return written

    # -- parser callbacks -------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._between = False
        self._answer = None
        super().on_message_begin()

    def _begin(self) -> None:
        if self.parser.get_method() == b"GET" and self.url.startswith(b"/api/stock") and self._is_usual():
            self._answer = self._first(self.url)
            if self._answer is not None:
                return
        super()._begin()

    def on_body(self, body: bytes) -> None:
        """Pass a body on; a hot request has none."""
        if self._answer is None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._between = self._heading = True
        self._coming, self._beside = False, 0
        if self._answer is None:
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

    def _first(self, target: bytes) -> bytes | None:
        """Answer a request that is new to us; None where somebody else has to, or has to refuse it."""
        gateway = self.gateway
        path, _, query = target.partition(b"?")
        # A fragment or a slash that is written otherwise: rare enough to leave it to those who know.
        if not gateway.ready or not target.isascii() or b"#" in target or b"%2f" in path.lower():
            return None
        sent = dict(self.headers)
        text = query.decode("ascii")
        make: Callable[[], quotes.Answer]
        if path.startswith(STOCK) and path != STOCK and b"/" not in path[len(STOCK) :]:
            template = "/api/stock/{symbol}"
            # The first of several, as the other path takes it.
            etag = next((value.decode("latin-1") for name, value in self.headers if name == b"if-none-match"), None)
            make = partial(quotes.stock, gateway, path[len(STOCK) :].decode("ascii"), text, etag)
        elif path == BATCH:
            template = "/api/stocks/batch"
            make = partial(quotes.batch, gateway, text)
        else:
            return None
        began = gateway.clock.monotonic()
        door = gateway.door
        visitor = door.look(self.headers, self.client[0] if self.client else "")
        if not isinstance(visitor, Visitor) or not visitor.account.bucket.take(gateway.clock.monotonic()):
            return None
        if visitor.principal.anonymous:
            self._visitor = visitor
        route = Route(template, self.counters.route(template))
        answer = make()
        named = sent.get(request_id.HEADER)
        if answer.lasting and named is None:
            self._keep(Ready(make, route, None if visitor.principal.anonymous else visitor), answer, visitor)
        own_id = request_id.new() if named is None else request_id.of(named.decode("latin-1")).encode()
        return self._finish(answer, route, visitor, own_id, began)

    def _keep(self, ready: Ready, answer: quotes.Answer, visitor: Visitor) -> None:
        """Keep an answer under the bytes that asked for it, if they are one whole request and nothing else."""
        raw = self._raw
        if not raw.startswith(b"GET ") or raw.find(b"\r\n\r\n") != len(raw) - 4 or len(raw) > READY_BYTES:
            return
        self._renew(ready, answer, visitor)
        cls = type(self)
        size = len(raw) + len(ready.body)
        old = cls.generation != self.gateway.generation or cls.keys != self.gateway.door.keyring.generation
        if old or len(self.ready) >= MAX_READY or cls.ready_bytes + size > cls.max_ready_bytes:
            self.ready.clear()
            # With the keys that came before a change goes what was kept under the bytes that hold them.
            cls.generation, cls.keys, cls.ready_bytes = self.gateway.generation, self.gateway.door.keyring.generation, 0
        before = self.ready.get(raw)
        self.ready[raw] = ready
        cls.ready_bytes += size if before is None else len(ready.body) - len(before.body)

    def _renew(self, ready: Ready, answer: quotes.Answer, visitor: Visitor) -> None:
        tally = self.accesses.tally(ready.route.template, visitor.principal.name, answer.status)
        ready.take(answer, self._stable_head(answer), tally)

    def _finish(self, answer: quotes.Answer, route: Route, visitor: Visitor, own_id: bytes, began: float) -> bytes:
        """Write an answer down, count it and log it."""
        body = answer.body
        if answer.content_type == problems.CONTENT_TYPE:
            body = problems.with_request_id(body, own_id.decode())
            answer = answer._replace(body=body)
        parts = [self._stable_head(answer), self._dates(), visitor.account.bucket.line()]
        parts.append(b"x-request-id: %b\r\n" % own_id)
        if answer.pos is not None:
            parts.append(b"x-bhavcast-position: %b\r\n" % answer.pos.encode())
        if (stamp := answer.stamp) is not None:
            parts.append(b"x-bhavcast-age-ms: %d\r\n" % quotes.age_ms(self.gateway, stamp))
        if answer.retry_after is not None:
            parts.append(b"retry-after: %d\r\n" % answer.retry_after)
        seconds = self.gateway.clock.monotonic() - began
        route.counter.observe(answer.status, seconds)
        name = visitor.principal.name
        if answer.status < 400:
            self.accesses.tally(route.template, name, answer.status).count += 1
        else:
            self.accesses.refused(
                route.template,
                answer.status,
                code=problems.code(body),
                method="GET",
                path=shown(unquote(self.url.partition(b"?")[0].decode("latin-1"))),
                key=name,
                address=plain_address(self.client[0] if self.client else ""),
                ms=round(seconds * 1000, 3),
                request_id=own_id.decode(),
            )
        return b"".join([*parts, b"\r\n", body])

    def _dates(self) -> bytes:
        """Return the server's own headers; uvicorn puts a new list of them in place once a second."""
        headers = self.server_state.default_headers
        if headers is not self.dates[0]:
            self.dates[:] = [headers, b"".join([b"%b: %b\r\n" % header for header in headers])]
        return self.dates[1]  # type: ignore[no-any-return]  # the second of the pair

    def _stable_head(self, answer: quotes.Answer) -> bytes:
        """Return the part of the head that does not move while the quotes do not change."""
        parts = [STATUS_LINE[answer.status], self.constant_headers, self.rate_limit]
        if answer.status != 304:
            parts.append(b"content-type: %b\r\n" % answer.content_type.encode())
            parts.append(b"content-length: %d\r\n" % len(answer.body))
        if answer.etag is not None:
            parts.append(b"etag: %b\r\n" % answer.etag.encode())
        return b"".join(parts)


def bind(
    gateway: Gateway,
    counters: HttpCounters,
    access_log: AccessLog,
    host_allowed: Callable[[str], bool],
    constant_headers: bytes,
    *,
    max_url: int,
    wordings: Wordings | None = None,
) -> type[asyncio.Protocol]:
    """Return the protocol class of one gateway."""
    names = {
        "gateway": gateway,
        "counters": counters,
        "accesses": access_log,
        "host_allowed": staticmethod(host_allowed),
        "constant_headers": constant_headers,
        "rate_limit": b"ratelimit-limit: %d\r\n" % gateway.door.burst,
        "max_url": max_url,
        "wordings": wordings or {},
        "ready": {},
        "ready_bytes": 0,
        "generation": -1,
        "keys": -1,
        "dates": [None, b""],
    }
    return type("BoundHotProtocol", (HotProtocol,), names)
