"""What every request passes before it is answered: host, origin, size; and what every answer carries."""

import ipaddress
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable
from time import perf_counter
from typing import Any, Final
from urllib.parse import urlsplit

import structlog

from bhavcast.domain.errors import (
    BadRequest,
    BhavcastError,
    Draining,
    ForeignHost,
    ForeignOrigin,
    MethodNotAllowed,
    TooLarge,
    UnknownRoute,
)
from bhavcast.gateway import problems
from bhavcast.gateway.etag import matches
from bhavcast.gateway.pages import Page
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
CONSTANT_HEADERS: Final = b"".join(name + b": " + value + b"\r\n" for name, value in SECURITY_HEADERS)
EXPOSED: Final = b"ETag, X-Bhavcast-Position, X-Bhavcast-Age-Ms, Retry-After"
_SAFE: Final = ("GET", "HEAD", "OPTIONS")


# What is read leniently here would be a fault of whoever reads it again, as the framework does.
_HOST: Final = re.compile(r"(?:\[[0-9a-f:.]+\]|[^\s:\[\]/?#@\\]+)(?::(\d{0,5}))?", re.ASCII | re.IGNORECASE)


def host_name(host: str) -> str:
    """Return the name in a Host header, without its port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


class Gate:
    """Who may come: the hosts this service answers for, and the origins whose pages may use it."""

    def __init__(self, hosts: Iterable[str], origins: Iterable[str]) -> None:
        self._hosts = {name.lower() for name in hosts}
        self._origins = set(origins)
        self._known: set[str] = set()

    def host_allowed(self, host: str) -> bool:
        """Tell whether a Host header names this service: loopback or a configured name (DNS rebinding is neither)."""
        if host in self._known:
            return True
        form = _HOST.fullmatch(host)
        if form is None or int(form[1] or 0) > 65535:
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
            return urlsplit(origin).netloc.lower() == host.lower()
        except ValueError:  # an address in brackets that is none
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
    """ASGI: wraps the application, serves the static pages, counts."""

    def __init__(
        self,
        app: App | None,
        gate: Gate,
        counters: HttpCounters,
        pages: dict[str, Page],
        *,
        policy: str,
        max_body: int,
        streams: dict[str, App] | None = None,
        draining: Callable[[], bool] = lambda: False,
    ) -> None:
        self._app = app
        self._gate = gate
        self._counters = counters
        self._pages = pages
        self._policy = policy.encode()
        self._max_body = max_body
        self._streams = streams or {}
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        began = perf_counter()
        seen: dict[str, Any] = {"status": None, "route": "other"}
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        origin = headers.get("origin")
        scope["bhavcast.seen"] = seen

        async def outgoing(event: dict[str, Any]) -> None:
            if event["type"] == "http.response.start":
                seen["status"] = event["status"]
                event["headers"] = [*event.get("headers", []), *self._answer_headers(origin, headers.get("host", ""))]
            await send(event)

        try:
            await self._route(scope, headers, receive, outgoing)
        except Exception as error:
            incident = secrets.token_hex(8)
            log.error("fault", incident=incident, route=scope["path"], exc_info=error)
            if seen["status"] is not None:
                raise  # in the middle of an answer there is no other
            await refuse(BhavcastError(f"a fault of this service, in its log as {incident}"), outgoing)
        finally:
            if not seen.get("stream"):
                method = scope["method"] if scope["method"] in (*_SAFE, "POST", "DELETE", "PUT") else "other"
                self._counters.count(seen["route"], seen["status"] or 500, perf_counter() - began, method)

    async def _route(self, scope: Scope, headers: dict[str, str], receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        seen = scope["bhavcast.seen"]
        stream = self._streams.get(path)
        strict = stream is not None or method not in _SAFE
        refused = self._gate.check(_one(scope, b"host"), headers.get("origin"), strict=strict)
        if refused is None and self._draining() and not path.startswith("/health"):
            refused = Draining("the service is shutting down")
        if refused is None and int_or_none(headers.get("content-length", "0")) is None:
            refused = BadRequest("expected a number", field="Content-Length")
        if refused is None and (int_or_none(headers.get("content-length", "0")) or 0) > self._max_body:
            refused = TooLarge(f"expected a body of at most {self._max_body} bytes")
        if refused is not None:
            await refuse(refused, send)
        elif method == "OPTIONS" and "access-control-request-method" in headers:
            seen["route"] = "preflight"
            await respond(send, 204, b"", [])
        elif path in self._pages:
            seen["route"] = "page"
            await self._page(self._pages[path], headers.get("if-none-match"), method, send)
        elif stream is not None:
            seen["route"], seen["stream"] = path, True
            await stream(scope, receive, send)
        elif self._app is not None:
            # What can be had can be asked for its head; the server cuts the body off.
            await self._app({**scope, "method": "GET"} if method == "HEAD" else scope, receive, send)
        else:
            await refuse(UnknownRoute(f"nothing is served at {path[:80]}"), send)

    async def _page(self, page: Page, if_none_match: str | None, method: str, send: Send) -> None:
        if method not in ("GET", "HEAD"):
            await refuse(MethodNotAllowed(f"expected GET, got {method}", allowed=("GET", "HEAD")), send)
            return
        headers = [(b"etag", page.etag.encode()), (b"content-security-policy", self._policy)]
        headers += [(b"x-frame-options", b"DENY")]
        if if_none_match is not None and matches(if_none_match, page.etag):
            await respond(send, 304, b"", headers)
            return
        headers.append((b"content-type", page.content_type.encode()))
        await respond(send, 200, page.body if method == "GET" else b"", headers, length=len(page.body))

    def _answer_headers(self, origin: str | None, host: str) -> list[tuple[bytes, bytes]]:
        headers = list(SECURITY_HEADERS)
        if origin is not None and self._gate.origin_allowed(origin, host):
            headers += [
                (b"access-control-allow-origin", origin.encode("latin-1")),
                (b"access-control-allow-methods", b"GET, POST, DELETE"),
                (
                    b"access-control-allow-headers",
                    b"Authorization, X-API-Key, Content-Type, If-None-Match, Last-Event-ID",
                ),
                (b"access-control-expose-headers", EXPOSED),
                (b"vary", b"Origin"),
            ]
        return headers


def _one(scope: Scope, wanted: bytes) -> str | None:
    """Return a header that must stand exactly once."""
    values = [value for name, value in scope["headers"] if name == wanted]
    return values[0].decode("latin-1") if len(values) == 1 else None


def int_or_none(text: str) -> int | None:
    """Read a plain number."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


async def respond(
    send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]], *, length: int | None = None
) -> None:
    """Send a whole response."""
    if status not in (204, 304):
        headers = [*headers, (b"content-length", str(len(body) if length is None else length).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def refuse(error: BhavcastError, send: Send) -> None:
    """Send an error in the one shape."""
    headers = [(b"content-type", problems.CONTENT_TYPE.encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in problems.headers(error).items()]
    await respond(send, error.status, problems.body(error), headers)
