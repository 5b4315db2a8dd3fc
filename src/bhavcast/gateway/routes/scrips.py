"""The scrips and indices that there are."""

from typing import Annotated, Any, Final

from litestar import get
from litestar.params import Parameter

from bhavcast.domain.price import format_price
from bhavcast.gateway.routes.asked import Asked, check_whole, gateway_of
from bhavcast.gateway.routes.described import responses

MAX_PAGE: Final = 1000


@get("/api/stocks", tags=["Scrips"], responses=responses(dict[str, Any], {"stocks": [], "next": None}))
async def stocks(
    request: Asked,
    q: Annotated[str | None, Parameter(description="Searches id, name, code and ISIN.", max_length=64)] = None,
    group: Annotated[str | None, Parameter(description="Only this BSE group.", max_length=8)] = None,
    limit: Annotated[int, Parameter(ge=1, le=MAX_PAGE)] = 100,
    cursor: Annotated[str | None, Parameter(description="`next` of the page before.", max_length=128)] = None,
) -> dict[str, Any]:
    """List the scrips and indices that exist, by code; a page at a time."""
    check_whole(request, "limit")
    gateway = gateway_of(request)
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
        "gsm_stage": instrument.gsm_stage,
        "provisional": instrument.provisional,
    }
    return {name: value for name, value in told.items() if value not in (None, "")}


ROUTES: Final = (stocks,)
