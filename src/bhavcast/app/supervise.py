"""Keep processes running: start them, start again what ends, say what is in trouble, and stop everything in order.

A role says itself when it is ready (`app.notify`), or is asked (`Role.answers`). What ends is started again at once,
then after longer and longer; what ends over and over without ever having run steadily is in a *crash loop*, which
stands in the log, in a file that gateways show in `/health`, and in a metric. No role outlives this process, however
it ends (`app.tether`).
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import structlog

from bhavcast.app import notify, tether
from bhavcast.domain.errors import UnknownFormat
from bhavcast.domain.format import ROLES
from bhavcast.telemetry.clock import Clock

log = structlog.get_logger()

State = Literal["starting", "up", "restarting", "crash_loop", "stopped"]

FIRST_S: Final = 0.1
LONGEST_S: Final = 10.0
# Who ran for so long since being ready ended by accident; who did not, so many times in a row, cannot run as it is.
STEADY_S: Final = 10.0
LOOP: Final = 5
ASK_S: Final = 0.01
IMPATIENT_S: Final = 30.0
# Exit codes of a program that said why it will not run (wrong settings, a port in use): no use in trying that again.
REFUSALS: Final = (2, 3)


@dataclass(frozen=True)
class Role:
    """One process to keep running.

    `stage`: at a stop the processes of a higher stage go first, and have gone before those of the next are asked to.
    `answers` asks whether it is ready; None: it says so itself.
    """

    name: str
    command: Sequence[str]
    stage: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    answers: Callable[[], Awaitable[bool]] | None = None
    stops_within: float = 6.0


class Restarts:
    """How long to wait before the next start, and whether that is a crash loop; told when a run is over."""

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        self._chance = chance
        self._short = 0
        self.count = 0

    def ended(self, steady_s: float) -> float:
        """Count a run that was ready for so long; return the seconds to wait."""
        self.count += 1
        self._short = 1 if steady_s >= STEADY_S else self._short + 1
        return min(LONGEST_S, FIRST_S * 2.0 ** min(self._short - 1, 32)) * (1 + self._chance()) / 2

    @property
    def looping(self) -> bool:
        """Whether it ends over and over."""
        return self._short >= LOOP


class _Ear(asyncio.DatagramProtocol):
    def __init__(self, hear: Callable[[dict[str, str]], None]) -> None:
        self._hear = hear

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._hear(notify.facts_of(data))


class Child:
    """One role as it runs."""

    def __init__(self, role: Role, keeper: "Supervisor") -> None:
        self.role = role
        self.state: State = "starting"
        self.status = ""
        self.restarts = Restarts(keeper.chance)
        self.code: int | None = None
        self.process: asyncio.subprocess.Process | None = None
        self._keeper = keeper
        self._ready = asyncio.Event()
        self._ready_at = 0.0

    @property
    def pid(self) -> int | None:
        """The process, None while there is none."""
        return None if self.process is None or self.process.returncode is not None else self.process.pid

    async def run(self) -> None:
        """Keep it running; return when it is not to be started again."""
        address = self._keeper.folder / f"{self.role.name}.notify"
        address.unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        ear, _ = await loop.create_datagram_endpoint(
            lambda: _Ear(self._hear), local_addr=str(address), family=socket.AF_UNIX
        )
        try:
            while not self._keeper.stopping:
                await self._once(address)
        finally:
            ear.close()
            address.unlink(missing_ok=True)

    async def _once(self, address: Path) -> None:
        """Run it until it ends, and wait until it may be started again."""
        self._ready.clear()
        clock = self._keeper.clock
        again = {notify.AGAIN: "1"} if self._ready_at else {}
        self.process = process = await self._keeper.spawn(self.role, {notify.VARIABLE: str(address), **again})
        if self._keeper.stopping:  # meanwhile: who had to stop it did not see it
            self.send(signal.SIGKILL)
        watch = asyncio.create_task(self._watch())
        try:
            self.code = await process.wait()
        finally:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch
        was_up = self._ready.is_set()
        if self._keeper.stopping:
            self._become("stopped")
            return
        if not was_up and self.code in REFUSALS and not self._keeper.whole.is_set():
            self._become("stopped")
            self._keeper.give_up(self.code)
            return
        pause = self.restarts.ended(clock.monotonic() - self._ready_at if was_up else 0.0)
        self._become("crash_loop" if self.restarts.looping else "restarting")
        log.warning(
            "a role ended and is started again",
            role=self.role.name,
            ended=_ending(self.code),
            restarts=self.restarts.count,
            crash_loop=self.restarts.looping,
            wait_s=round(pause, 2),
        )
        await self._keeper.pause(pause)

    async def _watch(self) -> None:
        """See it become ready; say so when that takes long."""
        while True:
            try:
                async with asyncio.timeout(IMPATIENT_S):
                    await (self._ready.wait() if self.role.answers is None else self._ask(self.role.answers))
            except TimeoutError:
                log.warning("a role is not ready yet", role=self.role.name, pid=self.pid, after_s=IMPATIENT_S)
            else:
                break
        self._ready.set()
        self._ready_at = self._keeper.clock.monotonic()
        self._become("up")

    async def _ask(self, answers: Callable[[], Awaitable[bool]]) -> None:
        while not await answers():  # noqa: ASYNC110 - another process has no event of ours
            await asyncio.sleep(ASK_S)

    def _hear(self, facts: dict[str, str]) -> None:
        self.status = facts.get("STATUS", self.status)
        if facts.get("READY") == "1":
            self._ready.set()

    def _become(self, state: State) -> None:
        # Starting anew is told as what led to it, until it is up again: that is what someone looking wants to know.
        self.state = state
        self._keeper.changed(self)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it, if it is there."""
        if self.process is not None and self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    async def stop(self) -> None:
        """End it: ask, wait as long as it may take, then insist."""
        process = self.process
        if process is None or self.pid is None:
            return
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(self.role.stops_within):
                await process.wait()
        except TimeoutError:
            log.warning("a role did not stop in time and is killed", role=self.role.name, pid=process.pid)
            self.send(signal.SIGKILL)
            await process.wait()


