"""The Redis bus when things go wrong: real servers killed, cut off, taken back in time, full, failed over."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bhavcast.bus.address import FAILURES, Address
from bhavcast.bus.following import BELOW_S, SILENT_S
from bhavcast.bus.port import Claim
from bhavcast.bus.redis import RedisBus
from bhavcast.bus.server import Server
from bhavcast.domain.errors import BusHole, NotTheWriter, Unavailable
from bhavcast.domain.position import Position
from bhavcast.flow import stand_by
from bhavcast.telemetry.clock import Clock, ManualClock, SystemClock
from tests.conformance.test_bus import EPOCH, OTHER, change, message, snapshot, take
from tests.proxy import Proxy
from tests.redis_servers import SERVERS, running
from tests.waiting import until

pytestmark = pytest.mark.slow

STREAM, BOARD, TOKEN, LEASE = ("{bhavcast}:" + key for key in ("stream", "board", "token", "lease"))


@pytest.fixture(params=SERVERS)
def cast(request, tmp_path):
    yield from running("standalone", tmp_path, request.param)


@pytest.fixture(params=SERVERS)
def watched(request, tmp_path):
    """A master that Sentinels watch."""
    yield from running("sentinel", tmp_path, request.param)


@asynccontextmanager
async def bus_on(address: Address, clock: Clock | None = None, *, alone: bool = True) -> AsyncIterator[RedisBus]:
    made = RedisBus(address, clock or SystemClock(), alone=alone)
    try:
        yield made
    finally:
        await made.close()


async def begun(bus: RedisBus, writer: str = "first") -> RedisBus:
    """Let a bus have the lease and its first epoch."""
    lead = await bus.lead(Claim(writer))
    await bus.begin(snapshot(token=lead.token))
    await bus.flush()
    return bus


async def linked(bus: RedisBus, link: str) -> None:
    """Wait until a reader says how well it hears."""
    async with asyncio.timeout(20):
        async for told in bus.links():
            if told == link:
                return


# -- the writer -----------------------------------------------------------------------------------------------------------


async def test_a_call_that_was_done_and_whose_answer_was_lost_is_not_done_twice(cast, tmp_path):
    async with (
        Proxy(tmp_path / "p", cast.servers[0].folder / "s") as proxy,
        bus_on(Address.parse(f"unix://{proxy.path}")) as bus,
    ):
        await begun(bus)
        proxy.lose_answers_to = b"XADD"
        await bus.publish(message(101, changes=[change(101, {0: 510})]))
        await bus.publish(message(102))
        await bus.flush()
        assert proxy.lost == 1
        assert bus.publisher.republished <= 1
        told = await take(1, bus.follow(Position(EPOCH, 101)))
        assert told[-1].to_rev == 102
        assert (await bus.snapshot()).rev == 102


async def test_what_was_said_during_an_outage_comes_as_one_message_with_every_fields_revision(cast, tmp_path):
    async with (
        Proxy(tmp_path / "p", cast.servers[0].folder / "s") as proxy,
        bus_on(Address.parse(f"unix://{proxy.path}"), ManualClock()) as bus,
        bus_on(cast.address) as reader,
    ):
        await begun(bus)
        following = asyncio.ensure_future(take(1, reader.follow(Position(EPOCH, 100))))
        proxy.refusing = True
        proxy.cut()
        await bus.publish(message(101, changes=[change(101, {0: 510, 1: 7})], facts={"x": 1}))
        await bus.publish(message(102, 103, changes=[change(103, {0: 520})]))
        await bus.publish(message(104, changes=[change(104, {1: None})]))
        proxy.refusing = False
        await bus.flush()
        (told,) = await following
        assert (told.from_rev, told.to_rev, told.facts) == (101, 104, {"x": 1})
        assert told.changes == [change(103, {0: 520}), change(104, {1: None})]
        row = (await reader.snapshot()).rows[0]
        assert (row.rev, row.values[:2], row.revs[:2]) == (104, [520, None], [103, 104])


async def test_a_server_that_comes_back_as_it_was_before_gets_what_it_lost(cast):
    clock = ManualClock()
    async with bus_on(cast.address, clock) as bus:
        await begun(bus)
        await bus.publish(message(101, changes=[change(101, {0: 510})]))
        await bus.flush()
        cast.servers[0].client.save()
        await bus.publish(message(102, changes=[change(102, {0: 520})]))
        await bus.flush()
        cast.servers[0].kill()
        await bus.publish(message(103, changes=[change(103, {1: 5})]))
        cast.servers[0].start()
        await bus.flush()
        (told,) = await take(1, bus.follow(Position(EPOCH, 101)))
        assert told.changes == [change(102, {0: 520}), change(103, {1: 5})]


async def test_a_server_that_comes_back_empty_knows_no_lease_and_the_writer_stops(cast):
    async with bus_on(cast.address) as bus:
        await begun(bus)
        cast.servers[0].kill()
        cast.servers[0].start()
        await bus.publish(message(101))
        with pytest.raises(NotTheWriter):
            await bus.flush()
        with pytest.raises(NotTheWriter):
            await bus.publish(message(102))
        lead = await bus.lead(Claim("first", token=1, epoch=EPOCH))
        assert (lead.token, lead.continues) == (2, False)


async def test_a_full_server_is_out_of_reach_until_there_is_room(cast):
    clock = ManualClock()
    async with bus_on(cast.address, clock) as bus:
        await begun(bus)
        cast.servers[0].client.config_set("maxmemory", 1)
        await bus.publish(message(101))
        waiting = asyncio.ensure_future(bus.flush())
        async with asyncio.timeout(20):
            while bus.publisher.failing is None:  # noqa: ASYNC110 - the adapter tells it by a flag
                await asyncio.sleep(0.01)
        assert not waiting.done()
        cast.servers[0].client.config_set("maxmemory", 0)
        await waiting
        assert (await bus.snapshot()).rev == 101


async def test_what_nobody_takes_is_a_sum_and_not_a_queue(cast):
    clock = ManualClock()
    async with bus_on(cast.address, clock) as bus:
        await begun(bus)
        cast.servers[0].signal(signal.SIGSTOP)
        for rev in range(101, 4101):
            await bus.publish(message(rev, changes=[change(rev, {0: rev})]))
        assert bus.publisher.waiting <= 1024
        cast.servers[0].signal(signal.SIGCONT)
        await bus.flush()
        assert (await bus.snapshot()).rows[0].values[0] == 4100


# -- the lease --------------------------------------------------------------------------------------------------------------


async def test_a_second_writer_waits_while_the_first_lives_and_takes_over_soon_after_its_death(cast):
    clock = ManualClock()  # the first never notices
    loop = asyncio.get_running_loop()
    async with bus_on(cast.address, clock) as first, bus_on(cast.address) as second:
        await begun(first)
        with pytest.raises(NotTheWriter, match="writer first holds the lease"):
            await second.lead(Claim("second"))
        await first.publisher.stop()  # as SIGKILL would end it: the lease stays
        died = loop.time()
        lead = await stand_by(second, Claim("second"))
        assert loop.time() - died <= 5
        assert (lead.token, lead.continues, lead.position) == (2, False, Position(EPOCH, 100))
        await second.begin(snapshot(200, OTHER, token=lead.token))
        await second.flush()


async def test_a_fenced_writer_is_refused_and_changes_nothing(cast):
    async with bus_on(cast.address, ManualClock()) as first, bus_on(cast.address) as second:
        await begun(first)
        cast.servers[0].client.delete(LEASE)
        lead = await second.lead(Claim("second"))
        await second.begin(snapshot(200, OTHER, token=lead.token))
        await second.flush()
        await first.publish(message(101))
        with pytest.raises(NotTheWriter):
            await first.flush()
        assert (await second.snapshot()).position == Position(OTHER, 200)
        with pytest.raises(BusHole):
            await take(1, second.follow(Position(EPOCH, 100)))


async def test_a_lease_that_cannot_be_proved_is_none(cast):
    clock = ManualClock()
    async with bus_on(cast.address, clock) as bus:
        await begun(bus)
        cast.servers[0].signal(signal.SIGSTOP)
        clock.advance(3.1)
        with pytest.raises(NotTheWriter, match="could not be renewed for 3 s"):
            await bus.publish(message(101))
        cast.servers[0].signal(signal.SIGCONT)


async def test_a_closed_writer_gives_the_lease_back_at_once(cast):
    async with bus_on(cast.address) as first:
        await begun(first)
    async with bus_on(cast.address) as second:
        assert (await second.lead(Claim("second"))).token == 2


async def test_the_same_directory_goes_on_at_once_where_it_stopped(cast):
    async with bus_on(cast.address) as first, bus_on(cast.address) as again:
        lead = await first.lead(Claim("first"))
        await first.begin(snapshot(token=lead.token))
        await first.publish(message(101, changes=[change(101, {0: 510})]))
        await first.flush()
        # Killed after its journal had 102, and before the bus did.
        found = await again.lead(Claim("first", lead.token, EPOCH, lead.run_id))
        assert (found.token, found.continues, found.position) == (lead.token, True, Position(EPOCH, 101))
        later = await first.snapshot()
        values, revs = [999, *later.rows[0].values[1:]], [102, *later.rows[0].revs[1:]]
        row = type(later.rows[0])("500325", 102, values, revs)
        await again.begin(snapshot(102, rows=[row]))
        await again.flush()
        (told,) = await take(1, again.follow(Position(EPOCH, 101)))
        assert told.changes == [change(102, {0: 999})]


@pytest.mark.parametrize("fault", ["other run", "other token", "other epoch", "other writer since"])
async def test_an_epoch_ends_where_something_may_be_missing(cast, fault):
    async with bus_on(cast.address) as first, bus_on(cast.address) as again:
        lead = await first.lead(Claim("first"))
        await first.begin(snapshot(token=lead.token))
        await first.flush()
        claim = Claim("first", lead.token, EPOCH, lead.run_id)
        if fault == "other run":
            claim = claim._replace(run_id="0" * 40)
        elif fault == "other token":
            claim = claim._replace(token=7)
        elif fault == "other epoch":
            claim = claim._replace(epoch=OTHER)
        else:
            cast.servers[0].client.delete(LEASE)
            await again.lead(Claim("second"))
            cast.servers[0].client.delete(LEASE)
        found = await again.lead(claim)
        assert not found.continues
        assert found.reason
        assert found.token > claim.token


async def test_a_server_that_has_just_started_may_have_forgotten_a_writer(cast):
    cast.servers[0].client.set(TOKEN, "1:first")
    async with bus_on(cast.address, alone=False) as bus:
        with pytest.raises(NotTheWriter, match="just started"):
            await bus.lead(Claim("second"))
        assert (await stand_by(bus, Claim("second"))).token == 2


async def test_a_server_that_remembers_nobody_has_nobody_to_wait_for(cast):
    async with bus_on(cast.address, alone=False) as bus:
        assert (await bus.lead(Claim("second"))).token == 1


async def test_a_bus_out_of_reach_gives_no_lease(tmp_path):
    async with bus_on(Address.parse(f"unix://{tmp_path}/nothing")) as bus:
        with pytest.raises(Unavailable):
            await bus.lead(Claim("first"))


# -- readers ----------------------------------------------------------------------------------------------------------------


async def test_a_trimmed_stream_is_a_hole_even_where_nothing_is_left_of_it(cast):
    async with bus_on(cast.address) as bus:
        await begun(bus)
        await bus.publish(message(101))
        await bus.flush()
        cast.servers[0].client.xtrim(STREAM, maxlen=0, approximate=False)
        with pytest.raises(BusHole):
            await take(1, bus.follow(Position(EPOCH, 100)))
        assert bus.follower.holes == 1


async def test_a_bus_below_is_waited_for_and_believed_only_when_it_lives_on_below(cast):
    clock = ManualClock()
    async with bus_on(cast.address) as writer, bus_on(cast.address, clock) as reader:
        await begun(writer)
        waiting = asyncio.ensure_future(reader.snapshot(Position(EPOCH, 500)))
        await linked(reader, "degraded")
        clock.advance(BELOW_S)
        for _ in range(20):
            await asyncio.sleep(0.01)
        assert not waiting.done(), "a bus that stands still proves nothing"
        await writer.publish(message(101))
        assert (await waiting).rev >= 101
        assert reader.follower.lost == 1


async def test_a_bus_that_comes_back_up_lost_nothing(cast):
    async with bus_on(cast.address) as writer, bus_on(cast.address) as reader:
        await begun(writer)
        waiting = asyncio.ensure_future(reader.snapshot(Position(EPOCH, 101)))
        await linked(reader, "degraded")
        await writer.publish(message(101))
        assert (await waiting).rev == 101
        assert reader.follower.lost == 0


async def test_a_reader_says_when_the_bus_is_out_of_reach_and_when_it_is_back(cast):
    async with bus_on(cast.address, ManualClock()) as writer, bus_on(cast.address) as reader:
        await begun(writer)
        following = asyncio.ensure_future(take(1, reader.follow(Position(EPOCH, 100))))
        links = reader.links()
        assert await anext(links) == "ok"
        cast.servers[0].client.save()
        cast.servers[0].kill()
        assert await anext(links) == "degraded"
        cast.servers[0].start()
        await writer.publish(message(101))
        assert [each.to_rev for each in await following] == [101]
        assert await anext(links) == "ok"


async def test_a_silent_writer_is_told_too(cast):
    clock = ManualClock()
    async with bus_on(cast.address) as writer, bus_on(cast.address, clock) as reader:
        await begun(writer)
        following = asyncio.ensure_future(take(1, reader.follow(Position(EPOCH, 100))))
        links = reader.links()
        assert await anext(links) == "ok"
        clock.advance(SILENT_S)
        assert await anext(links) == "degraded"
        await writer.publish(message(101))
        await following


async def test_what_stands_there_without_a_writer_is_not_taken_for_what_is_said(cast):
    """A Redis that has come back from its dump holds a board of then, and nobody's lease."""
    async with bus_on(cast.address) as writer:
        await begun(writer)
        await writer.publish(message(101))
    async with bus_on(cast.address) as reader, bus_on(cast.address) as again:
        assert (await reader.snapshot()).rev == 101
        assert await anext(reader.links()) == "degraded"
        await again.lead(Claim("second"))
        await reader.snapshot()
        assert await anext(reader.links()) == "ok"


