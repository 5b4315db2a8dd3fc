"""The simulated market as a feed: it moves when the market clock does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

from bhavcast.domain.instrument import Instrument
from bhavcast.domain.session import Phase
from bhavcast.domain.tick import Batch, FeedState, Source, Tick
from bhavcast.feeds.sim.halts import Halt
from bhavcast.feeds.sim.market import Market
from bhavcast.telemetry.clock import MarketClock

PUMP_SECONDS: Final = 0.015
BATCH_TICKS: Final = 200
# Real time. An empty batch at the latest after this; the port allows 250 ms.
SILENCE_MS: Final = 200
# Real time that is made up for tick by tick after a pause of the process, and how much of it in one go. What is longer
# (a suspended machine, a clock set forward) is leaped over: the market then tells how it stands.
CATCH_UP_MS: Final = 2000
STRETCH_MS: Final = 250

Pause = Callable[[float], Awaitable[None]]


class SimFeed:
    """Pump a market with the time of a market clock. `pause` stands for asyncio.sleep where a test holds time still."""

    source = Source(name="sim", mode="sim", grade="tick")

    def __init__(self, market: Market, clock: MarketClock, *, pause: Pause = asyncio.sleep) -> None:
        self.market = market
        self._clock = clock
        self._pause = pause
        self._closed = False
        self._begun = False

    @property
    def state(self) -> FeedState:
        """Whether the market talks, and if not, whether it should."""
        if self._closed:
            return "ended"
        if not self._begun:
            return "starting"
        return "not_due" if self.market.idle else "live"

    @property
    def halts(self) -> list[Halt]:
        """The day's market-wide halts and the auctions after them."""
        return self.market.halts

    def phase_override(self, at_ms: int) -> Phase | None:
        """Return the phase that a market-wide halt puts in place of every scrip's planned one."""
        return self.market.phase_override(at_ms)

    def instruments(self) -> list[Instrument]:
        """Return nothing: the simulator trades the universe it was given."""
        return []

    async def batches(self) -> AsyncIterator[Batch]:
        """Yield what happened since the last time, at most BATCH_TICKS at once."""
        silent = 0.0
        while not self._closed:
            ticks = self._pump()
            silent += PUMP_SECONDS * 1000
            if ticks or silent >= SILENCE_MS:
                silent = 0.0
                async for batch in self._cut(ticks):
                    yield batch
            if not self._closed:
                await self._pause(PUMP_SECONDS)

    async def close(self) -> None:
        """Stop; idempotent."""
        self._closed = True

    def _pump(self) -> list[Tick]:
        # An exchange's clock does not go back because ours is set back.
        now, speed, market = self._clock.steady_ms(), self._clock.speed, self.market
        if not market.now:
            market.start(now)
        elif now - market.now > CATCH_UP_MS * speed:
            market.leap(now)
        self._begun = True
        return market.advance(min(now, market.now + int(STRETCH_MS * speed)))

    async def _cut(self, ticks: Sequence[Tick]) -> AsyncIterator[Batch]:
        """Cut into batches; between two of them everything else gets its turn."""
        for start in range(0, len(ticks) or 1, BATCH_TICKS):
            if start:
                await self._pause(0)
            if not self.market.now:
                return  # it was given another universe meanwhile: what the one before said is over
            yield Batch(self.source, self._clock.now_ms(), list(ticks[start : start + BATCH_TICKS]))
