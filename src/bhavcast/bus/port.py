"""The port between the one writer and its readers."""

from collections.abc import AsyncIterator
from typing import Protocol

from bhavcast.domain.change import Message, Snapshot
from bhavcast.domain.position import Position


class Bus(Protocol):
    """Carry messages from one ingest to any number of gateways, each able to begin from a snapshot.

    The bus keeps a snapshot (rows, facts, instruments, position) that always equals the sum of what was published.
    """

    async def begin(self, snapshot: Snapshot) -> None:
        """Replace everything: the first message of an epoch."""

    async def publish(self, message: Message) -> None:
        """Append one message and fold it into the snapshot, atomically; raise NotTheWriter if it does not follow."""

    async def snapshot(self) -> Snapshot:
        """Return everything at one position; wait for the first epoch if there is none yet.

        Raises:
            Unavailable: the bus was closed meanwhile.
        """

    def follow(self, after: Position) -> AsyncIterator[Message]:
        """Yield every message after a position, in order; raise BusHole when one was missed or a new epoch began.

        It ends when the bus is closed.
        """

    async def want(self, gateway: str, symbols: frozenset[str]) -> None:
        """Tell ingest what a gateway's clients ask for; expires by itself."""

    async def wanted(self) -> frozenset[str]:
        """Return what all gateways ask for now."""

    async def close(self) -> None:
        """Free what is held; idempotent."""
