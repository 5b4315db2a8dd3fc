"""Ingest, journal, Redis and readers together: what holds when any of them dies."""

import asyncio
import contextlib
import random
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bhavcast.board.board import Board
from bhavcast.bus.address import Address
from bhavcast.bus.port import Link
from bhavcast.bus.redis import RedisBus
from bhavcast.domain import field
from bhavcast.domain.calendar import ist
from bhavcast.domain.change import Message
from bhavcast.domain.errors import NotTheWriter, Unavailable
from bhavcast.flow import relay
from bhavcast.telemetry.clock import SystemClock
from tests.redis_servers import Cast, on_port, redis_binary, running
from tests.scripted_line import Line, moment
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

START = "2026-11-23 10:00:00"
LEASE, STREAM, TOKEN = "{bhavcast}:lease", "{bhavcast}:stream", "{bhavcast}:token"


@pytest.fixture
def cast(tmp_path):
    yield from running("standalone", tmp_path / "redis")


class Writer:
    """An ingest on its own data directory, with its own end of the bus."""

    def __init__(self, cast: Cast, folder: Path, name: str, *, boot_id: str = "boot") -> None:
        self.name = name
        self.bus = RedisBus(cast.address, SystemClock(), alone=True)
        self.line = Line(folder / name, START, bus=self.bus, writer=name, boot_id=boot_id)

    @property
    def board(self) -> Board:
        return self.line.board

    async def start(self) -> "Writer":
        async with asyncio.timeout(30):
            await self.line.start()
        return self

    async def price(self, price: int, symbol: str = "500325", after_ms: int = 250) -> None:
        now = self.line.market.now_ms() + after_ms
        self.line.feed.steps = []
        await self.line.play((_text(now), [(symbol, {field.CURRENT_PRICE: price})]))

    def is_orphan(self) -> bool:
        return self.line.line.orphan is not None

    def journal_size(self) -> int:
        return self.line.journal.size

    async def die(self) -> None:
        """End as SIGKILL would end it: nothing more is said, and the lease stays until it expires."""
        await self.bus.publisher.stop()
        for end in self.bus.ends:
            await end.close()


def _text(ms: int) -> str:
    return ist(ms).replace(tzinfo=None).isoformat(" ")


class Reader:
    """An audience that checks what it is told against what anyone else was told."""

    def __init__(self, cast: Cast, saw: dict[tuple[str, str, int], list[field.Value]]) -> None:
        self.bus = RedisBus(cast.address, SystemClock())
        self.replica, self.saw = Board(), saw
        self.top = 0
        self.link: Link = "ok"
        self.restarts = 0
        self.task = asyncio.create_task(relay(self.bus, self.replica, self))

    def linked(self, link: Link) -> None:
        self.link = link

    def interest(self) -> frozenset[str]:
        return frozenset({"500325"})

    def restart(self, *, planned: bool) -> None:
        self.restarts += 1
        if self.replica.rev < self.top:
            assert self.bus.follower.lost, "nothing goes back unless it is known to be lost"
        self.hear(range(len(self.replica.order)), None)
        self.top = self.replica.rev

    def hear(self, slots: Iterable[int], message: Message | None) -> None:
        assert self.replica.rev >= self.top
        self.top = self.replica.rev
        for row in map(self.replica.order.__getitem__, slots):
            known = self.saw.setdefault((self.replica.epoch, row.symbol, row.rev), row.image().values)
            assert known == row.image().values, "whoever saw the same revision saw equal values"

    async def reaches(self, board: Board) -> None:
        async with asyncio.timeout(30):
            while self.replica.position != board.position:
                assert not self.task.done() or self.task.result()
                await asyncio.sleep(0.01)
        assert {row.symbol: (row.rev, list(row), row.revs) for row in self.replica.order} == {
            row.symbol: (row.rev, list(row), row.revs) for row in board.order
        }
        assert self.replica.facts == board.facts

    async def close(self) -> None:
        await self.bus.close()
        with contextlib.suppress(Unavailable):
            await self.task


@asynccontextmanager
async def reader_of(cast: Cast) -> AsyncIterator[Reader]:
    reader = Reader(cast, {})
    try:
        yield reader
    finally:
        await reader.close()


async def test_a_reader_ends_with_the_writers_board(cast, tmp_path):
    writer = await Writer(cast, tmp_path, "one").start()
    async with reader_of(cast) as reader:
        for price in range(151_000, 151_050, 5):
            await writer.price(price)
        await writer.bus.flush()
        await reader.reaches(writer.board)
        assert await writer.bus.wanted() == {"500325"}
    await writer.bus.close()


async def test_a_writer_that_is_killed_goes_on_in_its_epoch_with_what_only_its_journal_had(cast, tmp_path):
    writer = await Writer(cast, tmp_path, "one").start()
    async with reader_of(cast) as reader:
        await writer.price(151_000)
        await writer.bus.flush()
        cast.servers[0].signal(signal.SIGSTOP)
        await writer.price(151_500)
        cast.servers[0].client.connection_pool.disconnect()
        await writer.die()
        cast.servers[0].signal(signal.SIGCONT)
        again = await Writer(cast, tmp_path, "one").start()
        await again.bus.flush()
        assert again.board.epoch == writer.board.epoch
        assert again.line.value("500325", field.CURRENT_PRICE) == 151_500
        await reader.reaches(again.board)
        assert reader.restarts == 1
        await again.bus.close()


