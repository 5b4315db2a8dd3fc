"""A recording as a feed: the same ticks in the same batches, at the pace they had or at any other."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

from bhavcast.domain.errors import BadRecord, FeedFailed
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.tick import Batch, FeedState, Source
from bhavcast.domain.universe import Universe
from bhavcast.feeds import recording
from bhavcast.telemetry.clock import MarketClock

_PATIENCE: Final = 0.25  # seconds of real time between batches that the port promises
_TURN: Final = 16  # batches without a pause at full speed, a few milliseconds of work, before others get the loop


class ReplayFeed:
    """Play a recording.

    Recorded market time `start` is now, and from there `speed` recorded seconds pass in a real one, nights and breaks
    included; give the market clock the same start and speed, and a tick is as old as it was when it came. A clock that
    is set forward takes the recording with it. With `speed` None nothing waits: the recording sets a virtual clock
    forward. Batches keep their `received`; what came before `start` is left out.

    Args:
        path: the recording. All of it is checked at once, about a second per gigabyte.
        start: market time in milliseconds at which to begin; None for the recording's own `started`.
        sleep: waits for seconds of real time.

    Raises:
        BadFile: it is damaged; the byte is named. Where it only was cut off, `warning` says so.
    """

    def __init__(
        self,
        path: Path,
        clock: MarketClock,
        speed: float | None = 1.0,
        *,
        start: int | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if speed is not None and not speed > 0:
            raise ValueError(f"expected a speed above 0, got {speed}")
        self._recording = recording.inspect(path)
        self._clock = clock
        self._speed = speed
        self._start = self.about.started if start is None else start
        self._sleep = sleep
        self._state: FeedState = "starting"
        self._closed = False
        original = self.about.source
        self.source = Source(name="replay", mode="replay", grade=original.grade, period_ms=original.period_ms)

    @property
    def about(self) -> recording.About:
        """What the recording says of itself."""
        return self._recording.about

    @property
    def warning(self) -> str | None:
        """What a person should know of the recording, or None."""
        return self._recording.warning

    @property
    def universe(self) -> Universe:
        """The market the recording speaks of."""
        return self.about.universe

    @property
    def state(self) -> FeedState:
        """Starting, live, or ended."""
        return self._state

    def instruments(self) -> list[Instrument]:
        """Return every scrip and index of the recorded market."""
        return list(self.universe.instruments.values())

    async def batches(self) -> AsyncIterator[Batch]:
        """Yield the recorded batches; an empty one at least every 250 ms of real time where the next is not due yet.

        Raises:
            FeedFailed: the file changed under us.
        """
        self._state = "live"
        origin = self._clock.now_ms()
        try:
            for count, batch in enumerate(recording.batches(self._recording.path)):
                if count % _TURN == 0:
                    await self._sleep(0)
                if batch.received < self._start:
                    continue
                while not self._closed and (wait := self._until(batch.received, origin)) > 0:
                    await self._sleep(min(wait, _PATIENCE))
                    if self._until(batch.received, origin) > 0:
                        yield Batch(self.source, self._clock.now_ms(), [])
                if self._closed:
                    break
                if self._speed is None:
                    self._take_along(batch.received)
                yield Batch(self.source, batch.received, batch.ticks)
        except (BadRecord, OSError) as error:
            self._state = "failed"
            raise FeedFailed(f"{self._recording.path.name}: {error}") from error
        self._state = "ended"

    async def close(self) -> None:
        """Stop within 250 ms; idempotent."""
        self._closed = True

    def _until(self, received: int, origin: int) -> float:
        """Return the seconds of real time until a batch is due."""
        if self._speed is None:
            return 0.0
        passed = (self._clock.now_ms() - origin) * self._speed / self._clock.speed
        return (received - self._start - passed) / 1000 / self._speed

    def _take_along(self, received: int) -> None:
        if self._clock.virtual:
            with contextlib.suppress(ValueError):  # already later than that
                self._clock.jump(received)
