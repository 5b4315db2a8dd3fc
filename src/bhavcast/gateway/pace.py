"""What drives the hub: each cohort flushed at its rate, snapshots pumped, heartbeats and the slow policy twice a second."""

import asyncio
import math
import random
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

import structlog

from bhavcast.gateway.throttle import Throttle
from bhavcast.hub.cohort import Cohort
from bhavcast.hub.hub import Hub

log = structlog.get_logger()

JUDGE_S: Final = 1.0
# Between two pieces of one snapshot, and ten times as long between two looks for new ones. Measured, whoever asks for the
# whole market, 5,000 scrips, has it after 0.4 s; with 2 ms after 0.3 s, for half as much again of the loop under a storm.
PUMP_S: Final = 0.003
# A laggard of a cohort that flushes at every batch is tried again after this, though no batch came.
RETRY_S: Final = 0.02


def phase(taken: Iterable[float]) -> float:
    """Return the part of a period, from 0 to 1, that is furthest from those which others begin at."""
    points = sorted(taken)
    if not points:
        return random.random()  # gateways of one machine share its clock, and had better not flush together
    gaps = [(after - before, before) for before, after in pairwise([*points, points[0] + 1])]
    width, start = max(gaps, key=lambda gap: gap[0])
    return (start + width / 2) % 1


def moment(now: float, period: float, phase: float) -> float:
    """Return the first moment after `now` of a rhythm with this period, in seconds."""
    at = (math.floor(now / period - phase) + 1 + phase) * period
    return at if at > now else at + period  # by rounding


class Pace:
    """Runs beside `relay` on the same loop."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._tasks: dict[Cohort, asyncio.Task[None]] = {}
        self._phases: dict[Cohort, float] = {}
        self._news = asyncio.Event()
        self._fault: BaseException | None = None
        self._throttle = Throttle()
        hub.opened = self._opened
        hub.noticed = self._news.set

    def _opened(self, cohort: Cohort) -> None:
        self._phases[cohort] = phase(self._phases.values())
        task = asyncio.get_running_loop().create_task(self._keep(cohort))
        self._tasks[cohort] = task
        task.add_done_callback(lambda done: self._ended(cohort, done))

    def _ended(self, cohort: Cohort, task: asyncio.Task[None]) -> None:
        self._tasks.pop(cohort, None)
        self._phases.pop(cohort, None)
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._fault = fault

    async def run(self) -> None:
        """Pump snapshots until cancelled; then stop the cohorts' tasks too. What goes wrong in one of them is raised."""
        loop = asyncio.get_running_loop()
        judged = loop.time()
        try:
            while True:
                if loop.time() - judged >= JUDGE_S:
                    judged = loop.time()
                    self._judge()
                if self._fault is not None:
                    raise self._fault
                await asyncio.sleep(PUMP_S if self._hub.pumping else 10 * PUMP_S)
                for outbox in list(self._hub.pumping):
                    self._hub.pump(outbox, loop.time())
                    await asyncio.sleep(0)
        finally:
            for task in list(self._tasks.values()):
                task.cancel()

    def _judge(self) -> None:
        if self._throttle.judge():
            self._hub.cap = self._throttle.cap
            log.warning("pace of streams", hz=self._hub.cap or "as asked")

    async def _keep(self, cohort: Cohort) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while cohort.members:
            if pace := self._hub.pace(cohort.hz):
                # After a stall the rhythm goes on; what was missed needs no flush of its own.
                due = moment(max(due, loop.time()), 1 / pace, self._phases[cohort])
                await asyncio.sleep(due - loop.time())
            else:
                await self._batch(cohort)
                due = loop.time()
            if cohort.due:
                for _ in cohort.flush(loop.time()):
                    await asyncio.sleep(0)
                # It began too late, or took longer than until the next one.
                self._throttle.note(loop.time() - due - (1 / pace if pace else 0.0))

    async def _batch(self, cohort: Cohort) -> None:
        """Wait for the next batch of the bus, or for another try of the laggards."""
        if cohort.dirty:
            await asyncio.sleep(0)
            return
        self._news.clear()
        try:
            async with asyncio.timeout(RETRY_S if cohort.laggards else 1.0):  # not wait_for: 3.11 can lose a cancel
                await self._news.wait()
        except TimeoutError:
            return