async def test_a_reader_that_finds_no_epoch_looks_for_another_server_after_a_while(cast, tmp_path):
    """A master that came back empty is one until the Sentinels notice, and nobody writes to it any more."""
    path = tmp_path / "moves"
    proxy = Proxy(path, tmp_path / "s")
    clock = ManualClock()
    async with proxy, bus_on(Address.parse(f"unix://{path}"), clock) as reader, bus_on(cast.address) as writer:
        asked = asyncio.create_task(reader.snapshot())
        server = reader.follower._server
        await until(lambda: server.connects == 1)
        clock.advance(SILENT_S)
        await until(lambda: server.connects == 2)
        await begun(writer)
        async with asyncio.timeout(20):
            assert (await asked).epoch == EPOCH


async def test_what_is_wanted_expires(cast):
    bus = RedisBus(cast.address, SystemClock(), want_ms=30)
    await bus.want("a", frozenset({"500325"}))

    async def nothing() -> bool:
        return await bus.wanted() == frozenset()

    await until(nothing)
    await bus.close()


async def test_a_wish_fails_with_nobody(tmp_path):
    async with bus_on(Address.parse(f"unix://{tmp_path}/nothing")) as bus:
        await bus.want("a", frozenset({"500325"}))
        assert await bus.wanted() == frozenset()


