"""What can go wrong for a client; each has its heading in docs/reference/errors.md like every other error."""

from typing import Any, ClassVar

import msgspec

from bhavcast.domain.errors import BhavcastError, Unavailable


class BadFrame(BhavcastError):
    """The service sent something that this client does not understand; it reconnects and goes on."""

    code, status, temporary = "bad_frame", 502, True


class StreamClosed(BhavcastError):
    """The service closed the stream for good (close codes 4500 to 4999) or refused to open it.

    `close_code` is the number, or the HTTP status of a refused handshake.
    """

    code, status = "stream_closed", 403

    def __init__(self, detail: str, *, close_code: int) -> None:
        super().__init__(detail)
        self.close_code = close_code


class Unreachable(Unavailable):
    """Nothing answers at the address."""

    code: ClassVar[str] = "unreachable"


class Problem(msgspec.Struct, frozen=True):
    """RFC 9457 problem details, as the service sends them."""

    code: str = "internal"
    title: str = ""
    status: int = 500
    detail: str = ""
    field: str | None = None
    retry_after: int | None = None
    candidates: list[str] = []
    extra: dict[str, Any] = {}


class Refused(BhavcastError):
    """The service answered a request with a problem, which `problem` holds."""

    code = "refused"

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.detail or problem.title} ({problem.code})", field=problem.field)
        self.problem = problem
        self.retry_after = problem.retry_after
