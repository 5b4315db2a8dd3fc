"""What operators do."""

from typing import Annotated, Any, Final, Literal

import msgspec
from litestar import post
from litestar.params import Parameter

from bhavcast.domain.digits import whole
from bhavcast.domain.errors import BadRequest, BhavcastError, Conflict, UnknownRoute
from bhavcast.gateway.control import Control
from bhavcast.gateway.routes.asked import Asked
from bhavcast.gateway.routes.described import SIGNED_IN, responses
from bhavcast.telemetry import log as logs


def _control(request: Asked) -> Control:
    control: Control | None = request.app.state.control
    if control is None:
        raise Conflict("expected an ingest that this gateway reaches, and it has none: ask one on the ingest's host")
    return control


@post(
    "/api/admin/drain",
    tags=["Operation"],
    security=SIGNED_IN,
    status_code=202,
    responses=responses(dict[str, Any], {"state": "draining"}, status=202),
)
async def drain(request: Asked) -> dict[str, Any]:
    """Send every stream away and answer nothing but /health from now on: what comes next is stopping the process."""
    return {"state": "draining", "streams": request.app.state.drain()}


@post(
    "/api/admin/log-level",
    tags=["Operation"],
    security=SIGNED_IN,
    status_code=200,
    responses=responses(dict[str, Any], {"level": "debug", "before": "info", "reached": ["gateway", "ingest"]}),
)
async def log_level(request: Asked) -> dict[str, Any]:
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
    security=SIGNED_IN,
    status_code=200,
    responses=responses(dict[str, Any], {"source": "sim", "action": "pause"}, 404, 409),
)
async def feed_action(
    request: Asked,
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
    security=SIGNED_IN,
    status_code=200,
    responses=responses(dict[str, Any], {"id": 1795405500000, "symbol": "500325"}, 409),
)
async def release(
    request: Asked,
    # 19 digits fit into 64 bits, which is what JSON between processes carries.
    entry: Annotated[str, Parameter(description="Id of a tick in quarantine, as /api/feeds has it.", max_length=19)],
) -> dict[str, Any]:
    """Believe a quarantined tick after all: it goes on the board, and its like is believed from there on."""
    number = whole(entry)
    if number is None:
        raise BadRequest(f"expected the id of a tick in quarantine, got {entry[:40]!r}", field="id")
    told = await _control(request).release(number)
    _aims(request, f"{told['symbol']} {told['rule']}")
    return told


def _aims(request: Asked, target: str) -> None:
    """Say on the record what was acted on, where the path does not."""
    scope: dict[str, Any] = dict(request.scope)
    if (seen := scope.get("bhavcast.seen")) is not None:
        seen.target = target


ROUTES: Final = (drain, log_level, feed_action, release)
