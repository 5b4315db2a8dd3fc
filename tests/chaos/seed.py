"""One seed: the system comes up, faults come and go, it must be whole again, and all must see the same."""

import asyncio
import contextlib
import random
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bhavcast.board import encode
from bhavcast.board.board import Board
from bhavcast.domain.errors import BadRecord
from bhavcast.domain.position import Position
from bhavcast.domain.shape import Shape, parse_fields
from bhavcast.journal import reader
from bhavcast.journal.layout import SEALED_SUFFIX, SUFFIX
from tests.chaos.faults import Draw, Fault
from tests.chaos.oracle import Oracle
from tests.chaos.processes import Actor
from tests.chaos.pulse import Pulse
from tests.chaos.ticks import step_at
from tests.chaos.watchers import Watcher
from tests.chaos.world import TOPOLOGIES, World

CLIENTS: Final = 200
WHOLE_WITHIN_S: Final = 5.0
GIVE_UP_S: Final = 30.0
SETTLED_WITHIN_S: Final = 10.0
LOOK_S: Final = 0.05
STOOD_STILL_S: Final = 0.5
CHANCES: Final = dict(zip(TOPOLOGIES, (35, 25, 20, 20), strict=True))


@dataclass
class Outcome:
    """What a seed came to."""

    seed: int
    topology: str
    whole_within_s: float = WHOLE_WITHIN_S  # who judges no seconds sets it higher before the run
    schedule: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    whole_s: float = 0.0  # after the last fault was lifted
    waited_s: float = 0.0  # that the machine kept a process of it waiting meanwhile
    stood_s: float = 0.0  # longest time that this process stood still
    took_s: float = 0.0
    observed: int = 0
    epochs: int = 0
    resumed: int = 0
    denied: int = 0
    folder: Path | None = None

    @property
    def time(self) -> str:
        """Say whether it was whole in time: `yes`, `no`, or `unknown` where the machine may have kept it from that."""
        if self.whole_s <= self.whole_within_s:
            return "yes"
        return "no" if self.whole_s - self.waited_s - self.stood_s > self.whole_within_s else "unknown"


