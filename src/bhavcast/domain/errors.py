"""Every error that Bhavcast reports, as one tree; each has a code, a status and a page in docs/reference/errors.md."""

from typing import ClassVar


class BhavcastError(Exception):
    """Say what was expected, what came, and whether trying again can help.

    Attributes:
        code: stable, machine-readable; the heading of its page in the documentation.
        status: the HTTP status it becomes at the edge.
        temporary: whether the same request may succeed later.
        retry_after: seconds after which a retry makes sense, or None.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    temporary: ClassVar[bool] = False
    retry_after: int | None = None

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field


class BadRequest(BhavcastError):
    """A parameter or message field has the wrong form; `field` names it."""

    code, status = "bad_request", 400


class TooManySymbols(BhavcastError):
    """More symbols were asked for than one request may name."""

    code, status = "too_many_symbols", 400


class TooManyShapes(BhavcastError):
    """The gateway already encodes as many field lists as it is willing to."""

    code, status = "too_many_shapes", 400


class UnknownSymbol(BhavcastError):
    """No scrip, index or group of that name exists."""

    code, status = "unknown_symbol", 404


class UnknownRoute(BhavcastError):
    """The path is not served here."""

    code, status = "not_found", 404


class MethodNotAllowed(BhavcastError):
    """The path exists, the method does not."""

    code, status = "method_not_allowed", 405

    def __init__(self, detail: str, *, allowed: tuple[str, ...]) -> None:
        super().__init__(detail)
        self.allowed = allowed


class AmbiguousSymbol(BhavcastError):
    """The id or ISIN names several active scrips; `candidates` lists their codes."""

    code, status = "ambiguous_symbol", 409

    def __init__(self, detail: str, *, candidates: tuple[str, ...], field: str | None = None) -> None:
        super().__init__(detail, field=field)
        self.candidates = candidates


class BadHandshake(BhavcastError):
    """A WebSocket was asked for in a way that RFC 6455 does not know; `status` says which part of it is wrong."""

    code, status = "bad_handshake", 400

    def __init__(self, detail: str, *, status: int = 400) -> None:
        super().__init__(detail)
        self.status = status  # type: ignore[misc]  # the library decides: 400, 405 or 426


class TooLarge(BhavcastError):
    """The request, its headers or its body exceed the published limit."""

    code, status = "too_large", 413


class RequestTimeout(BhavcastError):
    """A request did not come whole in time."""

    code, status, temporary = "request_timeout", 408, True


class Malformed(BhavcastError):
    """What came is not HTTP."""

    code, status = "malformed_request", 400


class UrlTooLong(BhavcastError):
    """The URL exceeds the published limit."""

    code, status = "url_too_long", 414


class HeadersTooLarge(BhavcastError):
    """The headers exceed the published limit."""

    code, status = "headers_too_large", 431


class ForeignHost(BhavcastError):
    """The Host header names a machine this service does not answer for."""

    code, status = "foreign_host", 421


class ForeignOrigin(BhavcastError):
    """A web page of an origin that is not allowed tried to use this service."""

    code, status = "foreign_origin", 403


class Unauthenticated(BhavcastError):
    """A key is needed here, and none came or not one of ours."""

    code, status = "unauthenticated", 401


class NoKey(Unauthenticated):
    """A key is needed here, and none came; on a stream it may still come as a message."""


class KeyExpired(Unauthenticated):
    """The key was good once: it has expired, or was revoked."""

    code = "key_expired"


class KeyRevoked(KeyExpired):
    """The key was taken away: unlike one that ran out, it is not to be replaced without asking."""


class Forbidden(BhavcastError):
    """The key is good, and its role is not enough."""

    code, status = "forbidden", 403


class BadCsrfToken(Forbidden):
    """Something was to be changed by cookie, without the header that only our own pages can set."""

    code = "bad_csrf_token"


class Conflict(BhavcastError):
    """What was asked for cannot be done as things are; `detail` says why."""

    code, status = "conflict", 409


class UnknownSource(BhavcastError):
    """No source of that name feeds this system."""

    code, status = "unknown_source", 404


class RateLimited(BhavcastError):
    """More requests than the key or the address may make, or more attempts that failed."""

    code, status, temporary = "rate_limited", 429, True

    def __init__(self, detail: str, *, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class TooManyStreams(RateLimited):
    """The key or the address has as many streams open as it may have."""

    code = "too_many_streams"


class Unavailable(BhavcastError):
    """The service cannot answer now; a retry can help."""

    code, status, temporary = "unavailable", 503, True
    retry_after: int | None = 1


class TooManyConnections(Unavailable):
    """The gateway already has as many streaming clients, or connections, as it takes."""

    code = "too_many_connections"
    retry_after = 10


class NoDataYet(Unavailable):
    """The scrip exists, but nothing has been seen of it."""

    code = "no_data_yet"
    retry_after = 5


class Behind(Unavailable):
    """The reader knows a newer position than this gateway and it did not catch up in time."""

    code = "behind"


class Draining(Unavailable):
    """The service is shutting down."""

    code = "draining"
    retry_after = 5


class BadFile(BhavcastError):
    """A file was refused whole; nothing of it was used.

    `row` counts from 1 with the header as row 1, or is None where the file as such is wrong.
    """

    code, status = "bad_file", 422

    def __init__(self, detail: str, *, row: int | None = None, field: str | None = None) -> None:
        where = "" if row is None else f"row {row}: "
        super().__init__(where + detail, field=field)
        self.row = row


class BadConfig(BhavcastError):
    """A setting is unknown or has an impossible value."""

    code, status = "bad_config", 500


class BadRecord(BhavcastError):
    """Bytes of the journal or the bus do not decode; `offset` is where."""

    code, status = "bad_record", 500

    def __init__(self, detail: str, *, offset: int | None = None) -> None:
        super().__init__(detail)
        self.offset = offset


class BusHole(BhavcastError):
    """A follower of the bus missed messages and must take a snapshot again."""

    code, status, temporary = "bus_hole", 503, True


class NotTheWriter(BhavcastError):
    """Another process holds the lease of this data directory or bus."""

    code, status = "not_the_writer", 503


class FeedFailed(BhavcastError):
    """A source stopped for a reason that waiting may cure."""

    code, status, temporary = "feed_failed", 503, True


def again(code: str, detail: str, field: str | None = None) -> BhavcastError:
    """Return an error as another process raised it; of the root's kind if its own is made of more than these."""
    kinds = [BhavcastError]
    for kind in kinds:
        if kind.code == code and kind.__init__ is BhavcastError.__init__:
            return kind(detail, field=field)
        kinds += kind.__subclasses__()  # parents come before what shares their code
    return BhavcastError(detail, field=field)
