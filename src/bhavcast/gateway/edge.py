"""What every request passes before it is answered: host, origin, size, who asks; and what every answer carries."""

import asyncio
import ipaddress
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable
from time import perf_counter
from typing import Any, Final
from urllib.parse import urlsplit

import structlog

from bhavcast.access.doorkeeper import Doorkeeper, Visitor
from bhavcast.domain.access import ANONYMOUS, Role
from bhavcast.domain.digits import whole
from bhavcast.domain.errors import (
    BadHandshake,
    BadRequest,
    BhavcastError,
    Draining,
    ForeignHost,
    ForeignOrigin,
    MethodNotAllowed,
    TooLarge,
    Unauthenticated,
    UnknownRoute,
)
from bhavcast.gateway import problems, request_id
from bhavcast.gateway.access_log import AccessLog, shown
from bhavcast.gateway.etag import matches
from bhavcast.gateway.pages import Page, config_page, content_security_policy
from bhavcast.gateway.problems import Wording, Wordings
from bhavcast.telemetry.metrics import HttpCounters

log = structlog.get_logger()

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-site"),
    (b"cache-control", b"no-cache"),
)
STRICT_TRANSPORT: Final = (b"strict-transport-security", b"max-age=31536000")
EXPOSED: Final = (
    b"ETag, X-Bhavcast-Position, X-Bhavcast-Age-Ms, X-Request-ID, Retry-After, "
    b"RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset"
)
_SAFE: Final = ("GET", "HEAD", "OPTIONS")
_SERVED: Final = (*_SAFE, "POST", "DELETE")  # by any route; of another method nobody needs a key to be told so
_COUNTED: Final = (*_SERVED, "PUT")
CONFIG: Final = "/config.json"
WEBSOCKET: Final = "/ws"
ADMIN: Final = "/api/admin/"
_PUBLIC: Final = ("/openapi.json", CONFIG)  # says nothing of the market, and who signs in has to read it first
_INTERNAL: Final = ("/health", "/metrics")

# What is recorded of an operator's act: who, role, what, where, outcome, key id, request id.
Record = Callable[..., object]


def header_lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return headers as they stand in an answer."""
    return b"".join(name + b": " + value + b"\r\n" for name, value in headers)


# What is read leniently here would be a fault of whoever reads it again, as the framework does.
_HOST: Final = re.compile(r"(?:\[[0-9a-f:.]+\]|[^\s:\[\]/?#@\\]+)(?::(\d{0,5}))?", re.ASCII | re.IGNORECASE)


def host_name(host: str) -> str:
    """Return the name in a Host header, without its port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


