"""What can go wrong, and when it does: a schedule that a seed draws."""

import contextlib
import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from redis.exceptions import RedisError

from tests.chaos.processes import Actor
from tests.chaos.watchers import Watcher
from tests.chaos.world import BOOT, World

STREAM: Final = "{bhavcast}:stream"
LASTS_S: Final = 6.0  # in which faults begin


async def nothing() -> None:
    """Lift what passes by itself."""


@dataclass
class Fault:
    """One that begins and is lifted, in seconds of the run. `keeps_epoch`: nothing of it may end an epoch."""

    what: str
    at: float
    until: float
    begin: Callable[[], Awaitable[None]]
    lift: Callable[[], Awaitable[None]] = field(default=nothing)
    keeps_epoch: bool = False

    def __str__(self) -> str:
        return f"{self.at:.2f}-{self.until:.2f} {self.what}"


class Draw:
    """Draws faults for a world and its watchers."""

    def __init__(self, rng: random.Random, world: World, watchers: list[Watcher]) -> None:
        self._rng, self._world, self._watchers = rng, world, watchers

    def schedule(self, kinds: tuple[str, ...] = ()) -> list[Fault]:
        """Return three to six of them, in order; of `kinds`, or of all that this topology knows."""
        possible = [kind for kind in (kinds or tuple(CHANCES)) if self._is_possible(kind)]
        chances = [CHANCES[kind] for kind in possible]
        drawn: list[Fault] = []
        for kind in self._rng.choices(possible, chances, k=self._rng.randint(3, 6)):
            drawn += getattr(self, f"_{kind}")(self._rng.uniform(0, LASTS_S))
        return sorted(drawn, key=lambda fault: fault.at)

    def _is_possible(self, kind: str) -> bool:
        world = self._world
        return {
            "cut": bool(world.wires),
            "hold": bool(world.wires),
            "fill": all(disk.can_fill for disk in world.disks.values()),
            "failover": bool(world.sentinels),
        }.get(kind, True)

    # -- processes ----------------------------------------------------------------------------------------------------

    def _any(self) -> Actor:
        world = self._world
        return self._rng.choice([*world.ingests, *world.gateways, *world.servers])

    def _kill_of(self, actor: Actor, at: float) -> Fault:
        async def begin() -> None:
            actor.kill()

        async def lift() -> None:
            actor.start()

        keeps = actor not in self._world.servers
        return Fault(f"kill {actor.name}", at, at + self._rng.uniform(0, 1.5), begin, lift, keeps_epoch=keeps)

    def _kill(self, at: float) -> list[Fault]:
        return [self._kill_of(self._any(), at)]

    def _kill_two(self, at: float) -> list[Fault]:
        first, second = self._rng.sample([*self._world.ingests, *self._world.gateways, *self._world.servers], 2)
        return [self._kill_of(first, at), self._kill_of(second, at + self._rng.choice((0, 0, 0.05, 0.3)))]

    def _stop(self, at: float) -> list[Fault]:
        actor, seconds = self._any(), self._rng.choice((0.2, 1.0, 2.0, 3.5, 5.0))

        async def begin() -> None:
            actor.stop()

        async def lift() -> None:
            actor.go_on()

        keeps = actor in self._world.gateways or seconds <= 1
        return [Fault(f"stop {actor.name}", at, at + seconds, begin, lift, keeps_epoch=keeps)]

    def _end(self, at: float) -> list[Fault]:
        actor = self._rng.choice([*self._world.ingests, *self._world.gateways])

        async def begin() -> None:
            actor.ask_to_end()

        async def lift() -> None:
            actor.kill()
            actor.start()

        return [Fault(f"end {actor.name}", at, at + self._rng.uniform(0.5, 2.5), begin, lift, keeps_epoch=True)]

    def _power(self, at: float) -> list[Fault]:
        """Cut the power of an ingest's machine: what was written and not synced is gone, from anywhere in it on."""
        actor, world = self._rng.choice(self._world.ingests), self._world
        kept = self._rng.random()

        async def begin() -> None:
            actor.kill()
            home = world.folder / actor.name
            lose_unsynced(home / "synced", world.disks[actor.name].path / "data" / "journal", kept)
            (home / BOOT).write_text(f"boot-{at}")

        async def lift() -> None:
            actor.start()

        return [Fault(f"power cut of {actor.name}", at, at + self._rng.uniform(0.2, 2), begin, lift)]

    # -- links --------------------------------------------------------------------------------------------------------

    def _cut(self, at: float) -> list[Fault]:
        name, seconds = self._rng.choice(sorted(self._world.wires)), self._rng.choice((0.0, 0.3, 1.5, 4.0))
        wire = self._world.wires[name]

        async def begin() -> None:
            wire.refusing = True
            wire.cut()

        async def lift() -> None:
            wire.refusing = False

        keeps = name.startswith("gateway") or seconds < 1
        return [Fault(f"cut {name} off Redis", at, at + seconds, begin, lift, keeps_epoch=keeps)]

    def _hold(self, at: float) -> list[Fault]:
        name, seconds = self._rng.choice(sorted(self._world.wires)), self._rng.choice((0.2, 1.0, 3.5, 5.0))
        wire = self._world.wires[name]

        async def begin() -> None:
            wire.fall_silent()

        async def lift() -> None:
            wire.heal()

        keeps = name.startswith("gateway") or seconds < 1
        return [Fault(f"hold up {name} and Redis", at, at + seconds, begin, lift, keeps_epoch=keeps)]

    def _drop(self, at: float) -> list[Fault]:
        """Cut every connection to the servers, from their side."""

        async def begin() -> None:
            for each in self._world.servers:
                with contextlib.suppress(RedisError, OSError):
                    async with self._world.redis(each) as client:
                        await client.client_kill_filter(_type="normal", skipme=True)

        return [Fault("Redis drops its clients", at, at, begin, keeps_epoch=True)]

    def _hang_up(self, at: float) -> list[Fault]:
        some = [each for each in self._watchers if self._rng.random() < 0.5]

        async def begin() -> None:
            for each in some:
                each.cut()

        return [Fault(f"cut {len(some)} clients", at, at, begin, keeps_epoch=True)]

    # -- what Redis and the disk keep ---------------------------------------------------------------------------------

    def _save(self, at: float) -> list[Fault]:
        """Have Redis keep a dump, which it comes back with when it is killed later."""

        async def begin() -> None:
            for each in self._world.servers:
                with contextlib.suppress(RedisError, OSError):
                    async with self._world.redis(each) as client:
                        await client.save()

        return [Fault("Redis keeps a dump", at, at, begin, keeps_epoch=True)]

    def _trim(self, at: float) -> list[Fault]:
        left = self._rng.randint(0, 5)

        async def begin() -> None:
            for each in self._world.servers:
                with contextlib.suppress(RedisError, OSError):
                    async with self._world.redis(each) as client:
                        await client.xtrim(STREAM, maxlen=left, approximate=False)

        return [Fault(f"trim the stream to {left}", at, at, begin, keeps_epoch=True)]

    def _fill(self, at: float) -> list[Fault]:
        name = self._rng.choice(sorted(self._world.disks))
        disk = self._world.disks[name]

        async def begin() -> None:
            self._world.disk_was_full = True
            disk.fill()

        async def lift() -> None:
            disk.free()

        return [Fault(f"fill the disk of {name}", at, at + self._rng.uniform(0.3, 3), begin, lift)]

    def _failover(self, at: float) -> list[Fault]:
        """Let the master be away for so long that its replica takes over: dead, or only slow."""
        slow = self._rng.random() < 0.5
        seconds = self._rng.uniform(1.5, 4)
        chosen: list[Actor] = []

        async def begin() -> None:
            chosen.extend((await self._world.masters())[:1])
            for each in chosen:
                if slow:
                    each.stop()
                else:
                    each.kill()

        async def lift() -> None:
            for each in chosen:
                if slow:
                    each.go_on()
                else:
                    each.start()

        return [Fault(f"the master is {'stopped' if slow else 'killed'}", at, at + seconds, begin, lift)]


CHANCES: Final = {
    "kill": 30, "kill_two": 15, "stop": 15, "end": 6, "power": 6, "cut": 10, "hold": 8, "drop": 3, "hang_up": 6,
    "save": 4, "trim": 4, "fill": 8, "failover": 25,
}  # fmt: skip


def lose_unsynced(told: Path, journals: Path, kept: float) -> None:
    """Cut the journal that was written last down to what is synced, and a part of what was not."""
    lines = told.read_text().splitlines() if told.exists() else []
    if not lines:
        return
    name, _, end = lines[-1].rpartition(" ")
    path = journals / name
    if path.exists() and (size := path.stat().st_size) > int(end):
        os.truncate(path, int(end) + int((size - int(end)) * kept))
