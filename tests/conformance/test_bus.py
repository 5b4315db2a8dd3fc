"""What every bus does, whatever carries it. A new implementation is a line in BUSES."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Final

import pytest

from bhavcast.bus.memory import MemoryBus
from bhavcast.bus.port import Bus
from bhavcast.domain import field
from bhavcast.domain.change import Change, Message, RowImage, Snapshot, fold
from bhavcast.domain.errors import BusHole, NotTheWriter, Unavailable
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.position import Position

# Each makes a bus whose log holds so many messages.
BUSES: Final[dict[str, Callable[[int], Bus]]] = {"memory": lambda log: MemoryBus(log=log)}
PATIENCE_S: Final = 10.0
EPOCH, NEXT = "20261123T0345Z-9f1c03ab77de5a20", "20261123T0400Z-51d0c7be12aa98f3"
SCRIPS = [Instrument(symbol=symbol, id=f"S{symbol}", name="EXAMPLE LTD.") for symbol in ("600001", "600002")]


@pytest.fixture(params=BUSES)
def make(request) -> Callable[[int], Bus]:
    return BUSES[request.param]


@pytest.fixture
async def bus(make) -> AsyncIterator[Bus]:
    made: Bus = make(1000)
    yield made
    await made.close()


def beginning(epoch: str = EPOCH, rev: int = 100, token: int = 1, *, planned: bool = False) -> Snapshot:
    values: list[field.Value] = [None] * field.COUNT
    values[field.CURRENT_PRICE] = 10_000
    revs = [rev if value is not None else 0 for value in values]
    return Snapshot(
        epoch=epoch,
        rev=rev,
        token=token,
        market=1_000,
        planned=planned,
        rows=[RowImage("600001", rev, values, revs)],
        facts={"day": "2026-11-23"},
        instruments=SCRIPS,
    )


def message(from_rev: int, to_rev: int | None = None, epoch: str = EPOCH, token: int = 1) -> Message:
    to_rev = to_rev or from_rev
    changes = [
        Change(SCRIPS[rev % 2].symbol, rev, {field.CURRENT_PRICE: rev, field.VOLUME: rev * 3 if rev % 3 else None})
        for rev in range(from_rev, to_rev + 1)
    ]
    return Message(
        epoch=epoch,
        token=token,
        from_rev=from_rev,
        to_rev=to_rev,
        published=from_rev * 10,
        changes=changes,
        facts={"last": to_rev} if from_rev % 2 else {},
    )


async def hear(following: AsyncIterator[Message], count: int) -> list[Message]:
    """The next so many messages of a follower."""
    return [await asyncio.wait_for(anext(following), PATIENCE_S) for _ in range(count)]


def following(bus: Bus, rev: int, epoch: str = EPOCH) -> "aclosing[AsyncIterator[Message]]":  # type: ignore[type-var]  # the port promises an iterator; all are generators
    return aclosing(bus.follow(Position(epoch, rev)))  # type: ignore[type-var]  # as above


def comparable(snapshot: Snapshot) -> tuple[object, ...]:
    return (
        snapshot.position,
        snapshot.token,
        snapshot.market,
        snapshot.planned,
        sorted(snapshot.rows, key=lambda row: row.symbol),
        snapshot.facts,
        sorted(snapshot.instruments, key=lambda each: each.symbol),
    )


# -- the snapshot is the sum ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("planned", [False, True])
async def test_the_snapshot_of_a_beginning_is_that_beginning(bus, planned):
    await bus.begin(beginning(planned=planned))
    assert comparable(await bus.snapshot()) == comparable(beginning(planned=planned))


async def test_the_snapshot_equals_the_sum_of_what_was_published(bus):
    await bus.begin(beginning())
    said = [message(101), message(102, 105), message(106), message(107, 120)]
    for count, each in enumerate(said, 1):
        await bus.publish(each)
        assert comparable(await bus.snapshot()) == comparable(fold(beginning(), said[:count]))


async def test_instruments_that_are_told_of_are_in_the_snapshot(bus):
    await bus.begin(beginning())
    new = Instrument(symbol="600003", id="NEW", name="NEW LTD.")
    await bus.publish(Message(epoch=EPOCH, token=1, from_rev=101, to_rev=101, published=1, instruments=[new]))
    assert new in (await bus.snapshot()).instruments


async def test_a_snapshot_once_taken_stays_as_it_was(bus):
    await bus.begin(beginning())
    taken = await bus.snapshot()
    await bus.publish(message(101, 110))
    assert comparable(taken) == comparable(beginning())


async def test_a_snapshot_waits_for_the_first_epoch(bus):
    waiting = asyncio.create_task(bus.snapshot())
    await asyncio.sleep(0)
    assert not waiting.done()
    await bus.begin(beginning())
    assert (await asyncio.wait_for(waiting, PATIENCE_S)).position == Position(EPOCH, 100)


# -- following ------------------------------------------------------------------------------------------------------------


async def test_a_follower_hears_everything_after_its_position_in_order(bus):
    await bus.begin(beginning())
    said = [message(101), message(102, 105), message(106)]
    for each in said:
        await bus.publish(each)
    for position, expected in ((100, said), (101, said[1:]), (105, said[2:])):
        async with following(bus, position) as follower:
            assert await hear(follower, len(expected)) == expected


async def test_a_follower_that_knows_everything_waits_and_wakes(bus):
    await bus.begin(beginning())
    async with following(bus, 100) as follower:
        waiting = asyncio.create_task(hear(follower, 1))
        await asyncio.sleep(0)
        assert not waiting.done()
        await bus.publish(message(101))
        assert await waiting == [message(101)]
        await bus.publish(message(102))
        assert await hear(follower, 1) == [message(102)]


async def test_what_is_published_while_a_follower_works_is_not_lost(bus):
    await bus.begin(beginning())
    async with following(bus, 100) as follower:
        heard = []
        for rev in range(101, 131):
            await bus.publish(message(rev))
            if rev % 3 == 0:  # it lags, and is told of several at once
                heard += await hear(follower, 1)
        heard += await hear(follower, 30 - len(heard))
    assert heard == [message(rev) for rev in range(101, 131)]


async def test_several_followers_hear_the_same_each_at_its_pace(bus):
    await bus.begin(beginning())

    async def listen(pause: int) -> list[Message]:
        heard = []
        async with following(bus, 100) as follower:
            for _ in range(40):
                heard += await hear(follower, 1)
                for _ in range(pause):
                    await asyncio.sleep(0)
        return heard

    listeners = [asyncio.create_task(listen(pause)) for pause in (0, 1, 5)]
    said = [message(rev) for rev in range(101, 141)]
    for each in said:
        await bus.publish(each)
        await asyncio.sleep(0)
    assert await asyncio.gather(*listeners) == [said, said, said]


async def test_snapshot_and_follow_together_miss_nothing(bus):
    await bus.begin(beginning())
    for rev in range(101, 111):
        await bus.publish(message(rev))
    begun = await bus.snapshot()
    for rev in range(111, 121):
        await bus.publish(message(rev))
    async with following(bus, begun.rev) as follower:
        heard = await hear(follower, 10)
    assert comparable(fold(begun, heard)) == comparable(await bus.snapshot())


# -- holes ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rev", "epoch"),
    [
        (100, NEXT),
        (0, ""),
        (99, EPOCH),  # before the epoch
        (103, EPOCH),  # within a message
        (107, EPOCH),  # not yet said
    ],
)
async def test_a_position_that_is_not_in_the_log_is_a_hole(bus, rev, epoch):
    await bus.begin(beginning())
    for each in (message(101), message(102, 105), message(106)):
        await bus.publish(each)
    async with following(bus, rev, epoch) as follower:
        with pytest.raises(BusHole):
            await hear(follower, 1)


async def test_following_before_any_epoch_is_a_hole(bus):
    async with following(bus, 100) as follower:
        with pytest.raises(BusHole):
            await hear(follower, 1)


async def test_a_new_epoch_is_a_hole_for_who_follows_and_for_who_waits(bus):
    await bus.begin(beginning())
    await bus.publish(message(101))
    async with following(bus, 100) as busy, following(bus, 101) as idle:
        assert await hear(busy, 1) == [message(101)]
        waiting = asyncio.create_task(hear(idle, 1))
        await asyncio.sleep(0)
        await bus.begin(beginning(NEXT, 500, planned=True))
        with pytest.raises(BusHole):
            await waiting
        with pytest.raises(BusHole):
            await hear(busy, 1)
    snapshot = await bus.snapshot()
    assert comparable(snapshot) == comparable(beginning(NEXT, 500, planned=True))
    async with following(bus, 500, NEXT) as follower:
        await bus.publish(message(501, epoch=NEXT))
        assert await hear(follower, 1) == [message(501, epoch=NEXT)]


async def test_a_follower_slower_than_the_log_is_long_finds_a_hole_and_the_snapshot_serves_it(make):
    bus = make(8)
    await bus.begin(beginning())
    said = [message(rev) for rev in range(101, 151)]
    async with following(bus, 100) as follower:
        await bus.publish(said[0])
        heard = await hear(follower, 1)
        for each in said[1:]:
            await bus.publish(each)
        with pytest.raises(BusHole):
            heard += await hear(follower, len(said))
        assert heard == said[: len(heard)], "what was heard before the hole is without one"
    assert comparable(await bus.snapshot()) == comparable(fold(beginning(), said))
    async with following(bus, 150 - 4) as follower:
        assert await hear(follower, 4) == said[-4:]
    await bus.close()


# -- the one writer ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        message(102, token=0),
        message(102, token=2),
        message(101),  # again
        message(103),  # one left out
        message(102, epoch=NEXT),
        message(1),
        Message(epoch=EPOCH, token=1, from_rev=102, to_rev=101, published=0),
    ],
    ids=["an older token", "a newer token", "a repetition", "a hole", "another epoch", "long ago", "backwards"],
)
async def test_what_does_not_follow_is_refused_without_effect(bus, wrong):
    await bus.begin(beginning())
    await bus.publish(message(101))
    before = comparable(await bus.snapshot())
    async with following(bus, 100) as follower:
        assert await hear(follower, 1) == [message(101)]
        with pytest.raises(NotTheWriter):
            await bus.publish(wrong)
        assert comparable(await bus.snapshot()) == before
        await bus.publish(message(102))
        assert await hear(follower, 1) == [message(102)]


async def test_nothing_can_be_published_before_an_epoch(bus):
    with pytest.raises(NotTheWriter):
        await bus.publish(message(101))


async def test_a_writer_that_was_superseded_can_neither_begin_nor_publish(bus):
    await bus.begin(beginning(token=1))
    await bus.begin(beginning(NEXT, 500, token=2))
    before = comparable(await bus.snapshot())
    with pytest.raises(NotTheWriter):
        await bus.begin(beginning(EPOCH, 900, token=1))
    with pytest.raises(NotTheWriter):
        await bus.publish(message(501, epoch=NEXT, token=1))
    assert comparable(await bus.snapshot()) == before
    await bus.publish(message(501, epoch=NEXT, token=2))
    assert (await bus.snapshot()).rev == 501


# -- interest, and the end ----------------------------------------------------------------------------------------------------


async def test_what_is_wanted_is_what_all_gateways_want_now(bus):
    assert await bus.wanted() == frozenset()
    await bus.want("one", frozenset({"600001", "600002"}))
    await bus.want("two", frozenset({"600002", "600003"}))
    assert await bus.wanted() == {"600001", "600002", "600003"}
    await bus.want("one", frozenset())
    assert await bus.wanted() == {"600002", "600003"}


async def test_close_ends_followers_that_wait_and_is_idempotent(bus):
    await bus.begin(beginning())

    async def listen() -> list[Message]:
        return [each async for each in bus.follow(Position(EPOCH, 100))]

    listeners = [asyncio.create_task(listen()) for _ in range(3)]
    await asyncio.sleep(0)
    await bus.publish(message(101))
    await asyncio.sleep(0)
    await bus.close()
    await bus.close()
    assert await asyncio.wait_for(asyncio.gather(*listeners), PATIENCE_S) == [[message(101)]] * 3


async def test_close_ends_who_waits_for_a_first_snapshot(bus):
    waiting = [asyncio.create_task(bus.snapshot()) for _ in range(2)]
    await asyncio.sleep(0)
    await bus.close()
    for each in waiting:
        with pytest.raises(Unavailable):
            await asyncio.wait_for(each, PATIENCE_S)
