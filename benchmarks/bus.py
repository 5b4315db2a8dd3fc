"""The gateway's end of the played bus."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import msgspec

from benchmarks.feeder import LENGTH
from bhavcast.bus.port import Claim, Lead, Link
from bhavcast.domain.change import Message, Snapshot, hear
from bhavcast.domain.errors import Conflict
from bhavcast.domain.position import NOWHERE, Position

READ_ONLY: Final = "expected the feeder to write, and nobody else"


class PlayedBus:
    """Implements the Bus port for a reader, from the messages of a feeder."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._reader: asyncio.StreamReader | None = None

    async def lead(self, claim: Claim) -> Lead:
        """Refuse: the feeder alone writes."""
        raise Conflict(READ_ONLY)

    async def begin(self, snapshot: Snapshot) -> None:
        """Refuse: the feeder alone writes."""
        raise Conflict(READ_ONLY)

    async def publish(self, message: Message, encoded: bytes | None = None) -> None:
        """Refuse: the feeder alone writes."""
        raise Conflict(READ_ONLY)

    async def flush(self) -> None:
        """Have nothing to wait for."""

    async def links(self) -> AsyncIterator[Link]:
        """Yield that all is well."""
        yield "ok"

    async def snapshot(self, after: Position = NOWHERE) -> Snapshot:
        """Return the feeder's first message."""
        if self._reader is not None:
            raise RuntimeError("the feeder gives one snapshot: the gateway lost its place on the bus")
        self._reader, self._writer = await asyncio.open_unix_connection(self._path, limit=2**20)
        self._messages = self._read(self._reader)
        return msgspec.msgpack.decode(await anext(self._messages), type=Snapshot)

    async def follow(self, after: Position) -> AsyncIterator[Message]:
        """Yield every message after the snapshot."""
        async for encoded in self._messages:
            yield hear(encoded)

    async def _read(self, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
        """Yield whole messages; as many as have come are read at once, as from any bus."""
        held = b""
        while piece := await reader.read(2**18):
            held, at = held + piece, 0
            while (start := at + LENGTH) <= len(held):
                end = start + int.from_bytes(held[at:start])
                if end > len(held):
                    break
                yield held[start:end]
                at = end
            held = held[at:]
        raise ConnectionResetError("the feeder is gone")

    async def want(self, gateway: str, symbols: frozenset[str]) -> None:
        """Nobody is told: everything ticks here."""

    async def wanted(self) -> frozenset[str]:
        """Return what all gateways ask for now."""
        return frozenset()

    def counts(self) -> dict[str, float]:
        """Count nothing."""
        return {}

    async def close(self) -> None:
        """Leave the feeder."""
        if self._reader is not None:
            self._writer.close()
