"""The market as a whole: its state, indices, movers, sources and gaps."""

from typing import Annotated, Any, Final

from litestar import get
from litestar.params import Parameter, QueryParameter

from bhavcast.board.encode import iso_ms
from bhavcast.gateway import market
from bhavcast.gateway.routes.asked import Asked, check_whole, gateway_of
from bhavcast.gateway.routes.described import EXAMPLE, Quote, responses


@get("/api/market/status", tags=["Market"], responses=responses(dict[str, Any], {"status": "open"}))
async def market_status(request: Asked) -> dict[str, Any]:
    """Tell status, phase per class of scrips, what comes next, feeds, clock and position."""
    return market.status(gateway_of(request))


@get("/api/indices", tags=["Market"], responses=responses(list[Quote], [{"symbol": "IDX:SENSEX"}]))  # type: ignore[valid-type]  # made at run time
async def indices(request: Asked) -> list[dict[str, Any]]:
    """List the indices, as quotes."""
    return market.indices(gateway_of(request))


@get("/api/market/movers", tags=["Market"], responses=responses(list[Quote], [EXAMPLE]))  # type: ignore[valid-type]  # made at run time
async def movers(
    request: Asked,
    by: Annotated[str, Parameter(max_length=16, schema_extra={"enum": list(market.MOVERS)})] = "gain",
    limit: Annotated[int, Parameter(ge=1, le=market.MAX_MOVERS)] = 20,
    group: Annotated[str | None, Parameter(max_length=8)] = None,
) -> list[dict[str, Any]]:
    """Rank the scrips that gained, lost or traded most."""
    check_whole(request, "limit")
    return market.movers(gateway_of(request), by, limit, group.upper() if group else None)


@get("/api/market/breadth", tags=["Market"], responses=responses(dict[str, Any], {"advances": 1200, "declines": 900}))
async def breadth(request: Asked) -> dict[str, Any]:
    """Count advances, declines, unchanged; scrips at their circuit limits and 52-week limits."""
    return market.breadth(gateway_of(request))


@get("/api/feeds", tags=["Market"], responses=responses(dict[str, Any], {"feeds": {"sim": {"state": "live"}}}))
async def feeds(request: Asked) -> dict[str, Any]:
    """Tell the state of each source, what the guard holds back, and the journal."""
    gateway = gateway_of(request)
    told = {name: gateway.fact(name) for name in ("feeds", "quarantine", "guard", "journal")}
    return {**told, "now": iso_ms(gateway.market.now_ms()), "pos": gateway.position}


@get(
    "/api/gaps",
    tags=["Market"],
    responses=responses(dict[str, Any], {"gaps": [{"kind": "feed", "source": "sim", "to": None}]}, 404, 409),
)
async def gaps(
    request: Asked,
    symbol: Annotated[str | None, Parameter(description="Only what concerns this scrip.", max_length=64)] = None,
    since: Annotated[
        str | None, QueryParameter(name="from", description="Only gaps not over at this time.", max_length=40)
    ] = None,
) -> dict[str, Any]:
    """Tell the last 1,000 gaps: of sources, of the journal, between epochs; from when to when, and why."""
    gateway = gateway_of(request)
    return {"gaps": market.gaps(gateway, symbol, since), "pos": gateway.position}


ROUTES: Final = (market_status, indices, movers, breadth, feeds, gaps)
