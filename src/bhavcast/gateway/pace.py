"""What drives the hub: each cohort flushed at its rate, snapshots pumped, heartbeats and the slow policy twice a second."""

import asyncio
from typing import Final

from bhavcast.hub.cohort import Cohort
from bhavcast.hub.hub import Hub

PUMP_S: Final = 0.005
# A laggard of a cohort that flushes at every batch is tried again after this, though no batch came.
RETRY_S: Final = 0.02


class Pace:
    """Runs beside `relay` on the same loop."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._tasks: dict[Cohort, asyncio.Task[None]] = {}
        self._news = asyncio.Event()
        self._fault: BaseException | None = None
        hub.opened = self._opened
        hub.noticed = self._news.set

    def _opened(self, cohort: Cohort) -> None:
        task = asyncio.get_running_loop().create_task(self._keep(cohort))
        self._tasks[cohort] = task
        task.add_done_callback(lambda done: self._ended(cohort, done))

    def _ended(self, cohort: Cohort, task: asyncio.Task[None]) -> None:
        self._tasks.pop(cohort, None)
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._fault = fault

    async def run(self) -> None:
        """Pump snapshots until cancelled; then stop the cohorts' tasks too. What goes wrong in one of them is raised."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                if self._fault is not None:
                    raise self._fault
                await asyncio.sleep(PUMP_S if self._hub.pumping else 10 * PUMP_S)
                for outbox in list(self._hub.pumping):
                    self._hub.pump(outbox, loop.time())
                    await asyncio.sleep(0)
        finally:
            for task in list(self._tasks.values()):
                task.cancel()

    async def _keep(self, cohort: Cohort) -> None:
        loop = asyncio.get_running_loop()
        period = 1 / cohort.hz if cohort.hz else 0.0
        due = loop.time() + period
        while cohort.members:
            if period:
                await asyncio.sleep(due - loop.time())
                # After a stall the rhythm begins anew; what was missed needs no flush of its own.
                due = max(due + period, loop.time())
            else:
                await self._batch(cohort)
            if cohort.due:
                for _ in cohort.flush(loop.time()):
                    await asyncio.sleep(0)

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
