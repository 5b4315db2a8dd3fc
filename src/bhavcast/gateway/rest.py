"""Every route but the hot two's fast way, on Litestar: routing, parameters, OpenAPI."""

import secrets
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final, Literal

import msgspec
import structlog
from litestar import Litestar, Request, Response, delete, get, post
from litestar.config.app import AppConfig
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException, ValidationException
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, Example, SecurityScheme
from litestar.params import HeaderParameter, Parameter, QueryParameter
from litestar.status_codes import HTTP_200_OK

import bhavcast
from bhavcast.access.doorkeeper import Visitor, cookie_of
from bhavcast.access.sessions import COOKIE, LIFE_S
from bhavcast.board.encode import iso_ms
from bhavcast.domain import field
from bhavcast.domain.errors import (
    BadRequest,
    BhavcastError,
    Conflict,
    MethodNotAllowed,
    NoKey,
    TooLarge,
    Unavailable,
    UnknownRoute,
)
from bhavcast.domain.price import format_price
from bhavcast.gateway import market, problems, quotes
from bhavcast.gateway.access_log import shown
from bhavcast.gateway.control import Control
from bhavcast.gateway.gateway import Gateway
from bhavcast.gateway.protocol import JSON, MAX_HZ, MSGPACK
from bhavcast.telemetry import log as logs
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


class PriceLevel(msgspec.Struct):
    """One price level of the book."""

    price: float
    quantity: int
    orders: int


class Depth(msgspec.Struct):
    """Up to five levels of each side, best first."""

    bids: list[PriceLevel] | msgspec.UnsetType = msgspec.UNSET
    asks: list[PriceLevel] | msgspec.UnsetType = msgspec.UNSET


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
    request_id: str | msgspec.UnsetType = msgspec.UNSET


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


_EXPOSITION: Final = "text/plain; version=0.0.4; charset=utf-8"
_POSITION: Final = "20261123T0345Z-9f1c03ab77de5a20:1795405500000123"
_EVENTS: Final = f"""retry: 1000

data: {{"t":"hello","v":1}}

data: {{"t":"snap","q":[{{"symbol":"500325","current_price":1574.55,"rev":1795405500000120}}]}}

id: {_POSITION}
data: {{"t":"sync","pos":"{_POSITION}"}}
"""
_TALK: Final = f"""client {{"t":"sub","id":1,"symbols":["500325"],"fields":"ltp","hz":2}}
server {{"t":"ack","id":1,"ok":["500325"],"bad":[]}}
server {{"t":"sync","pos":"{_POSITION}"}}
server {{"t":"u","pos":"{_POSITION}","q":[{{"symbol":"500325","current_price":1574.6,"rev":1795405500000123}}]}}
"""


def _text(description: str, media_type: str, example: str, container: Any = str) -> ResponseSpec:
    """Describe an answer that is no JSON; `container` Any: more than a text."""
    return ResponseSpec(
        data_container=container,
        description=description,
        media_type=media_type,
        examples=[Example(value=example)],
    )


def _responses(container: Any, example: Any, *refusals: int, status: int = 200) -> dict[int, ResponseSpec]:
    """Describe what a route answers; any may be refused for want of a key, of a role, of patience, or at the end."""
    statuses = sorted({400, 401, 403, 429, 503, *refusals})
    return {
        status: ResponseSpec(data_container=container, description="OK", examples=[Example(value=example)]),
        **{each: _refusal(_REFUSALS[each]) for each in statuses},
    }


def _refusal(description: str) -> ResponseSpec:
    return ResponseSpec(data_container=Problem, description=description, media_type=problems.CONTENT_TYPE)


_REFUSALS: Final = {
    400: "Bad request",
    401: "A key is needed",
    403: "Not with this key",
    404: "Not found",
    409: "Not as it is",
    429: "Too many requests",
    503: "Not now",
}
# How a key is shown. Reading needs none in a house without keys; what operators do always needs one.
_SCHEMES: Final = {
    "bearer": SecurityScheme(type="http", scheme="bearer", description="A key, as `Authorization: Bearer …`."),
    "key": SecurityScheme(type="apiKey", name="X-API-Key", security_scheme_in="header", description="A key."),
    "session": SecurityScheme(
        type="apiKey",
        name=COOKIE,
        security_scheme_in="cookie",
        description="What POST /api/session gave; a change needs `X-CSRF-Token` too, from the same answer.",
    ),
}
_Schemes = list[dict[str, list[str]]]  # any of them will do
_BY_KEY: Final[_Schemes] = [{"bearer": []}, {"key": []}]
_SIGNED_IN: Final[_Schemes] = [*_BY_KEY, {"session": []}]

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
    responses=_responses(Quote, _EXAMPLE, 404, 409),
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
    responses=_responses(list[Quote | Unanswered] | Changes, [_EXAMPLE]),  # type: ignore[valid-type]  # made at run time from the table of fields
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


