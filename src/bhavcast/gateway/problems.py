"""Errors as RFC 9457 problem details: the one shape in which this service says no."""

from typing import Any, Final

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


def headers(error: BhavcastError) -> dict[str, str]:
    """Return the headers that go with the problem."""
    told = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    if isinstance(error, MethodNotAllowed):
        told["Allow"] = ", ".join(error.allowed)
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
