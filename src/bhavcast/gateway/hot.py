"""The hot path: `GET /api/stock/…` and `GET /api/stocks/batch` answered inside the protocol, without a framework.

A subclass of uvicorn's httptools protocol. A request it can answer never becomes an ASGI task; anything unusual (another
method, a body, an Origin, an upgrade, a pipeline) falls through to the application, which answers the same by the same
functions (quotes.py). Without this class everything still works, slower.

A client that keeps its connection sends the same headers again and again. Once the parser has read a block of headers
and found it usual, the very same bytes after another request line need no second look.
"""

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from bhavcast.domain.errors import BhavcastError, HeadersTooLarge, Malformed, UrlTooLong
from bhavcast.gateway import quotes
from bhavcast.gateway.gateway import Gateway
from bhavcast.telemetry.metrics import HttpCounters

STOCK: Final = b"/api/stock/"
BATCH: Final = b"/api/stocks/batch"
MAX_URL: Final = 16 * 1024
MAX_HEAD: Final = 32 * 1024
_USUAL: Final = frozenset(
    {b"host", b"user-agent", b"accept", b"accept-encoding", b"accept-language", b"connection", b"if-none-match"}
    | {b"cache-control", b"pragma", b"traceparent", b"tracestate"}
)


class HotProtocol(HttpToolsProtocol):
    """Set up with `bind`, which gives it the gateway."""

    gateway: Gateway
    counters: HttpCounters
    host_allowed: Callable[[str], bool]
    constant_headers: bytes
    hot: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._raw: bytes | None = None
        self._memo: bytes | None = None
        self._memo_etag: str | None = None
        self._between = True
        self._head = 0
        self._answer: bytes | None = None
        self._used_at = 0.0

    # -- bytes ------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Answer at once where these headers are known to be usual; else let the parser read them."""
        memo = self._memo
        if memo is not None and self._between and data.endswith(memo) and data.startswith(b"GET /api/stock"):
            end = len(data) - len(memo)
            if data.find(b"\r\n") == end and data[end - 9 : end] == b" HTTP/1.1" and end < MAX_URL:
                answer = self._hot_answer(data[4 : end - 9], self._memo_etag)
                if answer is not None:
                    self._used_at = self.loop.time()
                    self.transport.write(answer)
                    return
        self._raw = data
        if self._too_long(data):
            return
        super().data_received(data)

    def _too_long(self, data: bytes) -> bool:
        """Refuse a head that does not end: httptools has no limit of its own."""
        if not self._between:
            return False
        self._head += len(data)
        if self._head <= MAX_HEAD or b"\r\n\r\n" in data[: MAX_HEAD + 4]:
            return False
        long_url = b"\r\n" not in data[:MAX_URL] and not self.headers
        error: BhavcastError = (
            UrlTooLong(f"expected a URL of at most {MAX_URL} bytes")
            if long_url
            else HeadersTooLarge(f"expected at most {MAX_HEAD} bytes of headers")
        )
        self._refuse(error)
        return True

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP in the one shape of all refusals; uvicorn calls this."""
        self._refuse(Malformed(f"expected a request in HTTP/1.1: {msg}"))

    def _refuse(self, error: BhavcastError) -> None:
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
        self._head = 0
        if len(self.url) > MAX_URL:
            self._refuse(UrlTooLong(f"expected a URL of at most {MAX_URL} bytes"))
            return
        if self.hot and self.parser.get_method() == b"GET" and self._is_usual():
            etag = next((value.decode("latin-1") for name, value in self.headers if name == b"if-none-match"), None)
            self._answer = self._hot_answer(self.url, etag)
            if self._answer is not None:
                self._remember(etag)
                return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass a body on; a hot request has none."""
        if self._answer is None and self.cycle is not None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._between = True
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
        if self.cycle is not None and not self.cycle.response_complete:  # type: ignore[redundant-expr]  # None before the first
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

    def _remember(self, etag: str | None) -> None:
        raw = self._raw
        end = raw.find(b"\r\n") if raw is not None else -1
        if raw is None or end < 0 or not raw.startswith(b"GET ") or not raw.endswith(b"\r\n\r\n"):
            return
        if raw.find(b"\r\n\r\n") == len(raw) - 4:  # one whole request and nothing else
            self._memo, self._memo_etag = raw[end:], etag

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

    def _hot_answer(self, target: bytes, etag: str | None) -> bytes | None:
        """Return the whole response, or None where this is not a hot URL or the gateway cannot answer now."""
        gateway = self.gateway
        if not gateway.ready:
            return None
        began = perf_counter()
        path, _, query = target.partition(b"?")
        try:
            if path.startswith(STOCK) and b"/" not in path[len(STOCK) :]:
                answer = quotes.stock(gateway, path[len(STOCK) :].decode("ascii"), query.decode("ascii"), etag)
                route = "/api/stock/{symbol}"
            elif path == BATCH:
                answer = quotes.batch(gateway, query.decode("ascii"))
                route = "/api/stocks/batch"
            else:
                return None
        except UnicodeDecodeError:
            return None
        written = self._written(answer)
        self.counters.count(route, answer.status, perf_counter() - began)
        return written

    def _written(self, answer: quotes.Answer, *, close: bool = False) -> bytes:
        parts = [STATUS_LINE[answer.status]]
        for name, value in self.server_state.default_headers:
            parts += (name, b": ", value, b"\r\n")
        parts.append(self.constant_headers)
        extra = [f"content-type: {answer.content_type}\r\ncontent-length: {len(answer.body)}\r\n"]
        if answer.status == 304:
            extra = []
        if answer.etag is not None:
            extra.append(f"etag: {answer.etag}\r\n")
        if answer.pos is not None:
            extra.append(f"x-bhavcast-position: {answer.pos}\r\n")
        if answer.age_ms is not None:
            extra.append(f"x-bhavcast-age-ms: {answer.age_ms}\r\n")
        if answer.retry_after is not None:
            extra.append(f"retry-after: {answer.retry_after}\r\n")
        extra.append("connection: close\r\n\r\n" if close else "\r\n")
        parts.append("".join(extra).encode("latin-1"))
        parts.append(answer.body)
        return b"".join(parts)


def bind(
    gateway: Gateway,
    counters: HttpCounters,
    host_allowed: Callable[[str], bool],
    constant_headers: bytes,
    *,
    hot: bool,
) -> type[asyncio.Protocol]:
    """Return the protocol class of one gateway."""
    names = {
        "gateway": gateway,
        "counters": counters,
        "host_allowed": staticmethod(host_allowed),
        "constant_headers": constant_headers,
        "hot": hot,
    }
    return type("BoundHotProtocol", (HotProtocol,), names)