@get(
    "/api/gaps",
    tags=["Market"],
    responses=_responses(dict[str, Any], {"gaps": [{"kind": "feed", "source": "sim", "to": None}]}, 404, 409),
)
async def gaps(
    request: Request[Any, Any, Any],
    symbol: Annotated[str | None, Parameter(description="Only what concerns this scrip.", max_length=64)] = None,
    since: Annotated[
        str | None, QueryParameter(name="from", description="Only gaps not over at this time.", max_length=40)
    ] = None,
) -> dict[str, Any]:
    """Tell the last 1,000 gaps: of sources, of the journal, between epochs; from when to when, and why."""
    gateway = _gateway(request)
    return {"gaps": market.gaps(gateway, symbol, since), "pos": gateway.position}


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
    for name, role in gateway.roles().items():
        if role["state"] == "crash_loop":
            reasons.append(f"{name} ends over and over: started again {role['restarts']} times")
        elif role["state"] == "restarting":
            reasons.append(f"{name} ended and is being started again")
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


@get("/health/ready", tags=["Health"], responses=_responses(dict[str, Any], {"status": "ready"}))
async def ready(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """200 when requests should be sent here."""
    gateway: Gateway = request.app.state.gateway
    if not gateway.ready:
        raise Unavailable("shutting down" if gateway.draining else "the board is not here yet")
    return {"status": "ready"}


@get(
    "/metrics",
    tags=["Health"],
    media_type=_EXPOSITION,
    responses=_responses(str, "")
    | {200: _text("OK", _EXPOSITION, "# TYPE bhavcast_rev gauge\nbhavcast_rev 1795405500000123\n")},
)
async def metrics(request: Request[Any, Any, Any]) -> bytes:
    """Prometheus text; names in docs/reference/metrics.md."""
    exposition: Exposition = request.app.state.exposition
    return exposition.text()


# -- sessions -----------------------------------------------------------------------------------------------------------


class Session(msgspec.Struct):
    """Who is signed in. `csrf` has to come as X-CSRF-Token with whatever changes something by cookie."""

    name: str
    role: str
    csrf: str | None = None
    expires_in: int | None = None


def _visitor(request: Request[Any, Any, Any]) -> Visitor:
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
    security=_BY_KEY,
    responses=_responses(Session, _SESSION_EXAMPLE),
)
async def sign_in(request: Request[Any, Any, Any]) -> Response[Session]:
    """Exchange a key, sent as a header, for a cookie: a browser cannot put headers on a WebSocket or an EventSource."""
    visitor = _visitor(request)
    if visitor.principal.anonymous or visitor.csrf is not None:
        raise NoKey("expected a key to exchange, as Authorization: Bearer or X-API-Key")
    text, session = request.app.state.gateway.door.begin_session(visitor)
    log.info("session", key=visitor.principal.name, address=visitor.whence.address)
    told = Session(visitor.principal.name, visitor.principal.role, session.csrf, LIFE_S)
    cookie = _cookie(text, LIFE_S, secure=visitor.whence.secure)
    return Response(told, headers={"Set-Cookie": cookie, "Cache-Control": "no-store"})


@get("/api/session", tags=["Sessions"], responses=_responses(Session, _SESSION_EXAMPLE))
async def who_am_i(request: Request[Any, Any, Any]) -> Session:
    """Tell who is asking: whose key or session it is, or that nobody has to say so."""
    visitor = _visitor(request)
    return Session(visitor.principal.name, visitor.principal.role, visitor.csrf)


@delete(
    "/api/session",
    tags=["Sessions"],
    status_code=204,
    responses=_responses(None, None) | {204: ResponseSpec(data_container=None, description="It is over")},
)
async def sign_out(request: Request[Any, Any, Any]) -> Response[None]:
    """End the session, and with it every copy of its cookie."""
    cookie = cookie_of(request.scope["headers"])
    if cookie is not None:
        request.app.state.gateway.door.sessions.end(cookie)
    gone = _cookie("", 0, secure=_visitor(request).whence.secure)
    return Response(None, status_code=204, headers={"Set-Cookie": gone})


