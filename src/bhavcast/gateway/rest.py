"""Every route but the hot two's fast way, on Litestar: routing, parameters, OpenAPI."""

import secrets
from typing import Annotated, Any, Final

import msgspec
import structlog
from litestar import Litestar, Request, Response, get
from litestar.config.app import AppConfig
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException, ValidationException
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Example
from litestar.params import Parameter
from litestar.status_codes import HTTP_200_OK

import bhavcast
from bhavcast.board.encode import iso_ms
from bhavcast.domain import field
from bhavcast.domain.errors import (
    BadRequest,
    BhavcastError,
    MethodNotAllowed,
    TooLarge,
    Unavailable,
    UnknownRoute,
)
from bhavcast.domain.price import format_price
from bhavcast.gateway import market, problems, quotes
from bhavcast.gateway.gateway import Gateway
from bhavcast.telemetry.metrics import Exposition

log = structlog.get_logger()

MAX_PAGE: Final = 1000
_OPENAPI: Final = "/openapi.json"
_PYTHON: Final[dict[field.Kind, Any]] = {
    field.Kind.PRICE: float,
    field.Kind.MONEY: float,
    field.Kind.PERCENT: float,
    field.Kind.COUNT: int,
    field.Kind.TIME: str,
    field.Kind.SECOND: str,
    field.Kind.TEXT: str,
}


class Level(msgspec.Struct):
    """One price level of the book."""

    price: float
    quantity: int
    orders: int


class Depth(msgspec.Struct):
    """Up to five levels of each side, best first."""

    bids: list[Level] | msgspec.UnsetType = msgspec.UNSET
    asks: list[Level] | msgspec.UnsetType = msgspec.UNSET


