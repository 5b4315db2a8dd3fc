"""What every Bus does, whatever carries it: in memory, and on every topology of every Redis and Valkey that is promised."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from bhavcast.bus.memory import MemoryBus
from bhavcast.bus.port import Bus, Claim
from bhavcast.bus.redis import RedisBus
from bhavcast.domain.change import Change, Message, RowImage, Snapshot
from bhavcast.domain.errors import BusHole, NotTheWriter, Unavailable
from bhavcast.domain.field import COUNT, Value, Values
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.position import Position
from bhavcast.telemetry.clock import SystemClock
from tests.redis_servers import EVERYWHERE, Cast, running

EPOCH = "20261123T0345Z-0000000000000001"
OTHER = "20261124T0345Z-0000000000000002"
SHORT_LOG = 8


class Prompt:
    """A bus of which everything said has arrived when the next line of a test runs."""

    def __init__(self, bus: Bus, cast: Cast | None) -> None:
        self.bus, self._cast = bus, cast
        self.lead, self.snapshot, self.want, self.wanted = bus.lead, bus.snapshot, bus.want, bus.wanted
        self.follow, self.links, self.close = bus.follow, bus.links, bus.close

    async def begin(self, snapshot: Snapshot) -> None:
        await self.bus.begin(snapshot)
        await self.bus.flush()

    async def publish(self, message: Message, encoded: bytes | None = None) -> None:
        await self.bus.publish(message, encoded)
        await self.bus.flush()

    def forget(self) -> None:
        """Keep no more of the log than SHORT_LOG; Redis trims when it sees fit."""
        if self._cast is not None:
            self._cast.owner("{bhavcast}:stream").xtrim("{bhavcast}:stream", maxlen=SHORT_LOG, approximate=False)


def on(server: str, topology: str) -> object:
    """Where a bus runs; what several processes have to be started for is slow."""
    marks = [pytest.mark.slow] if topology in ("sentinel", "cluster") else []
    return pytest.param((server, topology), marks=marks, id=f"{server}-{topology}")


@pytest.fixture(scope="module", params=["memory", *(on(*where) for where in EVERYWHERE)])
def cast(request, tmp_path_factory):
    if request.param == "memory":
        yield None
    else:
        server, topology = request.param
        yield from running(topology, tmp_path_factory.mktemp(topology), server)


@pytest.fixture
async def bus(cast) -> AsyncIterator[Prompt]:
    made: Bus
    if cast is None:
        made = MemoryBus(log=SHORT_LOG)
    else:
        cast.empty()
        made = RedisBus(cast.address, SystemClock(), alone=True)
    await made.lead(Claim("first"))
    yield Prompt(made, cast)
    await made.close()


def snapshot(rev: int = 100, epoch: str = EPOCH, token: int = 1, **changes) -> Snapshot:
    values: list[Value] = [None] * COUNT
    revs = [0] * COUNT
    values[0], revs[0] = 500, 90
    row = RowImage("500325", 90, values, revs)
    fields = {"market": 1, "rows": [row], "facts": {}, "instruments": [scrip("500325")], **changes}
    return Snapshot(epoch=epoch, rev=rev, token=token, **fields)


def scrip(symbol: str) -> Instrument:
    return Instrument(symbol=symbol, id=f"ID{symbol}", name=f"Scrip {symbol}")


def message(first: int, last: int | None = None, *, epoch: str = EPOCH, token: int = 1, **changes) -> Message:
    return Message(epoch=epoch, token=token, from_rev=first, to_rev=last or first, published=first, **changes)


def change(rev: int, values: Values, symbol: str = "500325") -> Change:
    return Change(symbol, rev, values)


async def take(count: int, messages) -> list[Message]:
    taken: list[Message] = []
    if count:
        async for each in messages:
            taken.append(each)
            if len(taken) == count:
                break
    return taken


async def test_a_reader_that_comes_first_waits_for_the_first_epoch(bus):
    waiting = asyncio.ensure_future(bus.snapshot())
    await asyncio.sleep(0)
    assert not waiting.done()
    await bus.begin(snapshot())
    assert await waiting == snapshot()


async def test_the_snapshot_is_the_sum_of_what_was_published(bus):
    await bus.begin(snapshot(facts={"market": "open", "feeds": "live"}))
    await bus.publish(message(101, 102, changes=[change(101, {0: 510, 1: 7}), change(102, {0: 520})]))
    await bus.publish(message(103, changes=[change(103, {1: None})], facts={"market": "closed"}))
    await bus.publish(message(104, changes=[change(104, {0: 9}, "532540")], instruments=[scrip("532540")]))
    now = await bus.snapshot()
    assert (now.epoch, now.rev) == (EPOCH, 104)
    rows = {row.symbol: row for row in now.rows}
    assert rows["500325"].values[:2] == [520, None]
    assert rows["500325"].revs[:2] == [102, 103], "a cleared field remembers when"
    assert rows["500325"].rev == 103
    assert rows["532540"].values[0] == 9
    assert now.facts == {"market": "closed", "feeds": "live"}
    assert [each.symbol for each in now.instruments] == ["500325", "532540"]


async def test_a_message_without_changes_takes_a_revision_too(bus):
    await bus.begin(snapshot())
    await bus.publish(message(101, facts={"x": 1}))
    assert (await bus.snapshot()).rev == 101


async def test_a_follower_gets_every_message_after_its_position_once_and_in_order(bus):
    await bus.begin(snapshot())
    sent = [message(101), message(102, 105), message(106)]
    for each in sent:
        await bus.publish(each)
    assert await take(3, bus.follow(Position(EPOCH, 100))) == sent
    assert await take(1, bus.follow(Position(EPOCH, 105))) == sent[2:]


async def test_a_follower_waits_and_is_woken(bus):
    await bus.begin(snapshot())
    waiting = asyncio.ensure_future(take(2, bus.follow(Position(EPOCH, 100))))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not waiting.done()
    await bus.publish(message(101))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not waiting.done()
    await bus.publish(message(102))
    assert await waiting == [message(101), message(102)]


async def test_two_followers_do_not_take_each_others_messages(bus):
    await bus.begin(snapshot())
    both = [asyncio.ensure_future(take(2, bus.follow(Position(EPOCH, 100)))) for _ in range(2)]
    await asyncio.sleep(0)
    await bus.publish(message(101))
    await bus.publish(message(102))
    assert [len(taken) for taken in await asyncio.gather(*both)] == [2, 2]


@pytest.mark.parametrize("rev", [101, 103, 99, 200])
async def test_a_position_in_between_or_unheard_of_is_a_hole(bus, rev):
    await bus.begin(snapshot())
    await bus.publish(message(101, 102))
    await bus.publish(message(103, 104))
    with pytest.raises(BusHole):
        await take(1, bus.follow(Position(EPOCH, rev)))


async def test_who_is_further_behind_than_the_log_must_take_the_snapshot(bus):
    await bus.begin(snapshot())
    for rev in range(101, 101 + SHORT_LOG + 1):
        await bus.publish(message(rev))
    bus.forget()
    with pytest.raises(BusHole):
        await take(1, bus.follow(Position(EPOCH, 100)))
    assert len(await take(SHORT_LOG, bus.follow(Position(EPOCH, 101)))) == SHORT_LOG


async def test_a_new_epoch_ends_what_was_followed_and_replaces_everything(bus):
    await bus.begin(snapshot())
    await bus.publish(message(101, facts={"old": True}))
    following = asyncio.ensure_future(take(2, bus.follow(Position(EPOCH, 101))))
    await asyncio.sleep(0)
    await bus.begin(snapshot(200, OTHER, token=1, rows=[], instruments=[]))
    with pytest.raises(BusHole):
        await following
    with pytest.raises(BusHole):
        await take(1, bus.follow(Position(EPOCH, 101)))
    now = await bus.snapshot()
    assert (now.epoch, now.rev, now.rows, now.facts) == (OTHER, 200, [], {})
    await bus.publish(message(201, epoch=OTHER))
    assert await take(1, bus.follow(Position(OTHER, 200))) == [message(201, epoch=OTHER)]


async def test_an_epoch_that_begins_while_a_follower_looks_away_is_noticed(bus):
    await bus.begin(snapshot())
    await bus.publish(message(101))
    following = bus.follow(Position(EPOCH, 100))
    assert await anext(following) == message(101)
    await bus.begin(snapshot(200, OTHER))
    with pytest.raises(BusHole):
        await anext(following)


@pytest.mark.parametrize(
    "wrong",
    [
        message(101, token=2),
        message(101, token=0),
        message(101, epoch=OTHER),
        message(100),
        message(102),
        message(103, 102),
    ],
    ids=["newer token", "older token", "other epoch", "again", "hole", "backwards"],
)
async def test_a_message_that_does_not_follow_is_refused_and_changes_nothing(bus, wrong):
    await bus.begin(snapshot())
    with pytest.raises(NotTheWriter):
        await bus.publish(wrong)
    assert await bus.snapshot() == snapshot()
    await bus.publish(message(101))
    assert await take(1, bus.follow(Position(EPOCH, 100))) == [message(101)]


async def test_nothing_can_be_published_before_an_epoch(bus):
    with pytest.raises(NotTheWriter):
        await bus.publish(message(101))


async def test_a_newer_token_takes_over_and_an_older_one_cannot_come_back(bus):
    older = (await bus.lead(Claim("first", token=2))).token
    await bus.begin(snapshot(token=older))
    newer = (await bus.lead(Claim("first", token=older))).token
    assert newer > older > 2
    await bus.begin(snapshot(200, OTHER, token=newer))
    with pytest.raises(NotTheWriter):
        await bus.publish(message(201, epoch=OTHER, token=older))
    with pytest.raises(NotTheWriter):
        await bus.begin(snapshot(300, EPOCH, token=older))
    assert (await bus.snapshot()).epoch == OTHER


async def test_a_snapshot_that_was_handed_out_stays_as_it_was(bus):
    await bus.begin(snapshot())
    before = await bus.snapshot()
    await bus.publish(message(101, changes=[change(101, {0: 1})], facts={"x": 1}))
    assert before == snapshot()


async def test_what_gateways_want_adds_up_and_the_last_word_of_each_counts(bus):
    await bus.begin(snapshot())
    assert await bus.wanted() == frozenset()
    await bus.want("a", frozenset({"500325", "532540"}))
    await bus.want("b", frozenset({"532540", "600001"}))
    assert await bus.wanted() == {"500325", "532540", "600001"}
    await bus.want("a", frozenset())
    assert await bus.wanted() == {"532540", "600001"}


async def test_a_wish_expires(monkeypatch):
    bus = MemoryBus()
    loop = asyncio.get_running_loop()
    now = loop.time()
    await bus.want("a", frozenset({"500325"}))
    monkeypatch.setattr(loop, "time", lambda: now + 29)
    assert await bus.wanted() == {"500325"}
    await bus.want("b", frozenset({"532540"}))
    monkeypatch.setattr(loop, "time", lambda: now + 31)
    assert await bus.wanted() == {"532540"}


async def test_closing_ends_followers_and_those_who_wait_and_can_be_said_twice(bus):
    early = asyncio.ensure_future(bus.snapshot())
    await asyncio.sleep(0)
    await bus.close()
    with pytest.raises(Unavailable):
        await early
    await bus.close()


async def test_a_reader_of_the_bus_is_told_that_it_hears(bus):
    await bus.begin(snapshot())
    assert await anext(bus.links()) == "ok"


async def test_what_is_said_in_one_breath_arrives_whole_and_in_order(bus):
    await bus.begin(snapshot())
    sent = [message(rev, changes=[change(rev, {0: rev})]) for rev in range(101, 601)]
    for each in sent:
        await bus.bus.publish(each)
    await bus.bus.flush()
    assert (await bus.snapshot()).rows[0].values[0] == 600
    assert await take(SHORT_LOG, bus.follow(Position(EPOCH, 600 - SHORT_LOG))) == sent[-SHORT_LOG:]


async def test_an_epoch_that_goes_on_begins_where_it_is(bus):
    await bus.begin(snapshot())
    await bus.publish(message(101, changes=[change(101, {0: 510})]))
    before = await bus.snapshot()
    await bus.begin(before)
    assert await bus.snapshot() == before
    await bus.publish(message(102))
    assert (await bus.snapshot()).rev == 102


async def test_a_follower_ends_with_the_bus(bus):
    await bus.begin(snapshot())
    following = asyncio.ensure_future(take(1, bus.follow(Position(EPOCH, 100))))
    await asyncio.sleep(0)
    await bus.close()
    assert await following == []
