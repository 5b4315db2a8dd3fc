"""Look at a running system from outside, as a client would, and say of each promise whether it is kept."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import quote

import httpx

from bhavcast.client.events import Hello, Link, Synced, Update
from bhavcast.client.rest import Rest, trusting
from bhavcast.client.stream import Client
from bhavcast.domain.errors import BhavcastError

Status = Literal["pass", "fail", "not checked"]
TICKING: Final = ("open", "closing_auction", "pre_open", "special")
UNKNOWN: Final = "000001"
LIVE_WITHIN_S: Final = 10.0
SOME: Final = "IDX:SENSEX/members,IDX:SENSEX"
QUIET_S: Final = 1.0  # how long a market that owes no update is listened to


class Check(NamedTuple):
    """One promise, whether it is kept, what was seen, and how long looking took."""

    name: str
    status: Status
    detail: str
    ms: float


class Broken(Exception):
    """The promise is not kept."""


class NotDue(Exception):
    """It cannot be told now."""


class Verification:
    """All checks of one system."""

    def __init__(
        self, url: str, frontend_url: str | None, symbol: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Look at the gateway at `url`, and at the frontend if its address is known."""
        self._headers = dict(headers or {})
        self._url = url.rstrip("/")
        self._frontend = frontend_url
        self._symbol = symbol
        self._path = f"/api/stock/{quote(symbol, safe='')}"
        self._status: dict[str, Any] = {}

    @property
    def checks(self) -> dict[str, Callable[[Rest], Awaitable[str]]]:
        """The checks by name, in their order."""
        return {
            "health": self._health,
            "market status": self._market,
            "one quote": self._single,
            "not modified": self._not_modified,
            "batch": self._batch,
            "since": self._since,
            "stream": self._stream,
            "server-sent events": self._events,
            "page": self._own_page,
            "frontend": self._page,
            "documentation": self._docs,
            "metrics": self._metrics,
            "monitor": self._monitor,
        }

    async def run(self, tell: Callable[[str], None] = lambda _: None) -> list[Check]:
        """Make every check; raise Unreachable if nothing answers at all."""
        found = []
        async with Rest(self._url, headers=self._headers) as rest:
            await rest.get("/health/live")
            for name, check in self.checks.items():
                tell(name)
                found.append(await self._one(name, check, rest))
        return found

    def _http(self, base: str) -> httpx.AsyncClient:
        headers = self._headers if base == self._url else {}
        return httpx.AsyncClient(base_url=base, headers=headers, verify=trusting(base), trust_env=False)

    async def _one(self, name: str, check: Callable[[Rest], Awaitable[str]], rest: Rest) -> Check:
        started = time.monotonic()
        status: Status = "pass"
        try:
            detail = await check(rest)
        except NotDue as reason:
            status, detail = "not checked", str(reason)
        except Broken as reason:
            status, detail = "fail", str(reason)
        except (BhavcastError, httpx.HTTPError) as error:
            status, detail = "fail", str(error) or type(error).__name__
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            # Another service, or another version of this one: whatever tripped over the answer says where.
            status, detail = "fail", f"the answer has another form: {type(error).__name__}: {error}"
        return Check(name, status, detail, round((time.monotonic() - started) * 1000, 1))

    async def _health(self, rest: Rest) -> str:
        answer = (await rest.get("/health")).json()
        _expect(answer.get("status") == "healthy", f"{answer.get('status')}: {', '.join(answer.get('reasons', []))}")
        return f"healthy, version {answer.get('version')}"

    async def _market(self, rest: Rest) -> str:
        self._status = await rest.status()
        feeds = ", ".join(f"{name} {feed['state']}" for name, feed in self._status["feeds"].items())
        return f"{self._status['status']} on {self._status['date']}; {feeds}"

    async def _single(self, rest: Rest) -> str:
        answer = await rest.get(self._path)
        row = answer.json()
        for header in ("etag", "x-bhavcast-position"):
            _expect(header in answer.headers, f"expected the header {header}")
        _expect({"symbol", "state", "rev"} <= row.keys(), f"expected symbol, state and rev, got {sorted(row)}")
        return f"{row['symbol']} at {row.get('current_price', 'no price yet')}, {row['state']}"

    async def _not_modified(self, rest: Rest) -> str:
        async with self._http(self._url) as http:
            for _ in range(20):  # the quote may change between two requests
                etag = (await http.get(self._path)).headers["etag"]
                again = await http.get(self._path, headers={"If-None-Match": etag})
                if again.status_code == 304:
                    return f"304 for {etag}"
                _expect(again.headers["etag"] != etag, f"expected 304 for {etag}, got {again.status_code}")
        raise NotDue("the quote changed between every two requests")

    async def _batch(self, rest: Rest) -> str:
        rows = await rest.batch([self._symbol, UNKNOWN, self._symbol])
        _expect(len(rows) == 3, f"expected 3 elements in order, got {len(rows)}")
        first, unknown, last = rows
        _expect(first["symbol"] == last["symbol"] and "error" not in first, f"expected a quote twice, got {first}")
        _expect(unknown.get("error", {}).get("code") == "unknown_symbol", f"expected unknown_symbol, got {unknown}")
        return "3 elements in order, the unknown one with its error"

    async def _since(self, rest: Rest) -> str:
        delta = await rest.since([self._symbol], (await rest.status())["pos"])
        _expect(delta.recovered, "expected the changes since a position of this moment, got everything")
        return f"{len(delta.q)} changed since a moment ago"

    async def _stream(self, rest: Rest) -> str:
        url = self._url.replace("http", "ws", 1) + "/ws"
        due = self._is_due()
        async with Client(url, hz=0, headers=self._headers) as stream:
            await stream.subscribe("*")
            try:
                async with asyncio.timeout(LIVE_WITHIN_S if due else QUIET_S):
                    return await self._live(stream)
            except TimeoutError:
                pass
        raise self._silence(due, "connected and subscribed")

    def _is_due(self) -> bool:
        feeds = self._status.get("feeds", {}).values()
        return self._status.get("status") in TICKING and any(feed.get("state") != "ended" for feed in feeds)

    def _silence(self, due: bool, so_far: str) -> Exception:
        """Judge that no update came."""
        status = self._status.get("status", "unknown")
        if not due:
            why = f"the market is {status}" if status not in TICKING else "the source has nothing more to give"
            return NotDue(f"{so_far}; no live update is due: {why}")
        return Broken(f"{so_far}; expected a live update within {LIVE_WITHIN_S:g} s, the market is {status}")

    async def _events(self, rest: Rest) -> str:
        due = self._is_due()
        kinds: list[str] = []
        try:
            async with (
                asyncio.timeout(LIVE_WITHIN_S if due else QUIET_S),
                self._http(self._url) as http,
                http.stream("GET", "/api/stream", params={"symbols": SOME}) as answer,
            ):
                _expect(answer.status_code == 200, f"expected 200, got {answer.status_code}")
                async for line in answer.aiter_lines():
                    if line.startswith("data:"):
                        kinds.append(json.loads(line[5:])["t"])
                    if kinds and kinds[-1] == "u" and "sync" in kinds:
                        return f"{' '.join(dict.fromkeys(kinds))}: a snapshot, then a live update"
                raise Broken(f"the stream ended after {' '.join(kinds) or 'nothing'}")
        except TimeoutError:
            pass
        _expect("sync" in kinds, f"expected a snapshot, got {' '.join(kinds) or 'nothing'}")
        raise self._silence(due, "a snapshot came")

    async def _own_page(self, rest: Rest) -> str:
        page = await rest.get("/")
        _expect("html" in page.headers.get("content-type", ""), "expected a page at /")
        scripts = [piece.partition('"')[0] for piece in page.text.split(' src="')[1:]]
        for script in scripts:
            await rest.get(script)
        return f"{len(page.text):,} characters, and {', '.join(scripts) or 'no script'}"

    async def _live(self, stream: Client) -> str:
        whole, synced = 0, False
        async for event in stream.events():
            match event:
                case Link(up=False):
                    raise Broken(f"the stream is down: {event.reason}")
                case Hello():
                    _expect(event.message.get("v") == 1, f"expected version 1, got {event.message.get('v')}")
                case Update(whole=True):
                    whole += 1
                case Synced():
                    synced = True
                case Update() if synced and event.symbol != UNKNOWN:
                    return f"{whole} quotes, then a live update of {event.symbol}"
        raise Broken("the stream ended")

    async def _page(self, rest: Rest) -> str:
        if self._frontend is None:
            raise NotDue("no address of a frontend was given: --frontend-url names it")
        async with self._http(self._frontend) as http:
            try:
                page, config = await http.get("/"), await http.get("/config.json")
            except httpx.ConnectError as error:
                raise Broken(f"{self._frontend} does not answer: {error}") from error
        _expect(page.status_code == 200 and "html" in page.headers["content-type"], f"no page: {page.status_code}")
        named = config.json().get("gateway", "")
        _expect(_same_place(named, self._url), f"expected the page to use {self._url}, got {named}")
        return f"{self._frontend} uses {named}"

    async def _docs(self, rest: Rest) -> str:
        version = (await rest.get("/openapi.json")).json().get("openapi", "")
        _expect(version.startswith("3.1"), f"expected OpenAPI 3.1, got {version!r}")
        page = await rest.get("/docs")
        _expect("html" in page.headers["content-type"], "expected a page at /docs")
        return f"/docs, and OpenAPI {version}"

    async def _metrics(self, rest: Rest) -> str:
        text = (await rest.get("/metrics")).text
        for name in ("http_requests_total", "bhavcast_rev"):
            _expect(f"\n{name}" in f"\n{text}", f"expected the metric {name}")
        return f"{sum(not line.startswith('#') for line in text.splitlines())} samples"

    async def _monitor(self, rest: Rest) -> str:
        raise NotDue("the monitoring service is not part of this version")


def _expect(kept: bool, otherwise: str) -> None:
    if not kept:
        raise Broken(otherwise)


def _same_place(one: str, other: str) -> bool:
    """Whether two addresses are one; localhost and 127.0.0.1 are."""
    return one.replace("localhost", "127.0.0.1").rstrip("/") == other.replace("localhost", "127.0.0.1").rstrip("/")