async def test_another_directory_takes_over_from_what_the_bus_holds(cast, tmp_path):
    one = await Writer(cast, tmp_path, "one").start()
    async with reader_of(cast) as reader:
        await one.price(151_000)
        await one.bus.flush()
        await one.die()
        cast.servers[0].client.delete(LEASE)
        two = await Writer(cast, tmp_path, "two").start()
        await two.bus.flush()
        assert two.board.epoch != one.board.epoch
        assert two.line.value("500325", field.CURRENT_PRICE) == 151_000
        await reader.reaches(two.board)
        await two.bus.close()


async def test_an_orphan_goes_on_for_its_journal_says_so_and_comes_back_with_a_new_epoch(cast, tmp_path):
    one = await Writer(cast, tmp_path, "one").start()
    await one.price(151_000)
    await one.bus.flush()
    cast.servers[0].client.delete(LEASE)
    two = await Writer(cast, tmp_path, "two").start()
    await two.bus.flush()
    epoch = one.board.epoch
    async with asyncio.timeout(10):
        while not one.is_orphan():
            await one.price(152_000 + 5 * (one.board.rev % 100))
            await asyncio.sleep(0)
    before = one.journal_size()
    await one.price(153_000)
    assert one.board.epoch == epoch
    assert one.journal_size() > before
    assert (await two.bus.snapshot()).epoch == two.board.epoch, "it harms nothing"
    await two.bus.close()
    async with asyncio.timeout(10):
        while one.is_orphan():
            await one.price(154_000, after_ms=1000)
    assert one.board.epoch != epoch
    assert "the lease was lost" in one.board.facts["gaps"][-1]["reason"]
    async with reader_of(cast) as reader:
        await one.bus.flush()
        await reader.reaches(one.board)
        assert reader.replica.rows["500325"][field.CURRENT_PRICE] == 154_000
    await one.bus.close()


async def test_an_orphan_comes_back_though_a_replica_does_not_answer(cast, tmp_path):
    port, master = on_port(redis_binary(), tmp_path / "master", "--repl-diskless-sync-delay", "0")
    _, replica = on_port(redis_binary(), tmp_path / "replica", "--replicaof", f"127.0.0.1 {port}")
    wait_until(lambda: replica.client.info("replication")["master_link_status"] == "up", "the replica follows")
    writer = await Writer(Cast(Address.parse(f"redis://127.0.0.1:{port}"), [master]), tmp_path, "one").start()
    await writer.price(151_000)
    await writer.bus.flush()
    epoch = writer.board.epoch
    replica.signal(signal.SIGSTOP)
    master.client.delete(TOKEN, LEASE)
    async with asyncio.timeout(20):
        while writer.board.epoch == epoch:
            await writer.price(152_000 + 5 * (writer.board.rev % 100))
            await asyncio.sleep(0)
    assert not writer.is_orphan()
    assert "the lease was lost" in writer.board.facts["gaps"][-1]["reason"]
    await writer.bus.close()


# -- schedules --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(n, marks=pytest.mark.slow) for n in range(4, 24))])
async def test_any_schedule_of_faults_comes_to_rest_with_equal_boards(cast, tmp_path, seed):
    """The model's actions, on real servers: whatever dies when, nobody sees two truths, and at rest all see one."""
    rng = random.Random(seed)
    saw: dict[tuple[str, str, int], list[field.Value]] = {}
    writer = await Writer(cast, tmp_path, "one").start()
    readers = [Reader(cast, saw) for _ in range(2)]
    server, log = cast.servers[0], ["start"]
    try:
        for _ in range(60):
            action = rng.choices(
                ["tick", "burst", "cut", "trim", "save", "back", "kill", "takeover"], [30, 10, 5, 4, 4, 1, 3, 1]
            )[0]
            log.append(action)
            if action == "tick":
                await writer.price(rng.randrange(150_000, 160_000, 5), rng.choice(("500325", "532540")))
                await asyncio.sleep(rng.choice((0, 0, 0.002)))
            elif action == "burst":
                for _ in range(rng.randint(2, 40)):
                    await writer.price(rng.randrange(150_000, 160_000, 5), after_ms=20)
            elif action == "cut":
                server.client.client_kill_filter(_type="normal", skipme=True)
            elif action == "trim":
                server.client.xtrim(STREAM, maxlen=rng.randint(0, 5), approximate=False)
            elif action == "save":
                server.client.save()
            elif action == "back":
                server.kill()
                server.start()
            else:
                await writer.die()
                if action == "takeover":
                    server.client.delete(LEASE)
                name = {"one": "two", "two": "one"}[writer.name] if action == "takeover" else writer.name
                now = writer.line.market.now_ms()
                writer = Writer(cast, tmp_path, name)
                writer.line.go_to(max(now, moment(START)))
                await writer.start()
        async with asyncio.timeout(30):
            await writer.price(150_000, after_ms=1000)
            while not await _quiet(writer):
                await writer.price(150_000, after_ms=1000)
        for reader in readers:
            await reader.reaches(writer.board)
    finally:
        print(f"seed {seed}: {' '.join(log)}")  # shown where it fails
        for reader in readers:
            await reader.close()
        await writer.bus.close()


async def _quiet(writer: Writer) -> bool:
    if writer.is_orphan():
        return False
    try:
        await writer.bus.flush()
    except (NotTheWriter, Unavailable):
        return False
    return True
