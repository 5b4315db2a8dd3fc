"""WebSocket load in Python, for machines without a C compiler; the same options and results as stream_load.c.

Good for some hundreds of clients.
"""

import asyncio
import random
import re
import sys
import time
from collections import Counter
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from bhavcast.load.contract import measure, options, percentile

DEFAULTS = {
    "host": "127.0.0.1",
    "clients": "100",
    "per_client": "50",
    "seconds": "10",
    "sample": "1",
    "nap": "0",  # there for the contract: asyncio reads when something comes
    "patience": "120",
    "path": "/ws",
    "headers": "",
    "first": "",
    "sub": '{"t":"sub","id":1,"symbols":[%],"hz":10}',
    "deaf": "0",
    "deaf_sub": '{"t":"sub","id":1,"symbols":"*","hz":0}',
    "synced": '{"t":"sync"',
    "update": '{"t":"u"',
    "stamp": '"volume":',
}


class Load:
    """All clients and what they found since the measurement began."""

    def __init__(self, given: dict[str, str]) -> None:
        self._given = given
        self._update = given["update"].encode()
        self._synced = given["synced"].encode()
        self._stamp = re.compile(re.escape(given["stamp"].encode()) + rb"(\d+)")
        self._sample = int(given["sample"])
        self._symbols = Path(given["symbols"]).read_text().split()
        self._closes: Counter[str] = Counter()
        self._choice = random.Random(1)
        self.served = asyncio.Semaphore(0)
        self._clients = self._gone = 0
        self.setup_seconds = 0.0
        self.reset()

    def reset(self) -> None:
        """Forget what was counted; the clients stay."""
        self._frames = self._bytes = self._others = self._sampled = self._rows = 0
        self._late: list[float] = []

    def result(self) -> dict[str, object]:
        """Return the fields of StreamResult that are counted here."""
        ordered = sorted(self._late)
        return {
            "setup_seconds": self.setup_seconds,
            "clients": self._clients,
            "gone": self._gone,
            "frames": self._frames,
            "bytes": self._bytes,
            "others": self._others,
            "sampled": self._sampled,
            "rows": self._rows,
            "stamps": len(ordered),
            "p50_ms": percentile(ordered, 0.50),
            "p99_ms": percentile(ordered, 0.99),
            "max_ms": ordered[-1] if ordered else 0.0,
            "closes": dict(self._closes),
        }

    def _connect(self, queue: int | None = 16) -> connect:
        given = self._given
        headers = dict(line.split(": ", 1) for line in given["headers"].split("\r\n") if line)
        subprotocol = headers.pop("Sec-WebSocket-Protocol", None)
        return connect(
            f"ws://{given['host']}:{given['port']}{given['path']}",
            additional_headers=headers,
            subprotocols=[Subprotocol(subprotocol)] if subprotocol else None,
            compression=None,
            max_size=None,
            max_queue=queue,
        )

    async def open_deaf(self) -> None:
        """Hold one client that never reads."""
        async with self._connect(queue=1) as client:
            await client.send(self._given["deaf_sub"])
            self.served.release()
            await asyncio.Future()

    async def open(self) -> None:
        """Hold one client until it is closed."""
        given = self._given
        async with self._connect() as client:
            if given["first"]:
                await client.send(given["first"])
            chosen = self._choice.sample(self._symbols, int(given["per_client"]))
            await client.send(given["sub"].replace("%", ",".join(f'"{symbol}"' for symbol in chosen)))
            try:
                await self._read(client)
            except ConnectionClosed:
                self._gone += 1
                self._closes[str(client.close_code)] += 1

    async def _read(self, client: ClientConnection) -> None:
        synced = False
        while True:
            frame = await client.recv(decode=False)
            if frame.startswith(self._update):
                self._read_update(frame)
            elif not synced and frame.startswith(self._synced):
                synced = True
                self._clients += 1
                self.served.release()
            else:
                self._others += 1

    def _read_update(self, frame: bytes) -> None:
        self._bytes += len(frame)
        if self._frames % self._sample == 0:
            self._sampled += 1
            now = time.monotonic_ns() // 1000
            for match in self._stamp.finditer(frame):
                self._rows += 1
                if 0 <= (late := now - int(match[1])) < 60_000_000:
                    self._late.append(late / 1000)
        self._frames += 1


async def main(arguments: list[str]) -> None:
    """Hold the clients until measured."""
    given = options(arguments, DEFAULTS)
    load, started = Load(given), time.monotonic()
    tasks = []
    async with asyncio.timeout(float(given["patience"])):
        for opening in [load.open] * int(given["clients"]) + [load.open_deaf] * int(given["deaf"]):
            tasks.append(client := asyncio.create_task(opening()))
            served = asyncio.create_task(load.served.acquire())
            await asyncio.wait([client, served], return_when=asyncio.FIRST_COMPLETED)
            if client.done():
                client.result()  # raises why
    load.setup_seconds = time.monotonic() - started
    await measure(float(given["seconds"]), load.reset, load.result)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
