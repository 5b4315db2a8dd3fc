"""Every route but the hot two's fast way, on Litestar: routing, parameters, OpenAPI."""

import secrets
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from litestar import Litestar, Response
from litestar.config.app import AppConfig
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException, ValidationException
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components

import bhavcast
from bhavcast.domain.errors import BadRequest, BhavcastError, MethodNotAllowed, TooLarge, UnknownRoute
from bhavcast.gateway import problems
from bhavcast.gateway.access_log import shown
from bhavcast.gateway.control import Control
from bhavcast.gateway.decode_errors import explain
from bhavcast.gateway.gateway import Gateway
from bhavcast.gateway.routes import health, market, operation, quotes, scrips, sessions, streams
from bhavcast.gateway.routes.asked import OPENAPI, Asked, allowed, look
from bhavcast.gateway.routes.described import SCHEMES, SIGNED_IN

log = structlog.get_logger()

ROUTES: Final = (
    *streams.ROUTES,
    *quotes.ROUTES,
    *scrips.ROUTES,
    *market.ROUTES,
    *health.ROUTES,
    *sessions.ROUTES,
    *operation.ROUTES,
)


def build(
    gateway: Gateway,
    figures: Callable[[], Awaitable[bytes]],
    *,
    max_body: int,
    control: Control | None = None,
    drain: Callable[[], int] = lambda: 0,
) -> Litestar:
    """Return the application of all cold routes."""

    def keep(config: AppConfig) -> AppConfig:
        config.state.gateway = gateway
        config.state.figures = figures
        config.state.control = control
        config.state.drain = drain
        return config

    return Litestar(
        route_handlers=list(ROUTES),
        on_app_init=[keep],
        before_request=look,
        exception_handlers={BhavcastError: _on_own, HTTPException: _on_http, Exception: _on_fault},
        openapi_config=OpenAPIConfig(
            title="Bhavcast",
            version=bhavcast.__version__,
            description="Real-time market data of BSE: quotes, indices, market state, streams.",
            # Not "/": below its path the framework answers whatever is not served with a page of its own.
            path=OPENAPI,
            use_handler_docstrings=True,
            components=Components(security_schemes=dict(SCHEMES)),
            security=[*SIGNED_IN, {}],
            render_plugins=[JsonRenderPlugin(path=["/", "/openapi.json"])],
        ),
        request_max_body_size=max_body,
        logging_config=None,
    )


def _refused(error: BhavcastError) -> Response[bytes]:
    return Response(
        problems.body(error),
        status_code=error.status,
        media_type=problems.CONTENT_TYPE,
        headers=problems.headers(error),
    )


def _on_own(_request: Asked, error: BhavcastError) -> Response[bytes]:
    return _refused(error)


def _on_http(request: Asked, error: HTTPException) -> Response[bytes]:
    if isinstance(error, NotFoundException):
        return _refused(UnknownRoute(f"nothing is served at {request.url.path[:80]}; see /docs"))
    if isinstance(error, MethodNotAllowedException):
        detail = f"expected another method than {request.method} for {request.url.path[:80]}"
        return _refused(MethodNotAllowed(detail, allowed=allowed((error.headers or {})["allow"].split(", "))))
    if isinstance(error, ValidationException):
        first = error.extra[0] if isinstance(error.extra, list) and error.extra else {}
        key = first.get("key") if isinstance(first, dict) else None
        detail = str(first.get("message", error.detail) if isinstance(first, dict) else error.detail)
        came = request.query_params.get(key) if key else None
        return _refused(explain(detail, field=key, came=came))
    if error.status_code == 413:
        return _refused(TooLarge(error.detail))
    return _refused(BadRequest(error.detail))


def _on_fault(request: Asked, error: Exception) -> Response[bytes]:
    """Tell a stranger nothing but an id, and the log everything."""
    incident = secrets.token_hex(8)
    log.error("fault", incident=incident, route=shown(request.url.path), exc_info=error)
    return _refused(BhavcastError(f"a fault of this service, in its log as {incident}"))
