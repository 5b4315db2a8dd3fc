"""Streams: answered before the application is asked (edge.py); described here, for /openapi.json."""

from typing import Annotated, Any, Final

from litestar import get
from litestar.params import HeaderParameter, Parameter

from bhavcast.domain.errors import UnknownRoute
from bhavcast.gateway.protocol import JSON, MAX_HZ, MSGPACK
from bhavcast.gateway.routes.described import POSITION, REFUSALS, DepthLevels, Fields, refusal, responses, text

# The framework takes `/ws/` for `/ws`; nothing else gets here.
_ELSEWHERE: Final = "nothing is served at this path with a slash at its end; see /docs"
_EVENTS: Final = f"""retry: 1000

data: {{"t":"hello","v":1}}

data: {{"t":"snap","q":[{{"symbol":"500325","current_price":1574.55,"rev":1795405500000120}}]}}

id: {POSITION}
data: {{"t":"sync","pos":"{POSITION}"}}
"""
_TALK: Final = f"""client {{"t":"sub","id":1,"symbols":["500325"],"fields":"ltp","hz":2}}
server {{"t":"ack","id":1,"ok":["500325"],"bad":[]}}
server {{"t":"sync","pos":"{POSITION}"}}
server {{"t":"u","pos":"{POSITION}","q":[{{"symbol":"500325","current_price":1574.6,"rev":1795405500000123}}]}}
"""


@get(
    "/api/stream",
    tags=["Streams"],
    responses=responses(dict[str, Any], {})
    | {200: text("Events, until either side ends it", "text/event-stream", _EVENTS, Any)},
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
    raise UnknownRoute(_ELSEWHERE)


@get(
    "/ws",
    status_code=101,
    tags=["Streams"],
    responses={
        101: text("The connection speaks WebSocket: messages of both sides, one a line", "text/plain", _TALK),
        **{status: refusal(said) for status, said in REFUSALS.items() if status not in (404, 409)},
        426: refusal("No WebSocket"),
    },
)
async def websocket(
    protocol: Annotated[
        str | None,
        HeaderParameter(name="Sec-WebSocket-Protocol", description=f"{JSON} (the default) or {MSGPACK}."),
    ] = None,
) -> None:
    """Open a WebSocket: subscribe, change, resume. OpenAPI describes no messages: docs/reference/websocket.md does."""
    raise UnknownRoute(_ELSEWHERE)


ROUTES: Final = (stream, websocket)
