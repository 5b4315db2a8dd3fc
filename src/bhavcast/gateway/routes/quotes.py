"""Quotes of one symbol and of many, where the protocol itself did not answer; highs and lows."""

from typing import Annotated, Any, Final

from litestar import Response, get
from litestar.params import Parameter

from bhavcast.gateway import market, quotes
from bhavcast.gateway.gateway import Gateway
from bhavcast.gateway.routes.asked import Asked, count_route, gateway_of
from bhavcast.gateway.routes.described import (
    EXAMPLE,
    Changes,
    DepthLevels,
    Fields,
    Quote,
    Symbol,
    Unanswered,
    responses,
)


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


def _query(request: Asked) -> str:
    return str(request.scope["query_string"].decode("latin-1"))


def _answer_stock(request: Asked) -> Response[bytes]:
    # Before the framework reads the parameters: both ways refuse the same with the same words.
    count_route(request)
    gateway = gateway_of(request)
    raw = request.scope["raw_path"].decode("latin-1").removeprefix("/api/stock/")
    etag = next((value.decode("latin-1") for name, value in request.scope["headers"] if name == b"if-none-match"), None)
    return _told(gateway, quotes.stock(gateway, raw, _query(request), etag))


def _answer_batch(request: Asked) -> Response[bytes]:
    count_route(request)
    gateway = gateway_of(request)
    return _told(gateway, quotes.batch(gateway, _query(request)))


@get(
    "/api/stock/{symbol:str}",
    before_request=_answer_stock,
    responses=responses(Quote, EXAMPLE, 404, 409),
    tags=["Quotes"],
)
async def stock(request: Asked, symbol: Symbol, fields: Fields = None, depth: DepthLevels = None) -> Response[bytes]:
    """Answer one quote. An ETag comes with it; with If-None-Match the answer is 304 while nothing has changed."""
    raise AssertionError("answered before")


@get(
    "/api/stocks/batch",
    before_request=_answer_batch,
    responses=responses(list[Quote | Unanswered] | Changes, [EXAMPLE]),  # type: ignore[valid-type]  # made at run time from the table of fields
    tags=["Quotes"],
)
async def batch(
    request: Asked,
    symbols: Annotated[str, Parameter(description="Up to 500 symbols with commas between.")] = "",
    since: Annotated[str | None, Parameter(description="A position: only what changed after it is returned.")] = None,
    fields: Fields = None,
    depth: DepthLevels = None,
) -> Response[bytes]:
    """Answer quotes in request order; a symbol that cannot be answered has an `error` in its place.

    With `since` an object: its `pos` is the next `since`, `recovered` tells whether `q` is only what changed.
    """
    raise AssertionError("answered before")


@get("/api/ranges/{symbol:str}", tags=["Quotes"], responses=responses(dict[str, Any], {"symbol": "500325"}, 404, 409))
async def ranges(request: Asked, symbol: Symbol) -> dict[str, Any]:
    """Tell highs and lows of the day, week, month and 52 weeks, as far as they are known."""
    gateway = gateway_of(request)
    return market.ranges(gateway, gateway.row(symbol))


ROUTES: Final = (stock, batch, ranges)
