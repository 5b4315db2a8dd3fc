"""Sessions: a key is exchanged for a cookie."""

from typing import Any, Final

import msgspec
import structlog
from litestar import Response, delete, get, post
from litestar.openapi.datastructures import ResponseSpec

from bhavcast.access.doorkeeper import Visitor, cookie_of
from bhavcast.access.sessions import COOKIE, LIFE_S
from bhavcast.domain.errors import NoKey
from bhavcast.gateway.routes.asked import Asked
from bhavcast.gateway.routes.described import BY_KEY, responses

log = structlog.get_logger()


class Session(msgspec.Struct):
    """Who is signed in. `csrf` has to come as X-CSRF-Token with whatever changes something by cookie."""

    name: str
    role: str
    csrf: str | None = None
    expires_in: int | None = None


def _visitor(request: Asked) -> Visitor:
    scope: dict[str, Any] = dict(request.scope)
    visitor: Visitor = scope["bhavcast.visitor"]
    return visitor


def _cookie(text: str, life_s: int, *, secure: bool) -> str:
    marks = f"Path=/; Max-Age={life_s}; HttpOnly; SameSite=Strict"
    return f"{COOKIE}={text}; {marks}; Secure" if secure else f"{COOKIE}={text}; {marks}"


_SESSION_EXAMPLE: Final = {"name": "desk", "role": "viewer", "csrf": "q0mJc2Zr5c1x3m7wJ0b2fA", "expires_in": LIFE_S}


@post(
    "/api/session",
    tags=["Sessions"],
    status_code=200,
    security=BY_KEY,
    responses=responses(Session, _SESSION_EXAMPLE),
)
async def sign_in(request: Asked) -> Response[Session]:
    """Exchange a key, sent as a header, for a cookie: a browser cannot put headers on a WebSocket or an EventSource."""
    visitor = _visitor(request)
    if visitor.principal.anonymous or visitor.csrf is not None:
        raise NoKey("expected a key to exchange, as Authorization: Bearer or X-API-Key")
    text, session = request.app.state.gateway.door.begin_session(visitor)
    log.info("session", key=visitor.principal.name, address=visitor.whence.address)
    told = Session(visitor.principal.name, visitor.principal.role, session.csrf, LIFE_S)
    cookie = _cookie(text, LIFE_S, secure=visitor.whence.secure)
    return Response(told, headers={"Set-Cookie": cookie, "Cache-Control": "no-store"})


@get("/api/session", tags=["Sessions"], responses=responses(Session, _SESSION_EXAMPLE))
async def who_am_i(request: Asked) -> Session:
    """Tell who is asking: whose key or session it is, or that nobody has to say so."""
    visitor = _visitor(request)
    return Session(visitor.principal.name, visitor.principal.role, visitor.csrf)


@delete(
    "/api/session",
    tags=["Sessions"],
    status_code=204,
    responses=responses(None, None) | {204: ResponseSpec(data_container=None, description="It is over")},
)
async def sign_out(request: Asked) -> Response[None]:
    """End the session, and with it every copy of its cookie."""
    cookie = cookie_of(request.scope["headers"])
    if cookie is not None:
        request.app.state.gateway.door.sessions.end(cookie)
    gone = _cookie("", 0, secure=_visitor(request).whence.secure)
    return Response(None, status_code=204, headers={"Set-Cookie": gone})


ROUTES: Final = (sign_in, who_am_i, sign_out)
