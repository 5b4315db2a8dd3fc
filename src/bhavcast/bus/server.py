"""One end's connection to Redis: found when it is needed, dropped when it fails, and then waited for with care."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import structlog
from redis.asyncio import Redis

from bhavcast.bus.address import FAILURES, Address, execute

log = structlog.get_logger()

FIRST_S: Final = 0.05
CAP_S: Final = 1.0
# A master that was killed and comes back empty at once takes itself for one until the Sentinels tell it, ten seconds later.
LOOK_S: Final = 1.0
_T = TypeVar("_T")


class Server:
    """The client of the moment. `failing` says why there is none that works."""

    def __init__(self, address: Address, key: str) -> None:
        self._address = address
        self._key = key
        self._client: Redis | None = None
        self._failures = 0
        self._random = random.Random()
        self.closed = asyncio.Event()
        self.failing: str | None = None
        self.connects = 0
        self._connecting = asyncio.Lock()
        self._looked = 0.0
        self._looking: asyncio.Task[None] | None = None

    async def call(self, what: Callable[[Redis], Awaitable[_T]]) -> _T:
        """Do it once; raise one of FAILURES where it may not have been done, or its answer is lost."""
        task = asyncio.current_task()
        before = 0 if task is None else task.cancelling()
        try:
            return await self._call(what)
        finally:
            # The library sends under wait_for, which in Python 3.11 swallows a cancellation that meets the end of its work.
            if task is not None and task.cancelling() > before:
                raise asyncio.CancelledError

    async def _call(self, what: Callable[[Redis], Awaitable[_T]]) -> _T:
        client = None
        try:
            client = self._client or await self._connect()
            self._look(client)
            answer = await what(client)
        except FAILURES as error:
            self._failed(error)
            if client is self._client:
                self._client = None
            raise
        finally:
            # It failed, or another call let go of it while this one, which may have connected it since, was under way.
            if client is not self._client:
                await self._let_go(client)
        if self.failing is not None:
            log.info("the bus is back", bus=str(self._address))
            self.failing, self._failures = None, 0
        return answer

    async def _connect(self) -> Redis:
        async with self._connecting:  # whoever comes second finds it done
            if self._client is None:
                self._client = await self._address.connect(self._key)
                self.connects += 1
            return self._client

    def _look(self, client: Redis) -> None:
        """Have it seen to, beside the call and once in a while, that a server that is not the one any more is let go of."""
        now = asyncio.get_running_loop().time()
        if self._address.moves and now - self._looked >= LOOK_S and (self._looking is None or self._looking.done()):
            self._looked = now
            self._looking = asyncio.create_task(self._leave_if_elsewhere(client), name="bus look")

    async def _leave_if_elsewhere(self, client: Redis) -> None:
        with contextlib.suppress(*FAILURES):  # where nobody can say, it is still the one
            if await self._address.is_elsewhere(client) and client is self._client:
                log.warning("another server is the master now", bus=str(self._address))
                await self.drop()

    async def pause(self) -> None:
        """Wait before the next attempt: longer each time, up to a cap, and never in step with others."""
        longest = min(CAP_S, FIRST_S * 2 ** min(self._failures, 16))
        self._failures += 1
        await self.wait(longest * self._random.uniform(0.5, 1.0))

    async def wait(self, seconds: float) -> None:
        """Let time pass, unless this end is closed."""
        try:
            async with asyncio.timeout(seconds):
                await self.closed.wait()
        except TimeoutError:
            pass

    async def drop(self) -> None:
        """Let go of the connection; the next call finds the server anew."""
        await self._let_go(self._client)

    async def _let_go(self, client: Redis | None) -> None:
        """Close a client and what it has connected meanwhile; one that has taken its place stays."""
        if client is self._client:
            self._client = None
        if client is not None:
            try:
                await client.connection_pool.disconnect(inuse_connections=True)
                await client.aclose(close_connection_pool=True)
            except FAILURES:
                pass  # it was broken already

    async def close(self) -> None:
        """End every wait; idempotent."""
        self.closed.set()
        if self._looking is not None:
            self._looking.cancel()
        await self.drop()

    def _failed(self, error: BaseException) -> None:
        reason = f"{type(error).__name__}: {error}"
        if self.failing is None and not self.closed.is_set():
            log.warning("the bus is out of reach", bus=str(self._address), reason=reason)
        self.failing = reason


def evaluate(client: Redis, script: str, keys: list[str], *arguments: Any) -> Awaitable[Any]:
    """Run a script."""
    return execute(client, "EVAL", script, len(keys), *keys, *arguments)
