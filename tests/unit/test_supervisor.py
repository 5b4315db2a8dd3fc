"""The supervisor of a feed: it outlives every failure, says how things are, and never hurries a slow consumer."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from bhavcast.domain.errors import FeedFailed
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.tick import Batch, FeedState, Source, Tick
from bhavcast.feeds.supervisor import LAST_RETRY_S, SILENT_S, STALE_S, STEADY_S, Supervised, retry_delay
from bhavcast.telemetry.clock import ManualClock

SOURCE = Source("script", "sim", "tick")
TICK = Tick("500325", 1, {0: 157_455})


class Script:
    """A feed that does what it is told, one act at a time: a batch, an exception to raise, None to end."""

    source = SOURCE

    def __init__(self) -> None:
        self.acts: asyncio.Queue[Batch | BaseException | None] = asyncio.Queue()
        self.state: FeedState = "live"
        self.closed = 0
        self.asked = 0
        self.on_close: Callable[[], None] = lambda: None

    def instruments(self) -> list[Instrument]:
        return [Instrument(symbol="599999", id="NEW", name="NEW", provisional=True)]

    async def batches(self) -> AsyncIterator[Batch]:
        while True:
            self.asked += 1
            act = await self.acts.get()
            if act is None:
                return
            if isinstance(act, BaseException):
                raise act
            yield act

    async def close(self) -> None:
        self.closed += 1
        self.on_close()


class Stage:
    """A supervised script, a clock that is moved by hand, and a consumer that collects."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.sleepers: list[tuple[float, asyncio.Future[None]]] = []
        self.feeds: list[Script] = []
        self.due = True
        self.make: Callable[[], Script] = Script
        self.came: list[Batch] = []
        self.ready = asyncio.Event()
        self.ready.set()
        self.supervised = Supervised(
            self._make,
            SOURCE,
            clock=self.clock,
            now_ms=self.clock.wall_ms,
            ticks_due=lambda at: self.due,
            chance=lambda: 1.0,
            sleep=self._sleep,
        )

    def _make(self) -> Script:
        self.feeds.append(self.make())
        return self.feeds[-1]

    def state(self) -> FeedState:
        return self.supervised.state

    async def _sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sleepers.append((self.clock.monotonic() + seconds, woken))
        await woken

    async def consume(self) -> None:
        async for batch in self.supervised.batches():
            self.came.append(batch)
            await self.ready.wait()

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        """Move time forward beat by beat, and let everyone react."""
        end = self.clock.monotonic() + seconds
        while True:
            await self.settle()
            self.sleepers = [(at, woken) for at, woken in self.sleepers if not woken.done()]
            at = min([at for at, _ in self.sleepers], default=end)
            if at > end or self.clock.monotonic() >= end:
                break
            self.clock.advance(max(at - self.clock.monotonic(), 0))
            for due, woken in self.sleepers:
                if due <= self.clock.monotonic() and not woken.done():
                    woken.set_result(None)
        self.clock.advance(max(end - self.clock.monotonic(), 0))
        await self.settle()

    async def say(self, *acts: Batch | BaseException | None) -> None:
        for act in acts:
            self.feeds[-1].acts.put_nowait(act)
        await self.settle()

    def batch(self) -> Batch:
        return Batch(SOURCE, self.clock.wall_ms(), [TICK])


@asynccontextmanager
async def playing(*, due: bool = True, make: Callable[[], Script] = Script) -> AsyncIterator[Stage]:
    stage = Stage()
    stage.due, stage.make = due, make
    consumer = asyncio.create_task(stage.consume())
    await stage.settle()
    yield stage
    stage.ready.set()
    await stage.supervised.close()
    await stage.settle()
    assert consumer.done(), "closing ends the stream"
    consumer.result()
    assert all(feed.closed for feed in stage.feeds), "no feed is left open"


async def test_batches_come_through_as_they_are():
    async with playing() as stage:
        first, second = stage.batch(), stage.batch()
        await stage.say(first, second)
        assert stage.came == [first, second]
        assert stage.came[0] is first
        await stage.advance(0.3)
        assert stage.state() == "live"
        assert [each.symbol for each in stage.supervised.instruments()] == ["599999"]