class Problem(msgspec.Struct):
    """RFC 9457 problem details: the one shape of every refusal."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    field: str | msgspec.UnsetType = msgspec.UNSET
    retry_after: int | msgspec.UnsetType = msgspec.UNSET
    candidates: list[str] | msgspec.UnsetType = msgspec.UNSET


class Reason(msgspec.Struct):
    """Why a symbol of a batch is not answered."""

    code: str
    message: str
    retry_after: int | msgspec.UnsetType = msgspec.UNSET
    candidates: list[str] | msgspec.UnsetType = msgspec.UNSET


class Unanswered(msgspec.Struct):
    """A symbol of a batch without a quote."""

    symbol: str
    error: Reason


def _maybe(kind: Any, meaning: str) -> Any:
    return Annotated[kind, msgspec.Meta(description=meaning)] | msgspec.UnsetType


# The schema of a quote is made from the table of fields, as everything else about them is.
Quote = msgspec.defstruct(
    "Quote",
    [
        ("symbol", str),
        ("rev", int),
        *(
            (name, _maybe(str, meaning), msgspec.UNSET)
            for name, meaning in (
                ("id", "BSE security id"),
                ("company_name", "name"),
                ("isin", "ISIN"),
                ("group", "BSE group"),
            )
        ),
        *(
            (each.name, _maybe(_PYTHON[each.kind], each.meaning), msgspec.UNSET)
            for each in field.FIELDS
            if each.kind in _PYTHON
        ),
        ("depth", Depth | msgspec.UnsetType, msgspec.UNSET),
    ],
    namespace={"__doc__": "The state of one scrip or index; fields without a value are absent."},
)


class Changes(msgspec.Struct):
    """What is new since a position; every quote whole, if it was not `recovered`."""

    pos: str
    recovered: bool
    link: str
    q: list[dict[str, Any]]


_EXAMPLE: Final = {
    "symbol": "500325",
    "id": "RELIANCE",
    "company_name": "RELIANCE INDUSTRIES LTD.",
    "isin": "INE002A01018",
    "group": "A",
    "current_price": 1574.55,
    "change": 11.0,
    "percent_change": 0.7,
    "previous_close": 1563.55,
    "volume": 221992,
    "state": "live",
    "mode": "sim",
    "source": "sim",
    "phase": "continuous",
    "timestamp": "2026-11-23T12:08:51.143+05:30",
    "rev": 123456,
}


def _responses(container: Any, example: Any, *refusals: int) -> dict[int, ResponseSpec]:
    said = {400: "Bad request", 404: "Not found", 409: "Ambiguous symbol", 503: "Not now"}
    return {
        200: ResponseSpec(data_container=container, description="OK", examples=[Example(value=example)]),
        **{
            status: ResponseSpec(
                data_container=Problem,
                description=said[status],
                media_type=problems.CONTENT_TYPE,
            )
            for status in (400, *refusals)
        },
    }


Symbol = Annotated[str, Parameter(description="Scrip code, BSE id, ISIN or IDX:NAME; case-insensitive.", max_length=64)]
Fields = Annotated[str | None, Parameter(description="ltp, quote, full, or names of fields with commas between.")]
DepthLevels = Annotated[int | None, Parameter(ge=0, le=5, description="Levels of the book, 0 to 5.")]


def _gateway(request: Request[Any, Any, Any]) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    if not gateway.replica.epoch:
        raise Unavailable("the board is not here yet")
    return gateway


def _told(gateway: Gateway, answer: quotes.Answer) -> Response[bytes]:
    headers = {}
    if answer.etag is not None:
        headers["ETag"] = answer.etag
    if answer.pos is not None:
        headers["X-Bhavcast-Position"] = answer.pos
    if answer.stamp is not None:
        headers["X-Bhavcast-Age-Ms"] = str(quotes.age_ms(gateway, answer.stamp))
    if answer.retry_after is not None:
        headers["Retry-After"] = str(answer.retry_after)
    return Response(answer.body, status_code=answer.status, media_type=answer.content_type, headers=headers)


def _query(request: Request[Any, Any, Any]) -> str:
    return str(request.scope["query_string"].decode("latin-1"))


def _answer_stock(request: Request[Any, Any, Any]) -> Response[bytes]:
    # Before the framework reads the parameters: both ways refuse the same with the same words.
    _count_route(request)
    gateway = _gateway(request)
    raw = request.scope["raw_path"].decode("latin-1").removeprefix("/api/stock/")
    etag = next((value.decode("latin-1") for name, value in request.scope["headers"] if name == b"if-none-match"), None)
    return _told(gateway, quotes.stock(gateway, raw, _query(request), etag))


def _answer_batch(request: Request[Any, Any, Any]) -> Response[bytes]:
    _count_route(request)
    gateway = _gateway(request)
    return _told(gateway, quotes.batch(gateway, _query(request)))


@get(
    "/api/stock/{symbol:str}",
    before_request=_answer_stock,
    responses=_responses(Quote, _EXAMPLE, 404, 409, 503),
    tags=["Quotes"],
)
async def stock(
    request: Request[Any, Any, Any], symbol: Symbol, fields: Fields = None, depth: DepthLevels = None
) -> Response[bytes]:
    """Answer one quote. An ETag comes with it; with If-None-Match the answer is 304 while nothing has changed."""
    raise AssertionError("answered before")


@get(
    "/api/stocks/batch",
    before_request=_answer_batch,
    responses=_responses(list[Quote | Unanswered] | Changes, [_EXAMPLE], 503),  # type: ignore[valid-type]  # made at run time from the table of fields
    tags=["Quotes"],
)
async def batch(
    request: Request[Any, Any, Any],
    symbols: Annotated[str, Parameter(description="Up to 500 symbols with commas between.")] = "",
    since: Annotated[str | None, Parameter(description="A position: only what changed after it is returned.")] = None,
    fields: Fields = None,
    depth: DepthLevels = None,
) -> Response[bytes]:
    """Answer quotes in request order; a symbol that cannot be answered has an `error` in its place.

    With `since` an object: its `pos` is the next `since`, `recovered` tells whether `q` is only what changed.
    """
    raise AssertionError("answered before")


@get("/api/stocks", tags=["Scrips"], responses=_responses(dict[str, Any], {"stocks": [], "next": None}))
async def stocks(
    request: Request[Any, Any, Any],
    q: Annotated[str | None, Parameter(description="Searches id, name, code and ISIN.", max_length=64)] = None,
    group: Annotated[str | None, Parameter(description="Only this BSE group.", max_length=8)] = None,
    limit: Annotated[int, Parameter(ge=1, le=MAX_PAGE)] = 100,
    cursor: Annotated[str | None, Parameter(description="`next` of the page before.", max_length=128)] = None,
) -> dict[str, Any]:
    """List the scrips and indices that exist, by code; a page at a time."""
    gateway = _gateway(request)
    found, following = gateway.directory.search(q or "", (group or "").upper(), limit, cursor or "")
    return {"stocks": [_describe(each) for each in found], "next": following, "groups": gateway.directory.groups()}


def _describe(instrument: Any) -> dict[str, Any]:
    told = {
        "symbol": instrument.symbol,
        "id": instrument.id,
        "company_name": instrument.name,
        "isin": instrument.isin,
        "group": instrument.group,
        "kind": instrument.kind,
        "status": instrument.status,
        "tick_size": float(format_price(instrument.tick, instrument.scale)),
        "lot": instrument.lot,
        "band_percent": instrument.band,
        "closing_auction": instrument.closing_auction,
        "sector": instrument.sector,
        "provisional": instrument.provisional,
    }
    return {name: value for name, value in told.items() if value not in (None, "")}


@get("/api/market/status", tags=["Market"], responses=_responses(dict[str, Any], {"status": "open"}))
async def market_status(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """Tell status, phase per class of scrips, what comes next, feeds, clock and position."""
    return market.status(_gateway(request))


@get("/api/indices", tags=["Market"], responses=_responses(list[Quote], [{"symbol": "IDX:SENSEX"}]))  # type: ignore[valid-type]  # made at run time
async def indices(request: Request[Any, Any, Any]) -> list[dict[str, Any]]:
    """List the indices, as quotes."""
    return market.indices(_gateway(request))


@get("/api/market/movers", tags=["Market"], responses=_responses(list[Quote], [_EXAMPLE]))  # type: ignore[valid-type]  # made at run time
async def movers(
    request: Request[Any, Any, Any],
    by: Annotated[str, Parameter(max_length=16, schema_extra={"enum": list(market.MOVERS)})] = "gain",
    limit: Annotated[int, Parameter(ge=1, le=market.MAX_MOVERS)] = 20,
    group: Annotated[str | None, Parameter(max_length=8)] = None,
) -> list[dict[str, Any]]:
    """Rank the scrips that gained, lost or traded most."""
    return market.movers(_gateway(request), by, limit, group.upper() if group else None)


@get("/api/market/breadth", tags=["Market"], responses=_responses(dict[str, Any], {"advances": 1200, "declines": 900}))
async def breadth(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """Count advances, declines, unchanged; scrips at their circuit limits and 52-week limits."""
    return market.breadth(_gateway(request))


@get("/api/ranges/{symbol:str}", tags=["Quotes"], responses=_responses(dict[str, Any], {"symbol": "500325"}, 404, 409))
async def ranges(request: Request[Any, Any, Any], symbol: Symbol) -> dict[str, Any]:
    """Tell highs and lows of the day, week, month and 52 weeks, as far as they are known."""
    gateway = _gateway(request)
    return market.ranges(gateway, gateway.row(symbol))


@get("/api/feeds", tags=["Market"], responses=_responses(dict[str, Any], {"feeds": {"sim": {"state": "live"}}}))
async def feeds(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """Tell the state of each source, what the guard holds back, and the journal."""
    gateway = _gateway(request)
    told = {name: gateway.fact(name) for name in ("feeds", "quarantine", "guard", "journal")}
    return {**told, "now": iso_ms(gateway.market.now_ms()), "pos": gateway.position}


def _health(gateway: Gateway) -> tuple[str, list[str]]:
    reasons = []
    if not gateway.replica.epoch:
        reasons.append("no board yet")
    if gateway.draining:
        reasons.append("shutting down")
    status = gateway.fact("market").get("status", "unknown")
    for name, feed in gateway.fact("feeds").items():
        if feed["state"] in ("stale", "failed") or (feed["state"] == "starting" and status == "open"):
            reasons.append(f"feed {name} is {feed['state']}")
    if gateway.fact("journal").get("state") == "failing":
        reasons.append(f"journal: {gateway.fact('journal').get('reason')}")
    if gateway.link != "ok":
        reasons.append("the bus is out of reach")
    return ("degraded" if reasons else "healthy"), reasons


@get("/health", tags=["Health"], responses=_responses(dict[str, Any], {"status": "healthy", "reasons": []}))
async def health(request: Request[Any, Any, Any]) -> Response[dict[str, Any]]:
    """200 while it can serve, with the reasons if something is wrong; 503 when it cannot answer."""
    gateway: Gateway = request.app.state.gateway
    status, reasons = _health(gateway)
    told = {"status": status, "reasons": reasons, "version": bhavcast.__version__, "pos": gateway.position}
    return Response(told, status_code=HTTP_200_OK if gateway.ready else 503)


@get("/health/live", tags=["Health"], responses=_responses(dict[str, Any], {"status": "live"}))
async def live() -> dict[str, Any]:
    """200 as long as the process turns its loop."""
    return {"status": "live"}


@get("/health/ready", tags=["Health"], responses=_responses(dict[str, Any], {"status": "ready"}, 503))
async def ready(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """200 when requests should be sent here."""
    gateway: Gateway = request.app.state.gateway
    if not gateway.ready:
        raise Unavailable("shutting down" if gateway.draining else "the board is not here yet")
    return {"status": "ready"}


@get("/metrics", tags=["Health"], media_type="text/plain; version=0.0.4; charset=utf-8")
async def metrics(request: Request[Any, Any, Any]) -> bytes:
    """Prometheus text; names in docs/reference/metrics.md."""
    exposition: Exposition = request.app.state.exposition
    return exposition.text()


# -- refusals -----------------------------------------------------------------------------------------------------------


def _refused(error: BhavcastError) -> Response[bytes]:
    return Response(
        problems.body(error),
        status_code=error.status,
        media_type=problems.CONTENT_TYPE,
        headers=problems.headers(error),
    )


def _on_own(_request: Request[Any, Any, Any], error: BhavcastError) -> Response[bytes]:
    return _refused(error)


def _on_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    if isinstance(error, NotFoundException):
        return _refused(UnknownRoute(f"nothing is served at {request.url.path[:80]}; see /docs"))
    if isinstance(error, MethodNotAllowedException):
        # Nothing of this can be written to.
        detail = f"expected another method than {request.method} for {request.url.path[:80]}"
        return _refused(MethodNotAllowed(detail, allowed=("GET", "HEAD", "OPTIONS")))
    if isinstance(error, ValidationException):
        first = error.extra[0] if isinstance(error.extra, list) and error.extra else {}
        key = first.get("key") if isinstance(first, dict) else None
        detail = first.get("message", error.detail) if isinstance(first, dict) else error.detail
        return _refused(BadRequest(str(detail), field=key))
    if error.status_code == 413:
        return _refused(TooLarge(error.detail))
    return _refused(BadRequest(error.detail))


def _on_fault(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Tell a stranger nothing but an id, and the log everything."""
    incident = secrets.token_hex(8)
    log.error("fault", incident=incident, route=request.url.path, exc_info=error)
    return _refused(BhavcastError(f"a fault of this service, in its log as {incident}"))


