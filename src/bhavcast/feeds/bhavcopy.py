"""An official day as the market: every scrip's figures of one bhavcopy, after the close of that day."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from bhavcast.domain.instrument import Instrument
from bhavcast.domain.tick import Batch, FeedState, Source, Tick
from bhavcast.domain.universe import Universe
from bhavcast.telemetry.clock import MarketClock

BATCH_TICKS: Final = 200
SILENCE_S: Final = 0.2


class BhavcopyFeed:
    """Implements the Feed port. Says the whole day once, stamped with its close at `closed_ms`, and then nothing more.

    The official file gives no time of a trade, no book, no limits and no indices.
    """

    source = Source(name="bhavcopy", mode="eod", grade="eod")

    def __init__(
        self,
        universe: Universe,
        closed_ms: int,
        clock: MarketClock,
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._universe = universe
        self._closed_ms = closed_ms
        self._clock = clock
        self._pause = pause
        self._closed = False

    @property
    def state(self) -> FeedState:
        """An end-of-day source has nothing due until the next file."""
        return "ended" if self._closed else "not_due"

    def instruments(self) -> list[Instrument]:
        """Return nothing: the universe made from the file has its scrips."""
        return []

    async def batches(self) -> AsyncIterator[Batch]:
        """Yield the day, then an empty batch now and then."""
        instruments = self._universe.instruments
        ticks = [
            Tick(symbol, self._closed_ms, day.values(instruments[symbol].scale))
            for symbol, day in self._universe.days.items()
        ]
        for start in range(0, len(ticks), BATCH_TICKS):
            yield Batch(self.source, self._clock.now_ms(), ticks[start : start + BATCH_TICKS])
            await self._pause(0)
        while not self._closed:
            yield Batch(self.source, self._clock.now_ms(), [])
            await self._pause(SILENCE_S)

    async def close(self) -> None:
        """Stop; idempotent."""
        self._closed = True
