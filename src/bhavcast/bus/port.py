"""The port between the one writer and its readers."""

from collections.abc import AsyncIterator
from typing import Literal, NamedTuple, Protocol

from bhavcast.domain.change import Message, Snapshot
from bhavcast.domain.position import NOWHERE, Position

# ok: messages come. degraded: the bus is out of reach, or its writer is silent. deaf: others hear what we do not.
Link = Literal["ok", "degraded", "deaf"]


class Claim(NamedTuple):
    """What the writer of a data directory says when it asks for the lease: who it is, and how its journal ends."""

    writer: str
    token: int = 0
    epoch: str = ""
    run_id: str = ""


class Lead(NamedTuple):
    """The lease: the token to write with, and how the bus stands.

    `continues`: nobody has written since this writer did, on the same server; its epoch may go on. Else `reason` says
    why not. `run_id` names that start of the server, and `position` is how far the bus has come.
    """

    token: int
    continues: bool
    reason: str
    run_id: str
    position: Position


class Bus(Protocol):
    """Carry messages from one ingest to any number of gateways, each able to begin from a snapshot.

    The bus keeps a snapshot (rows, facts, instruments, position) that always equals the sum of what was published.
    """

    async def lead(self, claim: Claim) -> Lead:
        """Take the lease, without which nothing can be published, and keep it from then on.

        Raises:
            NotTheWriter: another has it.
            Unavailable: the bus is out of reach.
            UnknownFormat: what the bus holds is of a version that this program does not read.
        """

    async def begin(self, snapshot: Snapshot) -> None:
        """Be at this snapshot: where its epoch goes on, say what the bus lacks of it, else replace everything."""

    async def publish(self, message: Message, encoded: bytes | None = None) -> None:
        """Append one message and fold it into the snapshot, atomically; raise NotTheWriter if it does not follow.

        Also raised from then on when the lease is lost: nothing is published until `lead` has been granted again.
        What a bus that is out of reach does not get, it gets as one message when it is back. `encoded` is
        `domain.change.encode(message)` where the caller has it already.
        """

    async def flush(self) -> None:
        """Wait until everything published is on the bus.

        Raises:
            NotTheWriter: it was refused.
            Unavailable: the bus stays out of reach.
        """

    async def snapshot(self, after: Position = NOWHERE) -> Snapshot:
        """Return everything at one position; wait for the first epoch if there is none yet.

        A bus that is below `after` is waited for, and believed only when it lives on below it for a while: then what
        was above is lost. One that speaks a version which this program does not read is waited for too: its writer may
        be put back. Until then this reader is deaf.

        Raises:
            Unavailable: the bus was closed meanwhile.
        """

    def follow(self, after: Position) -> AsyncIterator[Message]:
        """Yield every message after a position, in order; raise BusHole when one was missed or a new epoch began.

        It ends when the bus is closed.
        """

    def links(self) -> AsyncIterator[Link]:
        """Yield how well this reader hears, now and at each change; it ends when the bus is closed."""

    async def want(self, gateway: str, symbols: frozenset[str]) -> None:
        """Tell ingest what a gateway's clients ask for; expires by itself. Nothing waits for it, nothing fails with it."""

    async def wanted(self) -> frozenset[str]:
        """Return what all gateways ask for now."""

    def counts(self) -> dict[str, float]:
        """Return what this end has counted, by the names of docs/reference/metrics.md without their beginning."""

    async def close(self) -> None:
        """Say what is left to say, and free what is held; idempotent."""
