"""How each error comes about over HTTP: what is asked of which house, for the examples in docs/reference/errors.md."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Final, NamedTuple

from bhavcast.access.allowance import Allowance
from bhavcast.access.doorkeeper import Doorkeeper
from bhavcast.access.keyring import Keyring
from bhavcast.app.config import Limits
from bhavcast.domain.access import Key, digest
from tests.docs.stage import EPOCH, WALL, Still
from tests.integration.venue import Answer, Venue, request

KEY: Final = "X-API-Key: bhk_example-of-a-key"
OPERATOR: Final = Key(id="1", name="ops", role="operator", sha256=digest("bhk_example-of-a-key"), created=0)
VIEWER: Final = Key(id="1", name="desk", role="viewer", sha256=digest("bhk_example-of-a-key"), created=0)
LATE: Final = Key(id="1", name="desk", role="viewer", sha256=digest("bhk_example-of-a-key"), created=0, expires=1)
LATER: Final = f"{EPOCH}:{(WALL + 86_400_000) * 1000}"
NUMBER: Final = "X-Request-ID: 7f3c2a91-2b"  # its own would be another at every making


class Refusal(NamedTuple):
    """A request that is refused, and what the house has to be like."""

    asked: bytes
    keys: tuple[Key, ...] | None = None
    limits: Limits | None = None
    allowance: Allowance | None = None
    before: Callable[[Venue], Awaitable[Any]] | None = None
    streams: bool = False  # somebody has a stream already


async def _drains(venue: Venue) -> None:
    venue.server.begin_drain()


async def _asks(venue: Venue) -> None:
    await venue.read("/api/indices")


def _get(target: str, *headers: str, **more: Any) -> bytes:
    return request(target, NUMBER, *headers, **{"host": "127.0.0.1:5000", **more})


def _post(target: str, *headers: str, length: int = 0) -> bytes:
    return _get(target, *headers, f"Content-Length: {length}", method="POST")


REFUSALS: Final[dict[str, Refusal]] = {
    "bad_request": Refusal(_get("/api/stock/RELIANCE?depth=9")),
    "too_many_symbols": Refusal(
        _get("/api/stocks/batch?symbols=500325,532540,600001"), limits=Limits(symbols_per_message=2)
    ),
    "unknown_symbol": Refusal(_get("/api/stock/999999")),
    "not_found": Refusal(_get("/api/nothing")),
    "method_not_allowed": Refusal(_post("/api/indices")),
    "ambiguous_symbol": Refusal(_get("/api/stock/TWIN")),
    "bad_handshake": Refusal(_get("/ws")),
    "too_large": Refusal(_post("/api/session", length=70_000)),
    "malformed_request": Refusal(b"What does RELIANCE cost?\r\n\r\n"),
    "url_too_long": Refusal(_get("/api/stock/" + 20_000 * "A")),
    "headers_too_large": Refusal(_get("/api/indices", "Cookie: " + 70_000 * "a")),
    "foreign_host": Refusal(_get("/api/indices", host="prices.example")),
    "foreign_origin": Refusal(_get("/api/stream?symbols=RELIANCE", "Origin: https://page.example")),
    "unauthenticated": Refusal(_get("/api/stock/RELIANCE"), keys=(VIEWER,)),
    "key_expired": Refusal(_get("/api/stock/RELIANCE", KEY), keys=(LATE,)),
    "forbidden": Refusal(_post("/api/admin/drain", KEY), keys=(VIEWER,)),
    "conflict": Refusal(_post("/api/admin/feeds/sim/pause", KEY), keys=(OPERATOR,)),
    "rate_limited": Refusal(
        _get("/api/stock/RELIANCE"), keys=(), allowance=Allowance(requests_per_second=1, requests_burst=1), before=_asks
    ),
    "too_many_streams": Refusal(
        _get("/api/stream?symbols=RELIANCE", KEY), keys=(VIEWER,), allowance=Allowance(streams_per_key=1), streams=True
    ),
    "too_many_connections": Refusal(_get("/api/stream?symbols=RELIANCE"), limits=Limits(connections=1), streams=True),
    "no_data_yet": Refusal(_get("/api/stock/EXAMPLE")),
    "behind": Refusal(_get(f"/api/stocks/batch?symbols=RELIANCE&since={LATER}")),
    "draining": Refusal(_get("/api/stock/RELIANCE"), before=_drains),
}


async def answer(code: str) -> Answer:
    """Return what is really answered."""
    refusal, keeper = REFUSALS[code], None
    if refusal.keys is not None:
        keeper = Doorkeeper(Keyring(refusal.keys), Still(), allowance=refusal.allowance)
    async with AsyncExitStack() as stack:
        venue = await stack.enter_async_context(Venue(limits=refusal.limits, keeper=keeper))
        if refusal.before is not None:
            await refusal.before(venue)
        if refusal.streams:
            line = await stack.enter_async_context(venue.line())
            await line.send(_get("/api/stream?symbols=RELIANCE", *((KEY,) if refusal.keys else ())))
            assert (await line.head()).status == 200
        return await venue.ask(refusal.asked)


# What no request brings about on a stage, and where an example stands instead.
OTHERWISE: Final = {
    "too_many_shapes": "a stream's, like `too_many_symbols`; it takes 33 field lists",
    "request_timeout": "sent after ten seconds",
    "bad_csrf_token": "the cookie differs at every making",
    "unknown_source": "an ingest's",
    "unavailable": "before the board is there",
    "internal": "a defect would be needed",
    "unknown_format": "a command's",
    "bad_file": "a command's",
    "bad_config": "a command's",
    "bad_record": "a command's",
    "bus_hole": "inside",
    "not_the_writer": "a command's",
    "feed_failed": "inside",
    "bad_frame": "the client's",
    "stream_closed": "the client's",
    "unreachable": "the client's",
    "refused": "the client's",
}