class Gate:
    """Who may come: the hosts this service answers for, and the origins whose pages may use it.

    `frontend_port`: where the same host serves the page alone.
    """

    def __init__(self, hosts: Iterable[str], origins: Iterable[str], *, frontend_port: int | None = None) -> None:
        self._hosts = {name.lower() for name in hosts}
        self._origins = set(origins)
        self._frontend_port = frontend_port
        self._known: set[str] = set()

    def host_allowed(self, host: str) -> bool:
        """Tell whether a Host header names this service: loopback or a configured name (DNS rebinding is neither)."""
        if host in self._known:
            return True
        form = _HOST.fullmatch(host)
        if form is None or whole(form[1] or "0", 65535) is None:
            return False
        name = host_name(host)
        allowed = name in self._hosts or name == "localhost" or _is_loopback(name)
        if allowed and len(self._known) < 64:
            self._known.add(host)
        return allowed

    def origin_allowed(self, origin: str, host: str) -> bool:
        """Tell whether a page of this origin may use the service: the service's own pages, and the configured ones."""
        if origin in self._origins:
            return True
        try:
            parts = urlsplit(origin)
            if parts.netloc.lower() == host.lower():
                return True
            return parts.port is not None and (parts.hostname, parts.port) == (host_name(host), self._frontend_port)
        except ValueError:  # an address in brackets that is none, or no port
            return False

    def check(self, host: str | None, origin: str | None, *, strict: bool) -> BhavcastError | None:
        """Return why a request is refused. `strict` where a foreign page could do or read something without CORS."""
        if host is None or not self.host_allowed(host):
            return ForeignHost(f"expected a host of this service, got {(host or 'none')[:80]!r}", field="Host")
        if strict and origin is not None and not self.origin_allowed(origin, host):
            return ForeignOrigin(f"expected a page of this service, got {origin[:80]!r}", field="Origin")
        return None


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class Edge:
    """ASGI: wraps the application, asks the doorkeeper, serves the static pages, counts and logs.

    `streams` are answers that last; `more` are routes of other APIs, and `wordings` the shapes in which those say no.
    """

    def __init__(
        self,
        app: App | None,
        gate: Gate,
        counters: HttpCounters,
        pages: dict[str, Page],
        *,
        max_body: int,
        door: Doorkeeper | None = None,
        access_log: AccessLog | None = None,
        record: Record | None = None,
        streams: dict[str, App] | None = None,
        more: dict[str, App] | None = None,
        wordings: Wordings | None = None,
        draining: Callable[[], bool] = lambda: False,
        gateway_url: Callable[[str, bool], str] | None = None,
        tls: bool = False,
    ) -> None:
        """Put it together.

        `door` None: nothing here needs to be guarded. `gateway_url` tells a page its gateway's address by the host and
        scheme that it was asked with; None where that is this one. `record` keeps what operators do.
        """
        self._app = app
        self._gate = gate
        self._counters = counters
        self._pages = pages
        self._max_body = max_body
        self._door = door
        self._log = access_log or AccessLog(enabled=False)
        self._record = record
        self._streams = streams or {}
        self._more = more or {}
        self._wordings = wordings or {}
        self._draining = draining
        self._gateway_url = gateway_url
        self._constant = (*SECURITY_HEADERS, STRICT_TRANSPORT) if tls else SECURITY_HEADERS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        began = perf_counter()
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        seen = scope["bhavcast.seen"] = Seen(scope, request_id.of(headers.get("x-request-id")))
        waiting: dict[str, Any] | None = None  # the start of a problem, whose length changes yet

        async def outgoing(event: dict[str, Any]) -> None:
            nonlocal waiting
            if event["type"] == "http.response.start":
                seen.status = event["status"]
                own = event.get("headers", [])
                said = {name for name, _ in own}
                event["headers"] = [
                    *own,
                    *(each for each in self._answer_headers(headers, seen) if each[0] not in said),
                ]
                if (b"content-type", problems.CONTENT_TYPE.encode()) in event["headers"]:
                    waiting = event
                    return
                await self._audit(seen)
            elif waiting is not None:
                start, waiting = waiting, None
                seen.code = problems.code(event["body"])
                event["body"] = problems.with_request_id(event["body"], seen.request_id)
                start["headers"] = [each for each in start["headers"] if each[0] != b"content-length"]
                start["headers"].append((b"content-length", str(len(event["body"])).encode()))
                await self._audit(seen)
                await send(start)
            await send(event)

        with structlog.contextvars.bound_contextvars(request_id=seen.request_id):
            try:
                await self._route(scope, headers, receive, outgoing)
            except Exception as error:  # the edge of the service: told to the client as a number, to the log whole
                incident = secrets.token_hex(8)
                log.error("fault", incident=incident, route=shown(scope["path"]), exc_info=error)
                if seen.status is not None and waiting is None:
                    raise  # in the middle of an answer there is no other
                waiting = None
                fault = BhavcastError(f"a fault of this service, in its log as {incident}")
                seen.code = fault.code
                await self._refuse(scope, fault, outgoing)
            finally:
                self._count(seen, perf_counter() - began)

    async def _refuse(self, scope: Scope, error: BhavcastError, send: Send) -> None:
        await refuse(error, send, self._wordings.get(scope["path"], problems.OURS))

    # -- the way in -------------------------------------------------------------------------------------------------

    async def _route(self, scope: Scope, headers: dict[str, str], receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        seen: Seen = scope["bhavcast.seen"]
        stream, foreign = self._streams.get(path), self._more.get(path)
        if stream is not None or foreign is not None:
            seen.route = path
        refused = self._check(scope, headers, strict=stream is not None or method not in _SAFE)
        preflight = method == "OPTIONS" and "access-control-request-method" in headers
        public = preflight or method not in _SERVED or self._app is None
        public = public or path in self._pages or path in _PUBLIC or path == WEBSOCKET
        if self._door is None:
            seen.who = ANONYMOUS.name
        elif refused is None:
            refused = self._admit(self._door, scope, seen, headers, public=public)
        if refused is not None:
            seen.code = refused.code
            await self._refuse(scope, refused, send)
        elif preflight:
            seen.route = "preflight"
            await respond(send, 204, b"", [])
        elif path == CONFIG:
            seen.route = "page"
            await self._page(config_page(self._located(scope, headers)), headers, method, send)
        elif path in self._pages:
            seen.route = "page"
            await self._page(self._pages[path], headers, method, send)
        elif stream is not None:
            await stream(scope, receive, send)
        elif foreign is not None:
            await foreign(scope, receive, send)
        elif path == WEBSOCKET and self._app is not None and method in ("GET", "HEAD"):
            seen.route = path
            await refuse(BadHandshake("expected Connection: Upgrade and Upgrade: websocket", status=426), send)
        elif self._app is not None:
            # What can be had can be asked for its head; the server cuts the body off.
            await self._app({**scope, "method": "GET"} if method == "HEAD" else scope, receive, send)
        else:
            await refuse(UnknownRoute(f"nothing is served at {path[:80]}"), send)

    def _check(self, scope: Scope, headers: dict[str, str], *, strict: bool) -> BhavcastError | None:
        """Return why a request is refused whoever sends it."""
        refused = self._gate.check(_one(scope, b"host"), headers.get("origin"), strict=strict)
        if refused is not None:
            return refused
        if "//" in scope["path"]:  # the framework would take it for another path than the one that is judged here
            return UnknownRoute(f"nothing is served at {scope['path'][:80]}; see /docs")
        if self._draining() and not scope["path"].startswith("/health"):
            return Draining("the service is shutting down")
        length = whole(headers.get("content-length", "0"))
        if length is None:
            return BadRequest("expected a number", field="Content-Length")
        return TooLarge(f"expected a body of at most {self._max_body} bytes") if length > self._max_body else None

    def _admit(
        self, door: Doorkeeper, scope: Scope, seen: "Seen", headers: dict[str, str], *, public: bool
    ) -> BhavcastError | None:
        """Find out who asks, and whether they may. Who is not let in has the allowance of their address."""
        path, peer, secure = scope["path"], seen.peer, scope["scheme"] == "https"
        refused: BhavcastError | None = None
        try:
            if public:
                visitor = door.stranger(door.whence(scope["headers"], peer, secure=secure))
            else:
                internal = path.startswith(_INTERNAL)
                visitor = door.admit(scope["headers"], peer, secure=secure, internal=internal)
            seen.who = visitor.principal.name
        except BhavcastError as error:
            refused = error
            visitor = door.stranger(door.whence(scope["headers"], peer, secure=secure))
        seen.visitor = scope["bhavcast.visitor"] = visitor
        if (limited := door.take(visitor)) is not None:
            return limited if refused is None or isinstance(refused, Unauthenticated) else refused
        if refused is not None or public:
            return refused
        needed: Role = "operator" if path.startswith(ADMIN) else "viewer"
        refused = door.check_role(visitor, needed)
        if refused is None and scope["method"] not in _SAFE:
            refused = door.check_csrf(visitor, headers.get("x-csrf-token"))
        return refused

    # -- pages ------------------------------------------------------------------------------------------------------

    def _located(self, scope: Scope, headers: dict[str, str]) -> str:
        """Return the gateway's address as whoever asks has to write it; a trusted proxy says what that is."""
        host, secure = headers.get("host", ""), scope["scheme"] == "https"
        visitor: Visitor | None = scope["bhavcast.seen"].visitor
        if visitor is not None and visitor.whence.proxied:
            secure = visitor.whence.secure
            public = headers.get("x-forwarded-host", "").rpartition(",")[2].strip()
            host = public if public and self._gate.host_allowed(public) else host
        if self._gateway_url is not None:
            return self._gateway_url(host, secure)
        return f"{'https' if secure else 'http'}://{host}"

    async def _page(self, page: Page, asked: dict[str, str], method: str, send: Send) -> None:
        if method not in ("GET", "HEAD"):
            await refuse(MethodNotAllowed(f"expected GET, got {method}", allowed=("GET", "HEAD")), send)
            return
        # Its gateway is another origin only where a frontend serves the page.
        foreign = None if self._gateway_url is None else self._gateway_url(asked.get("host", ""), False)
        headers = [
            (b"etag", page.etag.encode()),
            (b"content-security-policy", content_security_policy(foreign).encode()),
        ]
        headers += [(b"x-frame-options", b"DENY"), (b"cross-origin-opener-policy", b"same-origin")]
        if "if-none-match" in asked and matches(asked["if-none-match"], page.etag):
            await respond(send, 304, b"", headers)
            return
        headers.append((b"content-type", page.content_type.encode()))
        await respond(send, 200, page.body if method == "GET" else b"", headers, length=len(page.body))

    # -- what an answer carries, and what is kept of it ---------------------------------------------------------------

    def _answer_headers(self, asked: dict[str, str], seen: "Seen") -> list[tuple[bytes, bytes]]:
        headers = [*self._constant, (request_id.HEADER, seen.request_id.encode())]
        if seen.visitor is not None:
            bucket = seen.visitor.account.bucket
            headers += [
                (b"ratelimit-limit", b"%d" % bucket.burst),
                (b"ratelimit-remaining", b"%d" % bucket.tokens),
                (b"ratelimit-reset", b"%d" % bucket.reset),
            ]
        origin = asked.get("origin")
        if origin is not None and self._gate.origin_allowed(origin, asked.get("host", "")):
            headers += [
                (b"access-control-allow-origin", origin.encode("latin-1")),
                (b"access-control-allow-credentials", b"true"),
                (b"access-control-allow-methods", b"GET, POST, DELETE"),
                (
                    b"access-control-allow-headers",
                    b"Authorization, X-API-Key, X-CSRF-Token, X-Request-ID, Content-Type, If-None-Match, Last-Event-ID",
                ),
                (b"access-control-expose-headers", EXPOSED),
                (b"access-control-max-age", b"600"),
                (b"vary", b"Origin"),
            ]
        return headers

    async def _audit(self, seen: "Seen") -> None:
        """Put on record, before it is answered, what somebody with a key did or tried to do as an operator."""
        visitor = seen.visitor
        if self._record is None or visitor is None or visitor.principal.anonymous or not seen.path.startswith(ADMIN):
            return
        principal, whence = visitor.principal, visitor.whence
        try:
            await asyncio.to_thread(
                self._record,
                who=principal.name,
                role=principal.role,
                key_id=principal.key_id,
                what=f"{seen.method} {shown(seen.path)}",
                target=seen.target,
                where=whence.address,
                outcome=seen.code or "done",
                request_id=seen.request_id,
            )
        except OSError as error:
            # An operator who has to act is not kept from it by a full disk; the log has it at least.
            log.error("not on the audit log", error=str(error), who=principal.name, what=seen.path, outcome=seen.code)

    def _count(self, seen: "Seen", seconds: float) -> None:
        status = seen.status or 500
        if seen.route not in self._streams or status != 200:
            self._counters.count(seen.route, status, seconds, seen.method if seen.method in _COUNTED else "other")
        if status < 400:
            self._log.tally(seen.route, seen.who, status).count += 1
            return
        self._log.refused(
            seen.route,
            status,
            code=seen.code,
            method=seen.method[:20],
            path=shown(seen.path),
            key=seen.who,
            address=seen.visitor.whence.address if seen.visitor is not None else seen.peer,
            ms=round(seconds * 1000, 3),
            request_id=seen.request_id,
        )


class Seen:
    """What is known of one request, for its counters, its line in the log and the record of what operators do."""

    __slots__ = ("code", "method", "path", "peer", "request_id", "route", "status", "target", "visitor", "who")

    def __init__(self, scope: Scope, own_id: str) -> None:
        client = scope.get("client")
        self.peer: str = client[0] if client else "unknown"
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.request_id = own_id
        self.route = "other"
        self.status: int | None = None
        self.code = ""
        self.who = "-"
        self.target = ""
        self.visitor: Visitor | None = None


def _one(scope: Scope, wanted: bytes) -> str | None:
    """Return a header that must stand exactly once."""
    values = [value for name, value in scope["headers"] if name == wanted]
    return values[0].decode("latin-1") if len(values) == 1 else None


async def respond(
    send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]], *, length: int | None = None
) -> None:
    """Send a whole response."""
    if status not in (204, 304):
        headers = [*headers, (b"content-length", str(len(body) if length is None else length).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def refuse(error: BhavcastError, send: Send, wording: Wording = problems.OURS) -> None:
    """Send an error in the shape of its route."""
    headers = [(b"content-type", wording.content_type.encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in problems.headers(error).items()]
    await respond(send, error.status, wording.body(error), headers)
