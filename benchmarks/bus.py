"""The gateway's end of the played bus."""

import asyncio
from collections.abc import AsyncIterator

import msgspec

from benchmarks.feeder import LENGTH
from bhavcast.bus.port import Claim, Lead, Link
from bhavcast.domain.change import Message, Snapshot
from bhavcast.domain.position import NOWHERE, Position


class PlayedBus:
    """Implements the Bus port for a reader, from the messages of a feeder."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._decoder = msgspec.msgpack.Decoder(Message)
        self._reader: asyncio.StreamReader | None = None

    async def lead(self, claim: Claim) -> Lead:
        """Nobody writes here but the feeder."""
        raise NotImplementedError

    async def begin(self, snapshot: Snapshot) -> None:
        """Nobody writes here but the feeder."""
        raise NotImplementedError

    async def publish(self, message: Message, encoded: bytes | None = None) -> None:
        """Nobody writes here but the feeder."""
        raise NotImplementedError

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
        return msgspec.msgpack.decode(await self._next(), type=Snapshot)

    async def _next(self) -> bytes:
        assert self._reader
        length = int.from_bytes(await self._reader.readexactly(LENGTH), "big")
        return await self._reader.readexactly(length)

    async def follow(self, after: Position) -> AsyncIterator[Message]:
        """Yield every message after the snapshot."""
        while True:
            yield self._decoder.decode(await self._next())

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
