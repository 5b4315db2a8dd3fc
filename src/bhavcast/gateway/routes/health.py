"""Whether it can serve, and the figures of how it does."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from litestar import Response, get
from litestar.status_codes import HTTP_200_OK

import bhavcast
from bhavcast.domain.errors import Unavailable
from bhavcast.gateway.gateway import Gateway
from bhavcast.gateway.routes.asked import Asked
from bhavcast.gateway.routes.described import responses, text

_EXPOSITION: Final = "text/plain; version=0.0.4; charset=utf-8"


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
    if gateway.link == "deaf":
        reasons.append("the bus speaks and is not heard or not understood here: the log of this gateway says why")
    elif gateway.link != "ok":
        reasons.append("the bus is out of reach")
    for name, role in gateway.roles().items():
        if role["state"] == "crash_loop":
            reasons.append(f"{name} ends over and over: started again {role['restarts']} times")
        elif role["state"] == "restarting":
            reasons.append(f"{name} ended and is being started again")
    return ("degraded" if reasons else "healthy"), reasons


@get("/health", tags=["Health"], responses=responses(dict[str, Any], {"status": "healthy", "reasons": []}))
async def health(request: Asked) -> Response[dict[str, Any]]:
    """200 while it can serve, with the reasons if something is wrong; 503 when it cannot answer."""
    gateway: Gateway = request.app.state.gateway
    status, reasons = _health(gateway)
    told = {"status": status, "reasons": reasons, "version": bhavcast.__version__, "pos": gateway.position}
    return Response(told, status_code=HTTP_200_OK if gateway.ready else 503)


@get("/health/live", tags=["Health"], responses=responses(dict[str, Any], {"status": "live"}))
async def live() -> dict[str, Any]:
    """200 as long as the process turns its loop."""
    return {"status": "live"}


@get("/health/ready", tags=["Health"], responses=responses(dict[str, Any], {"status": "ready"}))
async def ready(request: Asked) -> dict[str, Any]:
    """200 when requests should be sent here."""
    gateway: Gateway = request.app.state.gateway
    if not gateway.ready:
        raise Unavailable("shutting down" if gateway.draining else "the board is not here yet")
    return {"status": "ready"}


@get(
    "/metrics",
    tags=["Health"],
    media_type=_EXPOSITION,
    responses=responses(str, "")
    | {200: text("OK", _EXPOSITION, "# TYPE bhavcast_rev gauge\nbhavcast_rev 1795405500000123\n")},
)
async def metrics(request: Asked) -> Response[bytes]:
    """Prometheus text; names in docs/reference/metrics.md. Of all gateways on this port, where there are several."""
    figures: Callable[[], Awaitable[bytes]] = request.app.state.figures
    # Said here: the framework writes a character set behind a media type of text that has one already.
    return Response(await figures(), headers={"Content-Type": _EXPOSITION})


ROUTES: Final = (health, live, ready, metrics)
