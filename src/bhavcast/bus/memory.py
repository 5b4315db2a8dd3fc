"""The bus within one process: a bounded log of messages, and the snapshot that is their sum."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final

from bhavcast.domain.change import Message, RowImage, Snapshot
from bhavcast.domain.errors import BusHole, NotTheWriter
from bhavcast.domain.field import COUNT
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.position import Position

LOG: Final = 4096  # messages a follower may be behind before it has to take a snapshot
WANT_EXPIRES_S: Final = 30.0


class MemoryBus:
    """Implements the Bus port for an ingest and gateways that share one event loop."""

    def __init__(self, *, log: int = LOG) -> None:
        self._log: deque[Message] = deque(maxlen=log)
        self._epoch = ""
        self._rev = 0
        self._token = 0
        self._market = 0
        self._planned = False
        self._rows: dict[str, RowImage] = {}
        self._facts: dict[str, Any] = {}
        self._instruments: dict[str, Instrument] = {}
        self._wants: dict[str, tuple[float, frozenset[str]]] = {}
        self._news = asyncio.Event()
        self._closed = False

    async def begin(self, snapshot: Snapshot) -> None:
        """Replace everything: the first message of an epoch."""
        if snapshot.token < self._token:
            raise NotTheWriter(f"token {snapshot.token} is older than {self._token}")
        self._log.clear()
        self._epoch, self._rev, self._token = snapshot.epoch, snapshot.rev, snapshot.token
        self._market, self._planned = snapshot.market, snapshot.planned
        self._rows = {row.symbol: _copy(row) for row in snapshot.rows}
        self._facts = dict(snapshot.facts)
        self._instruments = {each.symbol: each for each in snapshot.instruments}
        self._wake()

    async def publish(self, message: Message) -> None:
        """Append one message and fold it into the snapshot; raise NotTheWriter if it does not follow."""
        if message.token != self._token or message.epoch != self._epoch or message.from_rev != self._rev + 1:
            raise NotTheWriter(
                f"expected revision {self._rev + 1} of {self._epoch} by token {self._token}, "
                f"got {message.from_rev} of {message.epoch} by {message.token}"
            )
        self._fold(message)
        self._log.append(message)
        self._wake()

    def _fold(self, message: Message) -> None:
        for instrument in message.instruments:
            self._instruments[instrument.symbol] = instrument
        rows = self._rows
        for change in message.changes:
            row = rows.get(change.symbol) or RowImage(change.symbol, 0, [None] * COUNT, [0] * COUNT)
            values, revs, rev = row.values, row.revs, change.rev
            for number, value in change.values.items():
                values[number] = value
                revs[number] = rev
            rows[change.symbol] = RowImage(change.symbol, rev, values, revs)
        self._facts.update(message.facts)
        self._rev, self._market = message.to_rev, message.published

    async def snapshot(self) -> Snapshot:
        """Return everything at one position; wait for the first epoch if there is none yet."""
        while not self._epoch:
            await self._news.wait()
        return Snapshot(
            epoch=self._epoch,
            rev=self._rev,
            token=self._token,
            market=self._market,
            planned=self._planned,
            rows=[_copy(row) for row in self._rows.values()],
            facts=dict(self._facts),
            instruments=list(self._instruments.values()),
        )

    async def follow(self, after: Position) -> AsyncIterator[Message]:
        """Yield every message after a position, in order; raise BusHole when one was missed or a new epoch began."""
        rev = after.rev
        while not self._closed:
            for message in self._since(after.epoch, rev):
                yield message
                rev = message.to_rev
                if self._epoch != after.epoch:
                    break
            else:
                if self._epoch == after.epoch and self._rev == rev:
                    await self._news.wait()

    def _since(self, epoch: str, rev: int) -> list[Message]:
        if epoch != self._epoch:
            raise BusHole(f"epoch {epoch} is over, the bus is at {self._epoch}")
        if rev == self._rev:
            return []
        behind: list[Message] = []
        for message in reversed(self._log):
            behind.append(message)
            if message.from_rev == rev + 1:
                behind.reverse()
                return behind
        raise BusHole(f"revision {rev + 1} is not in the log any more, or never was")

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

    async def close(self) -> None:
        """End all followers; idempotent."""
        self._closed = True
        self._wake()


def _copy(row: RowImage) -> RowImage:
    # A snapshot of an older format has fewer fields: the missing ones never had a value.
    missing = COUNT - len(row.values)
    return RowImage(row.symbol, row.rev, row.values + [None] * missing, row.revs + [0] * missing)
