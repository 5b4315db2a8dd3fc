"""HTTP load in Python, for machines without a C compiler; the same options and results as http_load.c."""

import asyncio
import re
import sys
import time
from collections import deque

from bhavcast.load.contract import measure, options, percentile

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Tally:
    """What all connections found since the measurement began."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.requests = self.failures = self.reconnects = self.bytes = 0
        self.milliseconds: list[float] = []

    def result(self) -> dict[str, object]:
        """Return the fields of HttpResult that are counted here."""
        ordered = sorted(self.milliseconds)
        counts = ("requests", "failures", "reconnects", "bytes")
        return {name: getattr(self, name) for name in counts} | {
            "p50_ms": percentile(ordered, 0.50),
            "p99_ms": percentile(ordered, 0.99),
            "max_ms": ordered[-1] if ordered else 0.0,
        }


class Schedule:
    """When requests are due: at once, or at a rate, by the connection that has been free for longest; time counts from then."""

    def __init__(self, rate: float) -> None:
        self._period = 1 / rate if rate else 0.0
        self._due = time.monotonic() + self._period
        self._idle: deque[Connection] = deque()

    def free(self, connection: "Connection") -> None:
        """Give a connection its next request, now or when one is due."""
        if not self._period:
            connection.ask(time.monotonic())
            return
        self._idle.append(connection)
        self._ask_what_is_due()

    def forget(self, connection: "Connection") -> None:
        """Ask nothing of a connection that is gone."""
        if connection in self._idle:
            self._idle.remove(connection)

    def _ask_what_is_due(self) -> None:
        while self._idle and self._due <= time.monotonic():
            self._idle.popleft().ask(self._due)
            self._due += self._period

    async def keep(self) -> None:
        """Make requests as they fall due."""
        while self._period:
            await asyncio.sleep(max(self._due - time.monotonic(), self._period / 10))
            self._ask_what_is_due()


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request under way."""

    def __init__(self, tally: Tally, schedule: Schedule, request: bytes) -> None:
        self._tally = tally
        self._schedule = schedule
        self._request = request
        self._held = b""
        self._need = 0
        self.gone = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request when it is due."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._schedule.free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let the owner open another."""
        self._schedule.forget(self)
        self.gone.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Take the answer, complete or in pieces."""
        self._held += data
        self._tally.bytes += len(data)
        if not self._need and (head := self._held.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._held, 0, head + 2)
            self._need = head + 4 + (int(length[1]) if length else 0)
        if self._need and len(self._held) >= self._need:
            self._tally.requests += 1
            self._tally.failures += int(self._held[9:12]) >= 400
            self._tally.milliseconds.append((time.monotonic() - self._asked) * 1000)
            self._schedule.free(self)

    def ask(self, since: float) -> None:
        """Send a request that was due then."""
        self._held, self._need, self._asked = b"", 0, since
        self._transport.write(self._request)


async def _keep(tally: Tally, schedule: Schedule, host: str, port: int, request: bytes) -> None:
    while True:
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: Connection(tally, schedule, request), host, port
        )
        await connection.gone
        tally.reconnects += 1


async def main(arguments: list[str]) -> None:
    """Load one path until measured."""
    given = options(arguments, {"host": "127.0.0.1", "connections": "64", "seconds": "5", "rate": "0"})
    tally, request, schedule = Tally(), given["request"].encode(), Schedule(float(given["rate"]))
    connections = [
        asyncio.create_task(_keep(tally, schedule, given["host"], int(given["port"]), request))
        for _ in range(int(given["connections"]))
    ]
    keeping = asyncio.create_task(schedule.keep())
    measured = asyncio.create_task(measure(float(given["seconds"]), tally.reset, tally.result))
    await asyncio.wait([measured, *connections], return_when=asyncio.FIRST_COMPLETED)
    keeping.cancel()
    for task in (measured, *connections):
        if task.done():
            task.result()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
