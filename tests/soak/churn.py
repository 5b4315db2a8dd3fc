"""Clients that come, subscribe, change their minds, leave in every way there is, and come back where they were.

Each actor goes on until it is cancelled. What it cannot be blamed for (a connection refused, an end) is counted, and it
goes on; what no client should ever see is a fault, and the soak fails by it.
"""

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from bhavcast.client.events import Link, Resumed, Trouble
from bhavcast.client.stream import Client

STAY_S: Final = (0.5, 20.0)
AWAY_S: Final = (0.05, 3.0)
FIELDS: Final[tuple[str | list[str], ...]] = (
    "ltp",
    "quote",
    "full",
    ["volume", "bid_price"],
    ["current_price", "high", "low"],
)
REQUESTS: Final = (
    "/api/stock/{}",
    "/api/stock/{}?depth=5",
    "/api/stock/NOSUCH",
    "/api/stocks?limit=20",
    "/api/market/status",
    "/api/market/movers?by=gain&limit=10",
    "/api/market/movers?by=nonsense",
    "/api/market/breadth",
    "/api/indices",
    "/api/ranges/{}",
    "/api/feeds",
    "/api/gaps",
    "/health",
    "/openapi.json",
    "/nowhere",
)
GONE: Final = (OSError, EOFError, httpx.HTTPError, ConnectionClosed, InvalidHandshake, TimeoutError)