class Supervisor:
    """Runs roles until told to stop.

    `folder` is for the sockets by which roles say that they are ready; the file `roles.json` in it says how they are.
    """

    def __init__(
        self, roles: Sequence[Role], folder: Path, clock: Clock, chance: Callable[[], float] = random.random
    ) -> None:
        self.folder = folder
        self.clock = clock
        self.chance = chance
        self.children = [Child(role, self) for role in roles]
        self.whole = asyncio.Event()  # set once everything has been up at the same time
        self._stop = asyncio.Event()
        self._code = 0
        self._lifeline: tuple[int, int] | None = None

    @property
    def stopping(self) -> bool:
        """Whether nothing is started any more."""
        return self._stop.is_set()

    async def run(self) -> int:
        """Run until `stop`, or until a role refuses to start; return the exit code."""
        self._lifeline = os.pipe()
        self._write()
        tasks = [asyncio.create_task(child.run(), name=child.role.name) for child in self.children]
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._stop.set()
            for stage in sorted({child.role.stage for child in self.children}, reverse=True):
                await asyncio.gather(*(child.stop() for child in self.children if child.role.stage == stage))
            ended = await asyncio.gather(*tasks, stopped, return_exceptions=True)
            for end in self._lifeline:
                os.close(end)
            (self.folder / FILE_NAME).unlink(missing_ok=True)
        for fault in ended:
            if isinstance(fault, BaseException):
                raise fault
        return self._code

    def stop(self) -> None:
        """End everything in order; idempotent."""
        self._stop.set()

    def give_up(self, code: int) -> None:
        """End everything with this exit code: a role said why it does not start."""
        self._code = code
        self._stop.set()

    def reload(self) -> None:
        """Have every role read again what it can read again."""
        for child in self.children:
            child.send(signal.SIGHUP)

    async def spawn(self, role: Role, environment: Mapping[str, str]) -> asyncio.subprocess.Process:
        """Start a role, tied to this process, in a session of its own: a terminal's Ctrl-C is for this process alone."""
        assert self._lifeline is not None
        lifeline = self._lifeline[0]
        tie = [sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), str(lifeline)]
        return await asyncio.create_subprocess_exec(
            *tie,
            *role.command,
            stdin=asyncio.subprocess.DEVNULL,
            env={**os.environ, **environment, **role.environment},
            start_new_session=True,
            pass_fds=[lifeline],
        )

    async def pause(self, seconds: float) -> None:
        """Wait, but not longer than until everything stops."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()

    def changed(self, child: Child) -> None:
        """Take note of a role's new state."""
        log.debug("a role changed", role=child.role.name, state=child.state, pid=child.pid)
        if all(each.state == "up" for each in self.children):
            self.whole.set()
        self._write()

    def _write(self) -> None:
        told = {
            child.role.name: {"state": child.state, "pid": child.pid, "restarts": child.restarts.count}
            for child in self.children
        }
        part = self.folder / f"{FILE_NAME}.part"
        part.write_text(json.dumps({"version": ROLES.written, "supervisor": os.getpid(), "roles": told}))
        part.replace(self.folder / FILE_NAME)


FILE_NAME: Final = "roles.json"


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Return how the roles on a data folder are, by name; nothing where no supervisor runs or its words are not known."""
    try:
        told = json.loads((folder / FILE_NAME).read_bytes())
        ROLES.check(told["version"], FILE_NAME)
        os.kill(told["supervisor"], 0)
        roles: dict[str, dict[str, Any]] = told["roles"]
    except (OSError, ValueError, LookupError, TypeError, UnknownFormat):
        return {}
    return roles


def _ending(code: int) -> str:
    return f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
