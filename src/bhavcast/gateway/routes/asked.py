"""What a route has at hand: the request, and the gateway that it is answered from."""

from typing import Any, Final

from litestar import Request

from bhavcast.domain.errors import Unavailable, UnknownRoute
from bhavcast.gateway.gateway import Gateway

Asked = Request[Any, Any, Any]
OPENAPI: Final = "/openapi.json"


def gateway_of(request: Asked) -> Gateway:
    """Return the gateway that answers.

    Raises:
        Unavailable: it has no board yet.
    """
    gateway: Gateway = request.app.state.gateway
    if not gateway.replica.epoch:
        raise Unavailable("the board is not here yet")
    return gateway


def count_route(request: Asked) -> None:
    """Say for metrics and the access log which route it is; run before each."""
    scope: dict[str, Any] = dict(request.scope)
    if scope["path"].startswith(OPENAPI + "/"):
        raise UnknownRoute(f"nothing is served at {scope['path'][:80]}; see /docs")
    seen = scope.get("bhavcast.seen")
    if seen is not None:
        seen.route = scope.get("path_template", "other")