# -- failover -----------------------------------------------------------------------------------------------------------------


async def test_a_server_that_still_takes_itself_for_the_master_is_left_when_the_sentinels_name_another(watched):
    first, second = (each.client.get_connection_kwargs()["port"] for each in watched.servers)
    named = [first]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Be a Sentinel, which nobody else listens to."""
        while (await reader.read(1024)).startswith(b"*3\r\n$8\r\nSENTINEL"):
            writer.write(b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%d\r\n" % (len(str(named[0])), named[0]))
        writer.close()

    sentinel = await asyncio.start_server(answer, "127.0.0.1", 0)
    server = Server(Address.parse(f"redis+sentinel://127.0.0.1:{sentinel.sockets[0].getsockname()[1]}/board"), "key")

    async def port() -> int:
        told = await server.call(lambda client: client.info("server"))
        return int(told["tcp_port"])

    async def is_at_the_second() -> bool:
        return await port() == second

    assert await port() == first
    named[0] = second
    await until(is_at_the_second, but=FAILURES)
    sentinel.close()
    assert await port() == second, "where nobody can say, it is still the one"
    await server.close()


async def test_a_failover_that_loses_the_tail_loses_nothing(watched):
    master, replica = watched.servers
    async with bus_on(watched.address, ManualClock()) as writer, bus_on(watched.address) as reader:
        await begun(writer)
        await writer.publish(message(101, changes=[change(101, {0: 510})]))
        await writer.flush()
        replica.signal(signal.SIGSTOP)
        await writer.publish(message(102, changes=[change(102, {0: 520})]))
        await writer.flush()
        assert (await reader.snapshot()).rev == 102
        master.kill()
        replica.signal(signal.SIGCONT)
        after = await asyncio.wait_for(_told_of(writer, reader), 60)
        assert (after.epoch, after.rows[0].values[0]) == (EPOCH, 530)
        assert after.rows[0].revs[0] == 103


async def _told_of(writer: RedisBus, reader: RedisBus):
    await writer.publish(message(103, changes=[change(103, {0: 530})]))
    return await reader.snapshot(Position(EPOCH, 103))