# -- what operators do --------------------------------------------------------------------------------------------------


def _control(request: Request[Any, Any, Any]) -> Control:
    control: Control | None = request.app.state.control
    if control is None:
        raise Conflict("expected an ingest that this gateway reaches, and it has none: ask one on the ingest's host")
    return control


@post(
    "/api/admin/drain",
    tags=["Operation"],
    security=_SIGNED_IN,
    status_code=202,
    responses=_responses(dict[str, Any], {"state": "draining"}, status=202),
)
async def drain(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """Send every stream away and answer nothing but /health from now on: what comes next is stopping the process."""
    return {"state": "draining", "streams": request.app.state.drain()}


@post(
    "/api/admin/log-level",
    tags=["Operation"],
    security=_SIGNED_IN,
    status_code=200,
    responses=_responses(dict[str, Any], {"level": "debug", "before": "info", "reached": ["gateway", "ingest"]}),
)
async def log_level(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """Log from another level on, until the next start: `{"level": "debug"}`, or info, warning, error.

    This gateway does, and the ingest where it is reached; `missed` says why it was not.
    """
    body = await request.body()
    try:
        level = msgspec.json.decode(body, type=dict[Literal["level"], logs.Level])["level"]
    except (msgspec.DecodeError, LookupError):
        raise BadRequest(
            f'expected {{"level": "debug"}}, or info, warning or error, got {body[:80].decode(errors="replace")!r}',
            field="level",
        ) from None
    _aims(request, level)
    told: dict[str, Any] = {"level": level, "before": logs.set_level(level), "reached": ["gateway"]}
    try:
        await _control(request).log_level(level)
    except BhavcastError as error:
        return {**told, "missed": {"ingest": error.detail}}
    told["reached"].append("ingest")
    return told


@post(
    "/api/admin/feeds/{source:str}/{action:str}",
    tags=["Operation"],
    security=_SIGNED_IN,
    status_code=200,
    responses=_responses(dict[str, Any], {"source": "sim", "action": "pause"}, 404, 409),
)
async def feed_action(
    request: Request[Any, Any, Any],
    source: Annotated[str, Parameter(description="Name of the source, as /api/feeds has it.", max_length=64)],
    action: Annotated[str, Parameter(description="pause, resume or prefer", max_length=16)],
) -> dict[str, Any]:
    """Close a source, open it again, or believe it before others."""
    control = _control(request)
    does = {"pause": control.pause, "resume": control.resume, "prefer": control.prefer}
    if action not in does:
        raise UnknownRoute(f"expected pause, resume or prefer, got {action[:40]!r}")
    await does[action](source)
    return {"source": source, "action": action}


@post(
    "/api/admin/quarantine/{entry:str}/release",
    tags=["Operation"],
    security=_SIGNED_IN,
    status_code=200,
    responses=_responses(dict[str, Any], {"id": 1795405500000, "symbol": "500325"}, 409),
)
async def release(
    request: Request[Any, Any, Any],
    # 19 digits fit into 64 bits, which is what JSON between processes carries.
    entry: Annotated[str, Parameter(description="Id of a tick in quarantine, as /api/feeds has it.", max_length=19)],
) -> dict[str, Any]:
    """Believe a quarantined tick after all: it goes on the board, and its like is believed from there on."""
    if not (entry.isascii() and entry.isdigit()):
        raise BadRequest(f"expected the id of a tick in quarantine, got {entry[:40]!r}", field="id")
    told = await _control(request).release(int(entry))
    _aims(request, f"{told['symbol']} {told['rule']}")
    return told


def _aims(request: Request[Any, Any, Any], target: str) -> None:
    """Say on the record what was acted on, where the path does not."""
    scope: dict[str, Any] = dict(request.scope)
    if (seen := scope.get("bhavcast.seen")) is not None:
        seen.target = target


# -- streams: answered before the application is asked (edge.py); described here, for /openapi.json ----------------------


@get(
    "/api/stream",
    tags=["Streams"],
    responses=_responses(dict[str, Any], {})
    | {200: _text("Events, until either side ends it", "text/event-stream", _EVENTS, Any)},
)
async def stream(
    symbols: Annotated[str, Parameter(description="Symbols with commas between; group:A, IDX:SENSEX/members, * too.")],
    hz: Annotated[float, Parameter(ge=0, le=MAX_HZ, description="Updates in a second; 0: every batch.")] = 1.0,
    fields: Fields = None,
    depth: DepthLevels = None,
    last_event_id: Annotated[
        str | None, HeaderParameter(name="Last-Event-ID", description="The position to go on from.")
    ] = None,
) -> None:
    """Stream quotes as Server-Sent Events: a snapshot, then what changes; an `id` is a position to resume from.

    Kinds of events and their fields: docs/reference/websocket.md, whose frames these are.
    """
    raise AssertionError("answered before")


@get(
    "/ws",
    status_code=101,
    tags=["Streams"],
    responses={
        101: _text("The connection speaks WebSocket: messages of both sides, one a line", "text/plain", _TALK),
        **{status: _refusal(said) for status, said in _REFUSALS.items() if status not in (404, 409)},
        426: _refusal("No WebSocket"),
    },
)
async def websocket(
    protocol: Annotated[
        str | None,
        HeaderParameter(name="Sec-WebSocket-Protocol", description=f"{JSON} (the default) or {MSGPACK}."),
    ] = None,
) -> None:
    """Open a WebSocket: subscribe, change, resume. OpenAPI describes no messages: docs/reference/websocket.md does."""
    raise AssertionError("answered before")


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
        detail = f"expected another method than {request.method} for {request.url.path[:80]}"
        return _refused(MethodNotAllowed(detail, allowed=_allowed((error.headers or {})["allow"].split(", "))))
    if isinstance(error, ValidationException):
        first = error.extra[0] if isinstance(error.extra, list) and error.extra else {}
        key = first.get("key") if isinstance(first, dict) else None
        detail = str(first.get("message", error.detail) if isinstance(first, dict) else error.detail)
        came = request.query_params.get(key) if key else None
        return _refused(BadRequest(detail if came is None else f"{detail}, got {came[:40]!r}", field=key))
    if error.status_code == 413:
        return _refused(TooLarge(error.detail))
    return _refused(BadRequest(error.detail))


def _allowed(methods: Iterable[str]) -> tuple[str, ...]:
    """Return all methods of a route: what can be had can be asked for its head."""
    return tuple(sorted({*methods, *(("HEAD",) if "GET" in methods else ())}))


def _on_fault(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Tell a stranger nothing but an id, and the log everything."""
    incident = secrets.token_hex(8)
    log.error("fault", incident=incident, route=shown(request.url.path), exc_info=error)
    return _refused(BhavcastError(f"a fault of this service, in its log as {incident}"))


def _count_route(request: Request[Any, Any, Any]) -> Response[None] | None:
    scope: dict[str, Any] = dict(request.scope)
    if scope["path"].startswith(_OPENAPI + "/"):
        raise UnknownRoute(f"nothing is served at {scope['path'][:80]}; see /docs")
    seen = scope.get("bhavcast.seen")
    if seen is not None:
        seen.route = scope.get("path_template", "other")
    if request.method == "OPTIONS":  # the framework's own answer knows only the methods that were registered first
        methods = next(each.methods for each in request.app.routes if each.path_format == scope["path_template"])
        return Response(None, status_code=204, headers={"Allow": ", ".join(_allowed(methods))})
    return None


ROUTES: Final = (
    stream,
    websocket,
    stock,
    batch,
    stocks,
    market_status,
    indices,
    movers,
    breadth,
    ranges,
    feeds,
    gaps,
    health,
    live,
    ready,
    metrics,
    sign_in,
    who_am_i,
    sign_out,
    drain,
    log_level,
    feed_action,
    release,
)


def build(
    gateway: Gateway,
    exposition: Exposition,
    *,
    max_body: int,
    control: Control | None = None,
    drain: Callable[[], int] = lambda: 0,
) -> Litestar:
    """Return the application of all cold routes."""

    def keep(config: AppConfig) -> AppConfig:
        config.state.gateway = gateway
        config.state.exposition = exposition
        config.state.control = control
        config.state.drain = drain
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
            components=Components(security_schemes=dict(_SCHEMES)),
            security=[*_SIGNED_IN, {}],
            render_plugins=[JsonRenderPlugin(path=["/", "/openapi.json"])],
        ),
        request_max_body_size=max_body,
        logging_config=None,
    )