def _count_route(request: Request[Any, Any, Any]) -> None:
    scope: dict[str, Any] = dict(request.scope)
    if scope["path"].startswith(_OPENAPI + "/"):
        raise UnknownRoute(f"nothing is served at {scope['path'][:80]}; see /docs")
    seen = scope.get("bhavcast.seen")
    if seen is not None:
        seen["route"] = scope.get("path_template", "other")


ROUTES: Final = (
    stock,
    batch,
    stocks,
    market_status,
    indices,
    movers,
    breadth,
    ranges,
    feeds,
    health,
    live,
    ready,
    metrics,
)


def build(gateway: Gateway, exposition: Exposition, *, max_body: int) -> Litestar:
    """Return the application of all cold routes."""

    def keep(config: AppConfig) -> AppConfig:
        config.state.gateway = gateway
        config.state.exposition = exposition
        return config

    return Litestar(
        route_handlers=list(ROUTES),
        on_app_init=[keep],
        before_request=_count_route,
        exception_handlers={BhavcastError: _on_own, HTTPException: _on_http, Exception: _on_fault},
        openapi_config=OpenAPIConfig(
            title="Bhavcast",
            version=bhavcast.__version__,
            description="Real-time market data of BSE: quotes, indices, market state, streams.",
            # Not "/": below its path the framework answers whatever is not served with a page of its own.
            path=_OPENAPI,
            use_handler_docstrings=True,
            render_plugins=[JsonRenderPlugin(path=["/", "/openapi.json"])],
        ),
        request_max_body_size=max_body,
        logging_config=None,
    )
