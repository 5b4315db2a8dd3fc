"""The bus within one process: a bounded log of messages, and the snapshot that is their sum."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Final

from bhavcast.bus.port import Claim, Lead, Link
from bhavcast.domain.change import Folding, Message, Snapshot
from bhavcast.domain.errors import BusHole, NotTheWriter, Unavailable
from bhavcast.domain.position import NOWHERE, Position

LOG: Final = 4096  # messages a follower may be behind before it has to take a snapshot
WANT_EXPIRES_S: Final = 30.0


class MemoryBus:
    """Implements the Bus port for an ingest and gateways that share one event loop."""

    def __init__(self, *, log: int = LOG) -> None:
        self._log: deque[Message] = deque(maxlen=log)
        self._sum: Folding | None = None
        self._token = 0
        self._wants: dict[str, tuple[float, frozenset[str]]] = {}
        self._news = asyncio.Event()
        self._closed = False

    async def lead(self, claim: Claim) -> Lead:
        """Give the lease to whoever asks: the lock on the data directory is all that one process needs."""
        self._token = max(self._token, claim.token) + 1
        return Lead(self._token, continues=True, reason="", run_id="", position=NOWHERE)

    async def begin(self, snapshot: Snapshot) -> None:
        """Replace everything: this bus holds nothing that was not said in this process."""
        if snapshot.token < self._token:
            raise NotTheWriter(f"token {snapshot.token} is older than {self._token}")
        self._log.clear()
        self._sum, self._token = Folding(snapshot), snapshot.token
        self._wake()

    async def publish(self, message: Message, encoded: bytes | None = None) -> None:
        """Append one message and fold it into the snapshot; raise NotTheWriter if it does not follow."""
        if self._sum is None or message.token != self._token:
            raise NotTheWriter(f"expected a message by token {self._token}, got one by {message.token}")
        try:
            self._sum.apply(message)
        except BusHole as hole:
            raise NotTheWriter(hole.detail) from hole
        self._log.append(message)
        self._wake()

    async def flush(self) -> None:
        """Have nothing to wait for."""

    async def snapshot(self, after: Position = NOWHERE) -> Snapshot:
        """Return everything at one position; wait for the first epoch if there is none yet. It is never below anyone."""
        while self._sum is None:
            if self._closed:
                raise Unavailable("the bus was closed before any epoch began")
            await self._news.wait()
        return self._sum.snapshot()

    async def follow(self, after: Position) -> AsyncIterator[Message]:
        """Yield every message after a position, in order; raise BusHole when one was missed or a new epoch began."""
        position = after
        while not self._closed:
            news = self._news
            for message in self._since(position):
                yield message
                position = Position(message.epoch, message.to_rev)
            if news is self._news:
                await news.wait()

    async def links(self) -> AsyncIterator[Link]:
        """Yield that all is well: writer and readers live and die together."""
        yield "ok"
        while not self._closed:
            await self._news.wait()

    def _since(self, position: Position) -> list[Message]:
        if self._sum is None or position.epoch != self._sum.epoch:
            raise BusHole(f"epoch {position.epoch} is over")
        if position.rev == self._sum.rev:
            return []
        behind: list[Message] = []
        for message in reversed(self._log):
            behind.append(message)
            if message.from_rev == position.rev + 1:
                behind.reverse()
                return behind
        raise BusHole(f"revision {position.rev + 1} is not in the log any more, or never was")

    def _wake(self) -> None:
        # Every follower waits on the present event; the next wait begins on a new one.
        self._news.set()
        self._news = asyncio.Event()

    async def want(self, gateway: str, symbols: frozenset[str]) -> None:
        """Tell ingest what a gateway's clients ask for; expires by itself."""
        self._wants[gateway] = (asyncio.get_running_loop().time() + WANT_EXPIRES_S, symbols)

    async def wanted(self) -> frozenset[str]:
        """Return what all gateways ask for now."""
        now = asyncio.get_running_loop().time()
        self._wants = {name: want for name, want in self._wants.items() if want[0] > now}
        return frozenset().union(*(symbols for _, symbols in self._wants.values()))

    def counts(self) -> dict[str, float]:
        """Return nothing: every message is there at once."""
        return {}

    async def close(self) -> None:
        """End all followers; idempotent."""
        self._closed = True
        self._wake()
