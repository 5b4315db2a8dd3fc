"""The bus between processes and machines: Redis or Valkey. See docs/explanation/bus.md."""

from collections.abc import AsyncIterator
from typing import Final

from bhavcast.bus.address import FAILURES, Address
from bhavcast.bus.following import Follower
from bhavcast.bus.port import Claim, Lead, Link
from bhavcast.bus.publishing import Publisher
from bhavcast.bus.scripts import WANT, WANT_MS, WANTED, Keys
from bhavcast.bus.server import Server, evaluate
from bhavcast.domain.change import Message, Snapshot
from bhavcast.domain.position import NOWHERE, Position
from bhavcast.telemetry.clock import Clock

LOG: Final = 20_000  # messages kept, about: some minutes of a busy market
MOST_WANTED: Final = 10_000  # symbols of one gateway
MOST_GATEWAYS: Final = 256


class RedisBus:
    """Implements the Bus port for one process; it uses as many connections as it has ends in use.

    Args:
        name: of the system; several may share one Redis.
        log: about how many messages a follower may be behind before it has to take a snapshot.
        alone: this process's host is the only one that writes (an embedded server), so a Redis that has just started
            need not be feared to have forgotten another writer.
    """

    def __init__(
        self,
        address: Address,
        clock: Clock,
        *,
        name: str = "bhavcast",
        log: int = LOG,
        alone: bool = False,
        want_ms: int = WANT_MS,
    ) -> None:
        self._keys = keys = Keys.of(name)
        self._want_ms = want_ms
        self.ends = writing, reading, self._asking = [Server(address, keys.board) for _ in range(3)]
        self.publisher = Publisher(writing, keys, clock, log_length=log, alone=alone)
        self.follower = Follower(reading, keys, clock)

    async def lead(self, claim: Claim) -> Lead:
        """Take the lease, and renew it from then on."""
        return await self.publisher.lead(claim)

    async def begin(self, snapshot: Snapshot) -> None:
        """Be at this snapshot."""
        self.publisher.begin(snapshot)

    async def publish(self, message: Message, encoded: bytes | None = None) -> None:
        """Take over one message; it is on its way when this returns, and never lost on it."""
        await self.publisher.publish(message, encoded)

    async def flush(self) -> None:
        """Wait until everything published is in Redis."""
        await self.publisher.flush()

    async def snapshot(self, after: Position = NOWHERE) -> Snapshot:
        """Return everything at one position."""
        return await self.follower.snapshot(after)

    def follow(self, after: Position) -> AsyncIterator[Message]:
        """Yield what comes after a position."""
        return self.follower.follow(after)

    def links(self) -> AsyncIterator[Link]:
        """Yield how well this end hears."""
        return self.follower.links()

    async def want(self, gateway: str, symbols: frozenset[str]) -> None:
        """Tell ingest what a gateway's clients ask for; where that fails, the next time will do."""
        asked = ",".join(sorted(symbols)[:MOST_WANTED])
        arguments = gateway, asked, self._want_ms, MOST_GATEWAYS
        try:
            await self._asking.call(lambda client: evaluate(client, WANT, [self._keys.wants], *arguments))
        except FAILURES:
            return

    async def wanted(self) -> frozenset[str]:
        """Return what all gateways ask for now; nothing where that cannot be known."""
        try:
            told = await self._asking.call(lambda client: evaluate(client, WANTED, [self._keys.wants], self._want_ms))
        except FAILURES:
            return frozenset()
        return frozenset(symbol for symbols in told for symbol in symbols.decode().split(",") if symbol)

    def counts(self) -> dict[str, float]:
        """Return what both ends have counted."""
        writer, reader = self.publisher, self.follower
        return {
            "bus_waiting": writer.waiting,
            "bus_calls_total": writer.calls,
            "bus_republished_total": writer.republished,
            "bus_holes_total": reader.holes,
            "bus_lost_total": reader.lost,
            "bus_connects_total": sum(end.connects for end in self.ends),
        }

    async def close(self) -> None:
        """Say what is left to say, give the lease back, end all followers; idempotent."""
        await self.publisher.close()
        await self.follower.close()
        await self._asking.close()