class Run:
    """A seed that runs."""

    def __init__(
        self,
        seed: int,
        *,
        topology: str | None = None,
        kinds: tuple[str, ...] = (),
        clients: int = CLIENTS,
        pids: Path | None = None,
    ) -> None:
        self.rng = random.Random(seed)
        drawn = self.rng.choices(list(CHANCES), list(CHANCES.values()))[0]
        self.out = Outcome(seed, topology or drawn)
        self.oracle, self.pulse = Oracle(), Pulse()
        self.world = World(seed, self.out.topology, self.oracle, self.pulse, pids)
        urls = [each.url.replace("http", "ws", 1) + "/ws" for each in self.world.gateways]
        self.watchers = [Watcher(n, seed, urls, self.world.ticks, self.oracle) for n in range(clients)]
        self.faults: list[Fault] = Draw(self.rng, self.world, self.watchers).schedule(kinds)
        self.out.schedule = [str(fault) for fault in self.faults]
        self._late = ""

    async def run(self) -> Outcome:
        """Run it to its end, whatever that is."""
        began = time.monotonic()
        try:
            async with self.pulse, self.world:
                await self._run()
        except Exception as error:  # noqa: BLE001 - boundary of a run: whatever it is, it has a seed
            self.oracle.object(f"the run ended with {error!r}")
        out = self.out
        self._read_logs()
        out.violations, out.took_s = self.oracle.violations, time.monotonic() - began
        out.observed = self.oracle.observed
        out.epochs = len({epoch for each in self.watchers for epoch in each.epochs})
        out.resumed = sum(each.resumed for each in self.watchers)
        out.denied = sum(each.denied for each in self.watchers)
        if out.violations:
            out.folder = self.world.folder
        else:
            self.world.remove()
        return out

    async def _run(self) -> None:
        watching = [asyncio.create_task(each.run(), name=each.name) for each in self.watchers]
        try:
            await self._becomes_whole()
            await self._suffer()
            self.pulse.stood, lifted, waited = 0.0, time.monotonic(), self.world.processes.waited_s()
            await self._becomes_whole()
            self.out.whole_s = time.monotonic() - lifted
            self.out.waited_s, self.out.stood_s = self.world.processes.waited_s() - waited, self.pulse.stood
            if self.out.time == "no":
                self.oracle.object(f"whole again only after {self.out.whole_s:.2f} s: {self._late}")
            await self._comes_to_rest()
        finally:
            for task in watching:
                task.cancel()
            for told in await asyncio.gather(*watching, return_exceptions=True):
                if isinstance(told, Exception):
                    self.oracle.object("a client broke: " + "".join(traceback.format_exception(told)[-3:]))
            await asyncio.gather(*(each.client.aclose() for each in self.watchers), return_exceptions=True)
        await self.world.end(*self.world.gateways)

    # -- faults -------------------------------------------------------------------------------------------------------

    async def _suffer(self) -> None:
        began = time.monotonic()
        steps = [(fault.at, fault.begin) for fault in self.faults] + [
            (fault.until, fault.lift) for fault in self.faults
        ]
        for at, step in sorted(steps, key=lambda step: step[0]):
            await asyncio.sleep(began + at - time.monotonic())
            await step()

    async def _becomes_whole(self) -> None:
        """Wait until both gateways are well, and every client is complete and hears what is said now."""
        step = step_at(time.time())
        ends = self.pulse.lived - self.world.processes.waited_s() + GIVE_UP_S
        while True:
            behind = [each for each in self.watchers if not (each.state.complete and each.newest >= step)]
            troubles = await self.world.troubles()
            if not (behind or troubles):
                return
            troubles += [f"{len(behind)} clients are behind, first {behind[0]}"] if behind else []
            self._late = "; ".join(troubles)
            # What the machine keeps a process waiting is not the system's: it gets that time on top.
            if self.pulse.lived - self.world.processes.waited_s() > ends:
                raise TimeoutError(
                    f"not whole within {GIVE_UP_S:g} s: {self._late}; " + "; ".join(map(str, behind[:5]))
                )
            await asyncio.sleep(LOOK_S)

    # -- at rest --------------------------------------------------------------------------------------------------------

    async def _comes_to_rest(self) -> None:
        world = self.world
        for each in self.watchers:
            each.fickle = False
        world.quiet()
        await asyncio.sleep(0.5)
        rest = {gateway.name: await self._rows_at_rest(gateway) for gateway in world.gateways}
        for ingest in reversed(world.ingests):
            await world.end(ingest)
        board = await self._board()
        await self._settle(board)
        for name, rows in rest.items():
            for symbol, row in rows.items():
                if row["rev"] == board.rows[symbol].rev:
                    self.oracle.at_rest(name, row, encode.full(board.rows[symbol], Shape(depth=5)), None)
        for ingest in world.ingests:
            self._check_journal(ingest)
        if world.topology != "standby" and all(fault.keeps_epoch for fault in self.faults):
            epochs = {epoch for each in self.watchers for epoch in each.epochs}
            if len(epochs) > 1 and self.pulse.longest < STOOD_STILL_S:
                self.oracle.object(f"nothing ended the epoch, and there were {len(epochs)}")

    async def _rows_at_rest(self, gateway: Actor) -> dict[str, dict[str, Any]]:
        """Return what HTTP says, once the bus is heard: else rows are overlaid as stale. Sentinel may move things late."""
        ends = self.pulse.lived + SETTLED_WITHIN_S
        while True:
            before, rows = await self.world.trouble(gateway), await self.world.rows(gateway)
            trouble = before or await self.world.trouble(gateway)
            if not trouble:
                return rows
            if self.pulse.lived > ends:
                self.oracle.object(f"at rest, {trouble}")
                return rows
            await asyncio.sleep(LOOK_S)

    async def _board(self) -> Board:
        """Return the board as it is in the journal of whoever wrote last: the one that gateways come to serve."""
        boards = []
        for each in self.world.ingests:
            found = reader.recover(self.world.disks[each.name].path / "data" / "journal", "").snapshot
            if found is not None:
                boards.append(Board())
                boards[-1].load(found)
        served, ends = "", self.pulse.lived + SETTLED_WITHIN_S
        while self.pulse.lived < ends:
            served = await self.world.position(self.world.gateways[0])
            for board in boards:
                if str(board.position) == served:
                    return board
            await asyncio.sleep(LOOK_S)
        if any(board.epoch == Position.parse(served).epoch and str(board.position) != served for board in boards):
            return await self.world.board()  # whoever wrote last ended as an orphan, and its journal goes further
        raise AssertionError(f"journals end at {[str(board.position) for board in boards]}, and {served} is served")

    async def _settle(self, board: Board) -> None:
        """Wait until every client holds what the board says; object where it does not."""
        ends = self.pulse.lived + SETTLED_WITHIN_S
        left = self.watchers
        while left and self.pulse.lived < ends:
            left = [each for each in left if any(held != row for held, row in self._pairs(each, board))]
            await asyncio.sleep(LOOK_S)
        for each in left:
            for held, row in self._pairs(each, board):
                if held != row:
                    self.oracle.at_rest(each.name, held, row, each.client.position)

    def _pairs(self, watcher: Watcher, board: Board) -> list[tuple[Any, dict[str, Any]]]:
        state = watcher.state
        shape = Shape(parse_fields(state.fields), state.depth)
        wanted = [symbol for symbol in state.subscribed if symbol in board.rows]
        if "*" in state.subscribed:
            wanted = self.world.ticks.symbols
        elif "group:A" in state.subscribed:
            wanted = [symbol for symbol in self.world.ticks.symbols if board.rows[symbol].instrument.group == "A"]
        return [(state.quotes.get(symbol), encode.full(board.rows[symbol], shape)) for symbol in wanted]

    def _check_journal(self, ingest: Actor) -> None:
        """Whatever was once synced must be there, whole."""
        told, folder = (
            self.world.folder / ingest.name / "synced",
            self.world.disks[ingest.name].path / "data" / "journal",
        )
        synced: dict[str, int] = {}
        for line in told.read_text().splitlines() if told.exists() else []:
            name, _, end = line.rpartition(" ")
            synced[name] = max(int(end), synced.get(name, 0))
        for name, safe in synced.items():
            path = folder / name
            if not path.exists():
                path = folder / (name.removesuffix(SUFFIX) + SEALED_SUFFIX)
            last = 0
            with contextlib.suppress(BadRecord):
                try:
                    for record in reader.records(path):
                        last = record.end
                except OSError as error:
                    self.oracle.object(f"{ingest.name}: a journal of which {safe} bytes were synced is gone: {error}")
                    continue
            if last < safe:
                self.oracle.object(f"{ingest.name}: {name} is whole to byte {last}, and was synced to {safe}")

    def _read_logs(self) -> None:
        for each in self.world.processes.all.values():
            text = each.log.read_text(errors="replace") if each.log.exists() else ""
            if "Traceback" in text:
                self.oracle.object(f"{each.name} has a traceback in its log: {each.log}")