async def test_where_nothing_comes_an_empty_batch_does_every_quarter_of_a_second():
    async with playing() as stage:
        await stage.advance(2.0)
        assert [len(batch.ticks) for batch in stage.came] == [0] * 8
        assert [batch.received - stage.came[0].received for batch in stage.came] == list(range(0, 2_000, 250))


async def test_a_feed_that_failed_is_begun_anew_after_a_while_and_the_consumer_keeps_its_beat():
    async with playing() as stage:
        await stage.say(stage.batch(), FeedFailed("connection reset"))
        assert stage.state() == "failed"
        assert stage.feeds[0].closed == 1
        await stage.advance(0.4)
        assert len(stage.feeds) == 1
        await stage.advance(0.2)
        assert len(stage.feeds) == 2
        assert stage.state() == "starting"
        await stage.say(stage.batch())
        assert stage.state() == "live"
        assert stage.supervised.report() == {
            "source": "script",
            "state": "live",
            "restarts": 1,
            "failures": 1,
            "silences": 0,
            "error": "connection reset",
            "last_tick": stage.came[-1].received,
        }


async def test_retries_wait_twice_as_long_each_time_up_to_a_limit():
    async with playing() as stage:
        waits = []
        for _ in range(9):
            await stage.say(FeedFailed("no route to host"))
            began, lives = stage.clock.monotonic(), len(stage.feeds)
            while len(stage.feeds) == lives:
                await stage.advance(0.25)
            waits.append(stage.clock.monotonic() - began)
        assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


async def test_a_feed_that_lived_long_begins_with_a_short_retry_again():
    async with playing() as stage:
        for _ in range(4):
            await stage.say(FeedFailed("no route to host"))
            await stage.advance(LAST_RETRY_S)
            if len(stage.feeds) == 4:
                break
        for _ in range(int(STEADY_S)):
            await stage.say(stage.batch())
            await stage.advance(1.0)
        lives = len(stage.feeds)
        await stage.say(FeedFailed("connection reset"))
        await stage.advance(0.6)
        assert len(stage.feeds) == lives + 1


@pytest.mark.parametrize(("chance", "delay"), [(0.0, 2.0), (0.5, 3.0), (1.0, 4.0)])
def test_retries_are_jittered_down_to_their_half(chance, delay):
    assert retry_delay(3, chance) == delay


def test_the_longest_retry_is_capped_however_often_it_failed():
    assert retry_delay(10_000, 1.0) == LAST_RETRY_S


async def test_a_programming_error_of_a_feed_counts_as_its_failure():
    async with playing() as stage:
        await stage.say(ZeroDivisionError("division by zero"))
        assert stage.state() == "failed"
        assert stage.supervised.error == "ZeroDivisionError: division by zero"
        await stage.advance(1.0)
        assert len(stage.feeds) == 2


async def test_a_feed_that_cannot_even_be_made_is_tried_again():
    attempts = []

    def make() -> Script:
        attempts.append(1)
        if len(attempts) < 3:
            raise OSError("no such device")
        return Script()

    async with playing(make=make) as stage:
        await stage.advance(5.0)
        assert len(attempts) == 3
        await stage.say(stage.batch())
        assert stage.state() == "live"


async def test_a_feed_that_cancels_itself_does_not_cancel_the_consumer():
    async with playing() as stage:
        await stage.say(asyncio.CancelledError())
        assert stage.supervised.error == "the feed cancelled itself"
        await stage.advance(1.0)
        assert len(stage.feeds) == 2


async def test_a_feed_that_fails_to_close_is_left_behind():
    def refuse() -> None:
        raise RuntimeError("already gone")

    async with playing() as stage:
        stage.feeds[0].on_close = refuse
        await stage.say(FeedFailed("connection reset"))
        await stage.advance(1.0)
        assert len(stage.feeds) == 2


