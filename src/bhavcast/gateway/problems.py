"""How this service says no: as RFC 9457 problem details, or as the API does whose route was asked."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from bhavcast.domain.errors import AmbiguousSymbol, BhavcastError, MethodNotAllowed, Unauthenticated

CONTENT_TYPE: Final = "application/problem+json"
_encode = msgspec.json.Encoder().encode


def title(code: str) -> str:
    """Turn a code into words."""
    return code.replace("_", " ").capitalize()


def problem(error: BhavcastError) -> dict[str, Any]:
    """Return what is told of an error."""
    told: dict[str, Any] = {
        "type": f"/docs/errors#{error.code}",
        "title": title(error.code),
        "status": error.status,
        "code": error.code,
        "detail": error.detail,
    }
    if error.field is not None:
        told["field"] = error.field
    if error.retry_after is not None:
        told["retry_after"] = error.retry_after
    if isinstance(error, AmbiguousSymbol):
        told["candidates"] = list(error.candidates)
    return told


def body(error: BhavcastError) -> bytes:
    """Return the problem as JSON."""
    return _encode(problem(error))


class _Coded(msgspec.Struct):
    code: str = ""


_code = msgspec.json.Decoder(_Coded)


def code(problem_body: bytes) -> str:
    """Return the code in a problem's body."""
    return _code.decode(problem_body).code


def with_request_id(problem_body: bytes, request_id: str) -> bytes:
    """Add the name of the request that was refused; it has only characters that JSON takes as they are."""
    return b'%b,"request_id":"%b"}' % (problem_body[:-1], request_id.encode())


class Wording(NamedTuple):
    """The shape of a refusal. A route has one, and whoever refuses a request to it uses that."""

    content_type: str
    body: Callable[[BhavcastError], bytes]

    def write(self, error: BhavcastError, request_id: str) -> bytes:
        """Return the body, with the name of the request where the shape has a place for more."""
        told = self.body(error)
        return with_request_id(told, request_id) if self.content_type == CONTENT_TYPE else told


OURS: Final = Wording(CONTENT_TYPE, body)
Wordings = Mapping[str, Wording]  # by path; what is not named has ours


def headers(error: BhavcastError) -> dict[str, str]:
    """Return the headers that go with the problem."""
    told = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    if isinstance(error, MethodNotAllowed):
        told["Allow"] = ", ".join(error.allowed)
    if error.status == 426:
        told |= {"Upgrade": "websocket", "Connection": "Upgrade"}
    if isinstance(error, Unauthenticated):
        told["WWW-Authenticate"] = 'Bearer realm="bhavcast"'
    return told


def brief(error: BhavcastError) -> dict[str, Any]:
    """Return an error as it stands within a list or a message."""
    told: dict[str, Any] = {"code": error.code, "message": error.detail}
    if error.retry_after is not None:
        told["retry_after"] = error.retry_after
    if isinstance(error, AmbiguousSymbol):
        told["candidates"] = list(error.candidates)
    return told
