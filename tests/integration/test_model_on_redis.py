"""The schedules of the executable model, on a real Redis, with real writers, journals and readers.

A seed of `tests/model` draws its actions. Those that befall writers, Redis and gateways are done to real ones; what the
model says of the life of sessions has its own test on real sessions (tests/stream_world.py). The oracle's invariants
are watched by the readers: whoever saw the same revision saw equal values, nothing goes back unless it is known to be
lost, and once all is healed and quiet every reader has the writer's board.
"""

import asyncio
import contextlib
import gc
import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bhavcast.bus.address import Address
from bhavcast.domain import field
from bhavcast.domain.errors import Unavailable
from tests.integration.test_redis_line import LEASE, START, STREAM, Reader, Writer, _quiet
from tests.model.world import Pick, Plan, Schedule
from tests.proxy import Proxy
from tests.redis_servers import Cast, running
from tests.scripted_line import moment

pytestmark = pytest.mark.slow

WITHIN_S = 60.0
SYMBOLS = ("500325", "532540")


def streamed(seed: int) -> Schedule:
    """The schedule of the nearest seed whose world has Redis and whose clocks are right."""
    while not (plan := Plan.draw(seed)).stream or plan.clock_ahead:
        seed += 100_000
    return [(action, salt) for action, salt in plan.schedule if hasattr(Stage, action)]


class Stage:
    """One Redis, a writer behind a wire of its own, another host that may take over, two readers."""

    def __init__(self, cast: Cast, folder: Path, wire: Proxy) -> None:
        self.cast, self.folder, self.wire = cast, folder, wire
        self.direct = cast.address
        self.saw: dict[tuple[str, str, int], list[field.Value]] = {}
        self.readers = [Reader(cast, self.saw) for _ in range(2)]
        self.log: list[str] = []
        self.synced: dict[Path, int] = {}
        self.boots = {"one": 0, "two": 0}
        self.now = moment(START)
        self.writer: Writer

    async def begin(self, name: str) -> None:
        """Start the ingest of a host; whoever stands by waits for the lease, as ever."""
        self.cast.address = Address.parse(f"unix://{self.wire.path}")
        self.writer = Writer(self.cast, self.folder, name, boot_id=f"boot {self.boots[name]}")
        self.cast.address = self.direct
        self.writer.line.go_to(self.now)
        await self.writer.start()
        self.synced = self._journals()

    def _journals(self) -> dict[Path, int]:
        """The files of this host's journal, with their sizes."""
        found = (self.folder / self.writer.name).glob("*.journal")
        return {path: path.stat().st_size for path in found}

    async def price(self, pick: Pick, after_ms: int) -> None:
        await self.writer.price(150_000 + 5 * pick.below(2000), pick.of(SYMBOLS), after_ms)
        self.now = self.writer.line.market.now_ms()

    # -- what the model does ------------------------------------------------------------------------------------------------

    async def tick(self, pick: Pick) -> None:
        for _ in range(pick.below(3) + 1):
            await self.price(pick, 20)

    async def pass_time(self, pick: Pick) -> None:
        await self.price(pick, 100 + pick.below(2500))

    async def maintain(self, pick: Pick) -> None:
        await self.price(pick, 1000)

    async def poll(self, pick: Pick) -> None:
        """Let the readers, and the sending, have a turn."""
        await asyncio.sleep(0.001 * pick.below(3))

    async def fsync(self, pick: Pick) -> None:
        self.writer.line.journal.sync()
        self.synced = self._journals()

    async def unlink(self, pick: Pick) -> None:
        if self.wire.refusing:
            self.wire.heal()
        else:
            self.wire.cut(refuse=True)

    async def send_slowly(self, pick: Pick) -> None:
        self.wire.lose_answers_to = b"XADD"

    async def save(self, pick: Pick) -> None:
        self.cast.servers[0].client.save()

    async def restart_redis(self, pick: Pick) -> None:
        self.cast.servers[0].kill()
        self.cast.servers[0].start()

    async def trim(self, pick: Pick) -> None:
        self.cast.servers[0].client.xtrim(STREAM, maxlen=pick.below(3), approximate=False)

    async def kill(self, pick: Pick) -> None:
        await self._die(self.writer.name)

    async def power_cut(self, pick: Pick) -> None:
        """Of what was not fsynced some is gone; that something may be is known by the boot id."""
        self.boots[self.writer.name] += 1
        for path, size in self._journals().items():
            kept = self.synced.get(path, size)
            os.truncate(path, kept + pick.below(size - kept + 1))
        await self._die(self.writer.name)

    async def _die(self, next_one: str) -> None:
        self.wire.heal()
        await self.writer.die()
        await self.begin(next_one)

    async def takeover(self) -> None:
        """Its lease runs out, and the other host begins."""
        self.cast.servers[0].client.delete(LEASE)
        await self._die({"one": "two", "two": "one"}[self.writer.name])

    async def kill_gateway(self, pick: Pick) -> None:
        number = pick.below(len(self.readers))
        await self.readers[number].close()
        self.readers[number] = Reader(self.cast, self.saw)

    # -- quiet --------------------------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        self.wire.heal()
        self.wire.lose_answers_to = b""
        async with asyncio.timeout(WITHIN_S):
            await self.price(Pick(0), 1000)
            while not await _quiet(self.writer):
                await self.price(Pick(0), 1000)
        for reader in self.readers:
            await reader.reaches(self.writer.board)


async def play(cast: Cast, folder: Path, seed: int) -> None:
    rng = random.Random(seed)
    async with Proxy(folder / "wire", cast.servers[0].folder / "s") as wire:
        stage = Stage(cast, folder, wire)
        await stage.begin("one")
        try:
            for action, salt in streamed(seed):
                stage.log.append(action)
                act: Callable[[Pick], Awaitable[None]] = getattr(stage, action)
                await act(Pick(salt))
                if action in ("kill", "power_cut") and rng.random() < 0.3:
                    stage.log.append("takeover")
                    await stage.takeover()
            await stage.settle()
        finally:
            print(f"seed {seed}: {' '.join(stage.log)}")  # shown where it fails
            for reader in stage.readers:
                await reader.close()
            with contextlib.suppress(Unavailable):
                await stage.writer.bus.close()


@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(n, marks=pytest.mark.slow) for n in range(3, 40))])
async def test_a_schedule_of_the_model_comes_to_rest_on_a_real_bus(seed, tmp_path):
    for cast in running("standalone", tmp_path / "redis"):
        await play(cast, tmp_path, seed)
    gc.collect()  # here, where its warnings are expected, and not in another test
