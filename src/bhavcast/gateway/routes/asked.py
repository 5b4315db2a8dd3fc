"""What a route has at hand: the request, and the gateway that it is answered from."""

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any, Final

from litestar import Request, Response
from litestar.enums import ParamType
from litestar.params import ParameterKwarg
from litestar.typing import FieldDefinition

from bhavcast.domain.digits import whole
from bhavcast.domain.errors import BadRequest, Unavailable, UnknownRoute
from bhavcast.gateway.gateway import Gateway
from bhavcast.gateway.quotes import parameters

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


def check_query(request: Asked) -> None:
    """Refuse what the two hot routes refuse too: a name that the route does not know, and one that stands twice."""
    query = request.scope["query_string"].decode("latin-1")
    if query:
        taken = request.scope["route_handler"].parsed_fn_signature.parameters
        parameters(query, tuple(_names(taken, request.scope["path_params"])))


def _names(taken: Mapping[str, FieldDefinition], of_path: Container[str]) -> Iterator[str]:
    for name, each in taken.items():
        about = each.kwarg_definition
        if isinstance(about, ParameterKwarg) and about.param_type is ParamType.QUERY and name not in of_path:
            yield about.name or name


def look(request: Asked) -> Response[None] | None:
    """Do what comes before every route but the hot two, which read their query themselves."""
    answer = count_route(request)
    if answer is None:
        check_query(request)
    return answer


def count_route(request: Asked) -> Response[None] | None:
    """Say for metrics and the access log which route it is, and answer OPTIONS."""
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