class Churn:
    """All actors on one system."""

    def __init__(self, url: str, frontend: str, symbols: list[str], key: str, seed: int) -> None:
        self.url, self.frontend, self._symbols = url, frontend, symbols
        self._headers = {"Authorization": f"Bearer {key}"}
        self._wire = url.replace("http", "ws", 1)
        self._chance = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []

    async def run(self, scale: int) -> None:
        """Keep so many times a dozen actors going."""
        cast = [(self.wanderer, 6), (self.follower, 2), (self.slow, 1), (self.caller, 1), (self.old_program, 1)]
        cast += [(self.mumbler, 1)]
        async with asyncio.TaskGroup() as group:
            for act, many in cast:
                for _ in range(many * scale):
                    group.create_task(self._keep(act))

    async def _keep(self, act: Callable[[random.Random], Awaitable[None]]) -> None:
        chance = random.Random(self._chance.random())
        while True:
            try:
                await act(chance)
                self.counts[f"{act.__name__} done"] += 1
            except GONE:
                self.counts[f"{act.__name__} cut off"] += 1
            await asyncio.sleep(chance.uniform(*AWAY_S))

    def _some(self, chance: random.Random, most: int) -> list[str]:
        return chance.sample(self._symbols, chance.randint(1, min(most, len(self._symbols))))

    # -- streams ----------------------------------------------------------------------------------------------------

    async def wanderer(self, chance: random.Random) -> None:
        """Use the client library: change everything that can be changed, leave, resume, at last stay away."""
        client = Client(
            f"{self._wire}/ws",
            fields=chance.choice(FIELDS),
            depth=chance.choice((0, 0, 1, 5)),
            hz=chance.choice((0, 1, 4, 10)),
            binary=chance.random() < 0.5,
            headers=self._headers,
            chance=chance.random,
        )
        try:
            await client.subscribe(*self._some(chance, 60))
            for _ in range(chance.randint(1, 4)):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(chance.uniform(*STAY_S)):
                        await self._wander(client, chance)
                await self._leave(client, chance)
                await asyncio.sleep(chance.uniform(*AWAY_S))
        finally:
            await client.aclose()

    async def _wander(self, client: Client, chance: random.Random) -> None:
        while True:
            for event in await client.receive():
                if isinstance(event, Resumed):
                    self.counts["recovered" if event.recovered else "not recovered"] += 1
                elif isinstance(event, Trouble):
                    self.faults.append(f"wanderer: {event.code}: {event.message}")
                elif isinstance(event, Link):
                    self.counts["link up" if event.up else "link down"] += 1
            if chance.random() < 0.05:
                await self._change(client, chance)

    async def _change(self, client: Client, chance: random.Random) -> None:
        self.counts["changes"] += 1
        what = chance.randrange(6)
        if what == 0:
            await client.subscribe(*self._some(chance, 20))
        elif what == 1:
            await client.unsubscribe(*chance.sample(client.state.subscribed, len(client.state.subscribed) // 2))
        elif what == 2:
            await client.show(fields=chance.choice(FIELDS))
        elif what == 3:
            await client.show(depth=chance.choice((0, 1, 5)))
        elif what == 4:
            await client.show(hz=chance.choice((0, 1, 4, 10)))
        else:
            await client.subscribe(chance.choice(("IDX:SENSEX", "IDX:SENSEX/members", "group:T")))

    async def _leave(self, client: Client, chance: random.Random) -> None:
        socket = client._socket
        if socket is not None and chance.random() < 0.5:
            socket.transport.abort()
            self.counts["left without a word"] += 1
        else:
            self.counts["left politely"] += 1
        await client.aclose()

    async def follower(self, chance: random.Random) -> None:
        """Follow events; come back where it was."""
        last: dict[str, str] = {}
        asked = {"symbols": ",".join(self._some(chance, 40)), "fields": "quote"}
        async with httpx.AsyncClient(headers=self._headers, trust_env=False, timeout=30) as http:
            for _ in range(chance.randint(1, 3)):
                with contextlib.suppress(TimeoutError):
                    async with (
                        asyncio.timeout(chance.uniform(*STAY_S)),
                        http.stream("GET", f"{self.url}/api/stream", params=asked, headers=last) as answer,
                    ):
                        if answer.status_code != 200:
                            self.faults.append(f"follower: {answer.status_code} {(await answer.aread())[:200]!r}")
                            return
                        async for line in answer.aiter_lines():
                            if line.startswith("id: "):
                                last = {"Last-Event-ID": line.removeprefix("id: ")}

    async def slow(self, chance: random.Random) -> None:
        """Subscribe the whole market at once, and never read; half of them say goodbye, half are told to go."""
        async with self._connected("/ws") as wire:
            await wire.send(json.dumps({"t": "sub", "id": 1, "symbols": "*", "hz": 0, "depth": 5}))
            wire.transport.pause_reading()
            await asyncio.sleep(chance.uniform(1, 25))
            wire.transport.abort()

    async def old_program(self, chance: random.Random) -> None:
        """Speak Socket.IO or Kite."""
        if chance.random() < 0.5:
            async with self._connected("/socket.io/?EIO=4&transport=websocket") as wire:
                await wire.send("40")
                await wire.send(f'42["subscribe",{json.dumps({"symbols": self._some(chance, 50)})}]')
                await self._listen(wire, chance, answer={"2": "3"})
        else:
            async with self._connected("/kite?api_key=any&access_token=any") as wire:
                codes = [int(symbol) << 8 | 4 for symbol in self._some(chance, 50)]
                await wire.send(json.dumps({"a": "subscribe", "v": codes}))
                await wire.send(json.dumps({"a": "mode", "v": [chance.choice(("full", "quote", "ltp")), codes]}))
                await self._listen(wire, chance, answer={})

    def _connected(self, path: str) -> connect:
        return connect(
            self._wire + path, additional_headers=self._headers, compression=None, proxy=None, max_size=None,
            close_timeout=1,
        )  # fmt: skip

    async def _listen(self, wire: ClientConnection, chance: random.Random, answer: dict[str, str]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(chance.uniform(*STAY_S)):
                async for frame in wire:
                    if isinstance(frame, str) and frame in answer:
                        await wire.send(answer[frame])

    # -- requests ---------------------------------------------------------------------------------------------------

    async def caller(self, chance: random.Random) -> None:
        """Ask for all there is and some that is not; sign in and out; look at the page."""
        async with httpx.AsyncClient(headers=self._headers, trust_env=False, timeout=30) as http:
            position = ""
            for _ in range(chance.randint(1, 100)):
                if chance.random() < 0.2:
                    symbols = ",".join(self._some(chance, 50))
                    since = {"since": position} if position and chance.random() < 0.5 else {}
                    answer = await http.get(f"{self.url}/api/stocks/batch", params={"symbols": symbols, **since})
                    position = answer.headers.get("x-bhavcast-position", position)
                else:
                    answer = await http.get(
                        self.url + chance.choice(REQUESTS).format(*self._some(chance, 1)), follow_redirects=True
                    )
                self.counts[f"answered {answer.status_code}"] += 1
                if answer.status_code >= 500 and answer.json()["code"] != "no_data_yet":
                    self.faults.append(f"caller: {answer.request.url.path}: {answer.status_code} {answer.text[:200]}")
                await asyncio.sleep(chance.uniform(0, 0.2))
            await http.get(self.frontend)
            async with httpx.AsyncClient(trust_env=False, timeout=30) as browser:
                signed = await browser.post(f"{self.url}/api/session", headers=self._headers)
                if chance.random() < 0.5:
                    token = {"X-CSRF-Token": signed.json()["csrf"], "Origin": self.url}
                    await browser.delete(f"{self.url}/api/session", headers=token)
                self.counts["signed in"] += 1

    async def mumbler(self, chance: random.Random) -> None:
        """Begin something and leave it: half a request, half a handshake, a line that is no HTTP."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        begun = (
            b"",
            b"GET /api/st",
            b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgr",
            b"\x16\x03\x01\x02\x00",
            b"no http\r\n\r\n",
        )
        writer.write(chance.choice(begun))
        await asyncio.sleep(chance.uniform(0, 5))
        writer.transport.abort() if chance.random() < 0.5 else writer.close()