async def test_a_feed_that_ends_ends_the_stream():
    async with playing() as stage:
        await stage.say(stage.batch(), None)
        assert stage.state() == "ended"
        assert len(stage.feeds) == 1
        assert stage.feeds[0].closed == 1


async def test_silence_while_ticks_are_due_makes_a_feed_stale_and_then_new():
    async with playing() as stage:
        await stage.say(stage.batch())
        await stage.advance(STALE_S - 0.5)
        assert stage.state() == "live"
        await stage.advance(1.0)
        assert stage.state() == "stale"
        assert stage.supervised.report()["silences"] == 1
        await stage.advance(SILENT_S - STALE_S)
        assert stage.supervised.error == "expected ticks, got none for 30 s"
        assert (len(stage.feeds), stage.feeds[0].closed) == (2, 1)


async def test_empty_batches_of_the_feed_do_not_break_its_silence():
    async with playing() as stage:
        await stage.say(stage.batch())
        for _ in range(6):
            await stage.say(Batch(SOURCE, stage.clock.wall_ms(), []))
            await stage.advance(1.0)
        assert stage.state() == "stale"


async def test_a_tick_ends_the_silence():
    async with playing() as stage:
        await stage.advance(STALE_S + 1)
        assert stage.state() == "stale"
        await stage.say(stage.batch())
        assert stage.state() == "live"


async def test_silence_of_a_closed_market_is_no_fault_and_the_timer_starts_with_the_session():
    async with playing(due=False) as stage:
        await stage.advance(3_600.0)
        assert (stage.state(), stage.supervised.failures) == ("not_due", 0)
        stage.due = True
        await stage.advance(STALE_S - 0.5)
        assert stage.state() == "starting"
        await stage.advance(1.0)
        assert stage.state() == "stale"


async def test_what_the_feed_says_of_itself_is_heard():
    async with playing() as stage:
        await stage.say(stage.batch())
        stage.feeds[0].state = "stale"
        await stage.advance(0.3)
        assert stage.state() == "stale"


async def test_a_paused_feed_is_closed_and_a_new_one_begun_when_it_resumes():
    async with playing() as stage:
        await stage.say(stage.batch())
        stage.supervised.pause()
        await stage.settle()
        assert (stage.state(), stage.feeds[0].closed) == ("paused", 1)
        await stage.advance(60.0)
        assert len(stage.feeds) == 1
        stage.supervised.resume()
        await stage.settle()
        assert len(stage.feeds) == 2
        await stage.say(stage.batch())
        assert stage.state() == "live"
        assert (stage.supervised.failures, stage.supervised.restarts) == (0, 0)


async def test_a_slow_consumer_makes_the_feed_wait():
    async with playing() as stage:
        stage.ready.clear()
        await stage.say(*[stage.batch() for _ in range(10)])
        assert len(stage.came) == 1
        assert stage.feeds[0].asked == 1
        stage.ready.set()
        await stage.settle()
        await stage.settle()
        assert len(stage.came) == 10


async def test_a_consumer_that_stops_asking_leaves_nothing_running():
    stage = Stage()
    stream = stage.supervised.batches()

    async def first() -> Batch:
        return await anext(stream)

    asked = asyncio.create_task(first())
    await stage.settle()
    await stage.say(stage.batch())
    assert (await asked).ticks == [TICK]
    await stream.aclose()  # type: ignore[attr-defined]  # an async generator, by its port
    await stage.settle()
    assert stage.feeds[0].closed == 1
    assert len(asyncio.all_tasks()) == 1


async def test_a_feed_that_says_nothing_is_due_is_not_held_to_the_calendar():
    async with playing() as stage:
        await stage.say(stage.batch())
        stage.feeds[0].state = "not_due"  # a market-wide halt, which no calendar foresees
        await stage.advance(0.5)
        assert stage.state() == "not_due", "though it has just spoken"
        await stage.advance(45 * 60.0)
        assert (stage.state(), stage.supervised.failures, len(stage.feeds)) == ("not_due", 0, 1)
        stage.feeds[0].state = "live"
        await stage.advance(STALE_S + 1)
        assert stage.state() == "stale"
