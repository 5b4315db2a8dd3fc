"""A feed that does not die: whatever the one inside does, this one goes on, says how it is, and tries again.

There is no queue between the feed and its consumer. The feed is asked for its next batch when the last one has been
taken, so a slow consumer makes it wait, and at most one batch is in hand.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final

import structlog

from bhavcast.domain.errors import FeedFailed
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.tick import Batch, FeedState, Source
from bhavcast.feeds.port import Feed
from bhavcast.telemetry.clock import Clock

BEAT_S: Final = 0.25  # seconds after which an empty batch is yielded where nothing came (K: the port's promise)
STALE_S: Final = 5.0  # seconds of silence, while ticks are due, after which a feed is stale (A)
SILENT_S: Final = 30.0  # seconds of it after which the feed is given up and begun anew (A)
STEADY_S: Final = 60.0  # seconds a feed must have lived for its next failure to count as the first (A)
FIRST_RETRY_S: Final = 0.5  # seconds before the first retry; each further one waits twice as long (A)
LAST_RETRY_S: Final = 30.0  # seconds that no retry waits longer than (A)
CLOSE_S: Final = 5.0  # seconds a feed has to close before it is left behind (A)

_log = structlog.get_logger(__name__)


def retry_delay(attempt: int, chance: float) -> float:
    """Return seconds to wait before retry `attempt` (from 0): doubling, capped, and jittered down to its half.

    `chance` is from 0 to 1; many clients that lost one source must not come back in step.
    """
    return min(LAST_RETRY_S, FIRST_RETRY_S * (1 << min(attempt, 16))) * (0.5 + chance / 2)


class Supervised:
    """Run a feed, and a new one each time it fails; no error of a feed gets out of here.

    Args:
        make_feed: makes the feed, at first and after each failure; it should go on where the market is.
        source: whose word the feed's is.
        clock: the machine's time, for silence and retries.
        now_ms: market time, for the empty batches and the market's hours.
        ticks_due: whether a source has anything to say at a market time.
        sleep: waits for seconds.
        chance: draws from 0 to 1, for the jitter of retries.
    """

    def __init__(
        self,
        make_feed: Callable[[], Feed],
        source: Source,
        *,
        clock: Clock,
        now_ms: Callable[[], int],
        ticks_due: Callable[[int], bool],
        chance: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.source = source
        self.restarts = 0
        self.failures = 0
        self.silences = 0
        self.error: str | None = None
        self._make_feed = make_feed
        self._clock = clock
        self._now_ms = now_ms
        self._ticks_due = ticks_due
        self._chance = chance
        self._sleep = sleep
        self._feed: Feed | None = None
        self._instruments: list[Instrument] = []
        self._said: FeedState = "starting"
        self._beat: asyncio.Future[object] | None = None
        self._paused = self._down = self._ended = self._closed = False
        self._due = self._was_stale = False
        self._silent_from = self._looked = clock.monotonic()
        self._spoke = False
        self._last_tick: int | None = None

    @property
    def state(self) -> FeedState:
        """Whether the source is talking to us, and if not, whether it should."""
        if self._ended or self._closed:
            return "ended"
        if self._paused:
            return "paused"
        if self._down or self._said == "failed":
            return "failed"
        quiet = self._clock.monotonic() - self._silent_from >= STALE_S
        if self._due and (quiet or self._said == "stale"):
            return "stale"
        # What it told a moment ago may be how things stood when it ended, or a holiday's last known prices.
        if self._spoke and not quiet and self._said != "not_due":
            return "live"
        return ("live" if self._spoke else "starting") if self._due else "not_due"

    def report(self) -> dict[str, Any]:
        """Return what is told of a source: state, counts, the last error, and the market time of its last tick."""
        return {
            "source": self.source.name,
            "state": self.state,
            "restarts": self.restarts,
            "failures": self.failures,
            "silences": self.silences,
            "error": self.error,
            "last_tick": self._last_tick,
        }

    def instruments(self) -> list[Instrument]:
        """Return what the feed knew of scrips when it last spoke."""
        return self._instruments

    def pause(self) -> None:
        """Close the feed and stay silent until resumed; idempotent."""
        self._paused = True
        self._wake()

    def resume(self) -> None:
        """Begin a new feed after a pause; idempotent."""
        self._paused = False
        self._wake()

    async def close(self) -> None:
        """End for good; idempotent."""
        self._closed = True
        self._wake()
        await self._shut()

    async def batches(self) -> AsyncIterator[Batch]:
        """Yield the feed's batches, and an empty one where none came in time, until the feed ends or this is closed."""
        try:
            async with aclosing(self._lives()) as lives:
                async for batch in lives:
                    yield batch
        finally:
            self._wake()

    async def _lives(self) -> AsyncGenerator[Batch, None]:
        attempt = 0
        while not (self._closed or self._ended):
            if self._paused:
                await self._wait(None)
                yield self._nothing()
                continue
            began = self._clock.monotonic()
            try:
                async with aclosing(self._life()) as life:
                    async for batch in life:
                        yield batch
                continue
            except FeedFailed as failure:
                self.error = failure.detail
            except Exception as failure:  # noqa: BLE001 a feed is an edge: even its bugs must cost its own data alone
                self.error = f"{type(failure).__name__}: {failure}"
                _log.exception("feed_broken", source=self.source.name)
            self.failures += 1
            if self._clock.monotonic() - began >= STEADY_S:
                attempt = 0
            delay = retry_delay(attempt, self._chance())
            attempt += 1
            _log.warning("feed_failed", source=self.source.name, error=self.error, retry_s=round(delay, 3))
            self._down = True
            until = self._clock.monotonic() + delay
            while (left := until - self._clock.monotonic()) > 0 and self._wanted():
                await self._wait(None, min(left, BEAT_S))
                yield self._nothing()
            self._down = False
            self.restarts += 1

    async def _life(self) -> AsyncGenerator[Batch, None]:
        """Yield the batches of one feed from its making to its end; raise whatever it raises."""
        self._said, self._spoke = "starting", False
        self._silent_from = self._looked = self._clock.monotonic()
        self._due = self._ticks_due(self._now_ms())
        feed = self._feed = self._make_feed()
        arrival: asyncio.Task[Batch | None] | None = None
        try:
            self._instruments = feed.instruments()
            stream = feed.batches()
            while self._wanted():
                if arrival is None:
                    arrival = asyncio.create_task(_next(stream))
                await self._wait(arrival)
                batch = None
                if arrival.done():
                    if arrival.cancelled():
                        raise FeedFailed("the feed cancelled itself")
                    batch = arrival.result()
                    arrival = None
                    if batch is None:
                        self._ended = True
                        return
                self._look(feed, batch)
                yield self._nothing() if batch is None else batch
        finally:
            if arrival is not None:
                arrival.cancel()
                await asyncio.gather(arrival, return_exceptions=True)
            await self._shut()

    def _look(self, feed: Feed, batch: Batch | None) -> None:
        """Note what came; and now and then, whether anything should have. Raise FeedFailed after too long a silence."""
        now = self._clock.monotonic()
        if batch is not None and batch.ticks:
            self._last_tick = batch.received
            self._silent_from = now
            self._spoke = True
        if now - self._looked < BEAT_S:
            return
        self._looked = now
        self._said = feed.state
        self._instruments = feed.instruments()
        # A feed that knows better, of a market-wide halt perhaps, is believed: the calendar foresees none.
        due = self._said != "not_due" and self._ticks_due(self._now_ms())
        if due and not self._due:
            self._silent_from = now  # what was silent while the market was, has its time yet
        self._due = due
        stale = self.state == "stale"
        self.silences += stale and not self._was_stale
        self._was_stale = stale
        silence = now - self._silent_from
        if due and silence >= SILENT_S:
            raise FeedFailed(f"expected ticks, got none for {silence:.0f} s")

    def _wanted(self) -> bool:
        return not (self._closed or self._paused)

    async def _wait(self, arrival: asyncio.Task[Batch | None] | None, seconds: float = BEAT_S) -> None:
        """Wait until a batch has come, a beat has passed, or someone calls."""
        beat = self._beat
        if beat is None or beat.done():
            beat = self._beat = asyncio.ensure_future(_sleep(self._sleep, seconds))
        calls: set[asyncio.Future[Any]] = {beat} if arrival is None else {beat, arrival}
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)

    def _wake(self) -> None:
        if self._beat is not None:
            self._beat.cancel()

    def _nothing(self) -> Batch:
        return Batch(self.source, self._now_ms(), [])

    async def _shut(self) -> None:
        """Close the feed there is, if any, but do not wait for ever; an error of closing is only logged."""
        feed, self._feed = self._feed, None
        if feed is None:
            return
        closing = asyncio.create_task(_close(feed))
        limit = asyncio.ensure_future(_sleep(self._sleep, CLOSE_S))
        await asyncio.wait({closing, limit}, return_when=asyncio.FIRST_COMPLETED)
        limit.cancel()
        if not closing.done():
            closing.cancel()
            _log.warning("feed_not_closed", source=self.source.name, after_s=CLOSE_S)
        elif not closing.cancelled() and (failure := closing.exception()) is not None:
            _log.warning("feed_close_failed", source=self.source.name, error=str(failure))


async def _next(stream: AsyncIterator[Batch]) -> Batch | None:
    return await anext(stream, None)


async def _sleep(sleep: Callable[[float], Awaitable[object]], seconds: float) -> object:
    return await sleep(seconds)


async def _close(feed: Feed) -> None:
    await feed.close()
