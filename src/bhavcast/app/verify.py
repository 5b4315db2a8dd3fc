"""`bhavcast verify`: use everything that a running system serves, as a client does, and say what came."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Literal

import httpx
import msgspec

from bhavcast.client.errors import Unreachable
from bhavcast.client.events import Synced, Update
from bhavcast.client.rest import Rest
from bhavcast.client.stream import Client
from bhavcast.domain.errors import BhavcastError

Result = Literal["pass", "fail", "not checked"]

REQUEST_S: Final = 5.0
# A stream has this long for its snapshot, and then as long for an update, where one is due.
STREAM_S: Final = 5.0
WATCHED: Final = 50
PATHS: Final = ("/api/stock/{symbol}", "/api/stocks/batch", "/api/market/status")


class Check(msgspec.Struct, frozen=True):
    """What came of one check: the evidence, and the milliseconds it took."""

    name: str
    result: Result
    evidence: str
    ms: int


class Failed(Exception):
    """Something is not as it should be; the text says what was expected and what came."""


class Skipped(Exception):
    """It cannot be told now; the text says why."""


class Verifier:
    """Checks of one gateway and its frontend; each is a method that returns its evidence."""

    def __init__(self, url: str, frontend_url: str | None) -> None:
        self.url = url
        self.frontend_url = frontend_url
        self._rest = Rest(url, timeout=REQUEST_S)
        self._symbols: list[str] = []
        self._dead = ""

    async def run(self, told: Callable[[Check], None] = lambda _: None) -> list[Check]:
        """Check everything, and tell of each check when it is done."""
        checks: dict[str, Callable[[], Awaitable[str]]] = {
            "health": self.health,
            "single quote": self.single,
            "batch of quotes": self.batch,
            "market status": self.status,
            "page": self.page,
            "frontend": self.frontend,
            "documentation": self.docs,
            "metrics": self.metrics,
            "openapi": self.openapi,
            "websocket": self.websocket,
            "server-sent events": self.events,
        }
        found = []
        async with self._rest:
            for name, check in checks.items():
                found.append(await self._one(name, check))
                told(found[-1])
        return found

    async def _one(self, name: str, check: Callable[[], Awaitable[str]]) -> Check:
        begun = time.monotonic()
        result: Result = "fail"
        try:
            if self._dead and name != "frontend":
                raise Skipped(self._dead)
            evidence = await check()
            result = "pass"
        except Skipped as why:
            result, evidence = "not checked", str(why)
        except Unreachable as error:
            evidence = error.detail
            if name != "frontend":
                self._dead = "the gateway does not answer"
        except (Failed, BhavcastError, httpx.HTTPError, TimeoutError) as error:
            evidence = str(error) or type(error).__name__
        except (msgspec.DecodeError, LookupError, TypeError, ValueError, AttributeError) as error:
            # The answer is not of the form that was agreed: whatever tripped over it says where.
            evidence = f"the answer has another form: {type(error).__name__} {error}"
        return Check(name, result, evidence, round((time.monotonic() - begun) * 1000))

    # -- requests -----------------------------------------------------------------------------------------------------

    async def health(self) -> str:
        """Look at what the service says of itself."""
        told = _json(await self._rest.get("/health"))
        reasons = "; ".join(str(each) for each in told.get("reasons", []))
        _expect(told["status"] == "healthy", f"expected healthy, got {told['status']}: {reasons}")
        return "healthy"

    async def single(self) -> str:
        """Take one quote, of a scrip that has data."""
        listed = _json(await self._rest.get("/api/stocks", limit=str(WATCHED)))["stocks"]
        codes = [each["symbol"] for each in listed]
        _expect(bool(codes), "expected scrips in /api/stocks, got none")
        known = [each for each in await self._rest.batch(["RELIANCE", *codes]) if "error" not in each]
        if not known:
            raise Skipped(f"none of {len(codes)} scrips has data yet")
        self._symbols = list(dict.fromkeys(each["symbol"] for each in known))
        quote = await self._rest.quote(self._symbols[0])
        _expect(quote["symbol"] == self._symbols[0], f"expected {self._symbols[0]}, got {quote['symbol']}")
        price = quote.get("current_price", quote.get("close_price", quote.get("previous_close")))
        _expect(isinstance(price, int | float) and price > 0, f"expected a price, got {price!r}")
        return f"{quote.get('id', quote['symbol'])} {price:,.2f}, {quote['state']}, {quote['mode']}"

    async def batch(self) -> str:
        """Take several quotes in the order asked for, one of them of a scrip that does not exist."""
        asked = [*self._known()[:10], "NO-SUCH-SCRIP"]
        found = await self._rest.batch(asked)
        _expect([each["symbol"] for each in found] == asked, "expected the quotes in the order asked for")
        _expect(found[-1]["error"]["code"] == "unknown_symbol", "expected unknown_symbol for a scrip that is none")
        return f"{len(found) - 1} quotes in order, and unknown_symbol for one that is none"

    async def status(self) -> str:
        """Look at the market's status."""
        told = await self._rest.status()
        feeds = ", ".join(f"{name} {feed['state']}" for name, feed in told["feeds"].items())
        return f"{told['status']} on {told['date']}; feeds: {feeds}"

    async def page(self) -> str:
        """Load the page and what it is made of."""
        return await _page(self._rest)

    async def frontend(self) -> str:
        """Load the page from the frontend, and see which gateway it talks to."""
        if self.frontend_url is None:
            raise Skipped("--url was given without --frontend-url")
        async with Rest(self.frontend_url, timeout=REQUEST_S) as rest:
            evidence = await _page(rest)
            config = _json(await rest.get("/config.json"))
        return f"{evidence}; its gateway: {next(iter(config.values()), 'its own')}"

    async def docs(self) -> str:
        """Load the reference."""
        text = (await self._rest.get("/docs")).text
        _expect("<html" in text, "expected a page at /docs")
        return f"/docs, {len(text):,} characters"

    async def metrics(self) -> str:
        """Read the metrics."""
        lines = (await self._rest.get("/metrics")).text.splitlines()
        samples = [line for line in lines if line and not line.startswith("#")]
        _expect(any(line.startswith("http_requests_total") for line in samples), "expected http_requests_total")
        return f"{len(samples)} samples"

    async def openapi(self) -> str:
        """Read the description of the API."""
        told = _json(await self._rest.get("/openapi.json"))
        missing = [path for path in PATHS if path not in told["paths"]]
        _expect(not missing, f"expected {', '.join(missing)} among the paths")
        return f"OpenAPI {told['openapi']}, {len(told['paths'])} paths"

    # -- streams ------------------------------------------------------------------------------------------------------

    async def websocket(self) -> str:
        """Subscribe, get the snapshot, and wait for an update."""
        symbols = self._known()
        async with Client(self.url.replace("http", "ws", 1) + "/ws") as client:
            await client.subscribe(*symbols)
            async with asyncio.timeout(STREAM_S):
                while not any(isinstance(event, Synced) for event in await client.receive()):
                    pass
            _expect(set(client.quotes) == set(symbols), f"expected {len(symbols)} quotes, got {len(client.quotes)}")
            try:
                async with asyncio.timeout(STREAM_S):
                    async for update in client.updates():
                        if not update.whole:
                            return _heard(len(symbols), update)
            except TimeoutError:
                pass
        return f"{len(symbols)} quotes; {await self._why_silent()}"

    async def events(self) -> str:
        """Follow a few scrips over SSE, and wait for an update."""
        symbols = self._known()
        kinds: list[str] = []
        try:
            async with (
                asyncio.timeout(STREAM_S),
                httpx.AsyncClient(base_url=self.url, timeout=STREAM_S, trust_env=False) as http,
                http.stream("GET", "/api/stream", params={"symbols": ",".join(symbols)}) as answer,
            ):
                _expect(answer.status_code == 200, f"expected 200, got {answer.status_code}")
                async for line in answer.aiter_lines():
                    if line.startswith("data:"):
                        kinds.append(msgspec.json.decode(line[5:])["t"])
                    if "sync" in kinds and kinds[-1] == "u":
                        return f"{len(symbols)} quotes, then an update"
        except (TimeoutError, httpx.ReadTimeout):
            pass
        _expect("sync" in kinds, f"expected a snapshot within {STREAM_S:g} s, got {', '.join(kinds) or 'nothing'}")
        return f"{len(symbols)} quotes; {await self._why_silent()}"

    async def _why_silent(self) -> str:
        """Say why no update is due now; fail where one is."""
        told = await self._rest.status()
        modes = {feed["mode"] for feed in told["feeds"].values()}
        states = {feed["state"] for feed in told["feeds"].values()}
        if told["status"] != "open":
            return f"no update is due: the market is {told['status']}"
        if modes <= {"eod"}:
            return "no update is due: the source is an official day"
        if not states & {"live", "stalled", "failed", "starting"}:
            return f"no update is due: the feed is {', '.join(sorted(states))}"
        raise Failed(f"no update within {STREAM_S:g} s, though the market is open")

    def _known(self) -> list[str]:
        if not self._symbols:
            raise Skipped("no scrip with data is known")
        return self._symbols


def _heard(count: int, update: Update) -> str:
    quote = update.quote
    news = ", ".join(name for name in update.changes if name not in ("symbol", "rev"))
    return f"{count} quotes, then {quote.get('id', update.symbol)}: {news[:60]}"


async def _page(rest: Rest) -> str:
    answer = await rest.get("/")
    _expect("text/html" in answer.headers.get("content-type", ""), "expected a page of HTML")
    scripts = [piece.partition('"')[0] for piece in answer.text.split('src="')[1:]]
    for script in scripts:
        await rest.get(script if script.startswith("/") else f"/{script}")
    return f"{len(answer.text):,} characters and {len(scripts)} script" + ("s" if len(scripts) != 1 else "")


def _expect(sound: bool, otherwise: str) -> None:
    if not sound:
        raise Failed(otherwise)


def _json(answer: httpx.Response) -> Mapping[str, Any]:
    return msgspec.json.decode(answer.content, type=dict[str, Any])
