"""What a route has at hand: the request, and the gateway that it is answered from."""

from collections.abc import Iterable
from typing import Any, Final

from litestar import Request, Response

from bhavcast.domain.digits import whole
from bhavcast.domain.errors import BadRequest, Unavailable, UnknownRoute
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


def check_whole(request: Asked, name: str) -> None:
    """Refuse what is not written as a whole number: the framework takes 1e1 and 5.0 for one."""
    text = request.query_params.get(name, "0")
    if whole(text) is None:
        raise BadRequest(f"expected a whole number, got {text[:40]!r}", field=name)


def count_route(request: Asked) -> Response[None] | None:
    """Say for metrics and the access log which route it is, and answer OPTIONS; run before each."""
    scope: dict[str, Any] = dict(request.scope)
    if scope["path"].startswith(OPENAPI + "/"):
        raise UnknownRoute(f"nothing is served at {scope['path'][:80]}; see /docs")
    seen = scope.get("bhavcast.seen")
    if seen is not None:
        seen.route = scope.get("path_template", "other")
    if request.method == "OPTIONS":  # the framework's own answer knows only the methods that were registered first
        methods = next(each.methods for each in request.app.routes if each.path_format == scope["path_template"])
        return Response(None, status_code=204, headers={"Allow": ", ".join(allowed(methods))})
    return None


def allowed(methods: Iterable[str]) -> tuple[str, ...]:
    """Return all methods of a route: what can be had can be asked for its head."""
    return tuple(sorted({*methods, *(("HEAD",) if "GET" in methods else ())}))
