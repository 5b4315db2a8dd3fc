"""Time as this process lived it: one that was made to stand still has not waited for anything meanwhile."""

import asyncio
import time
from typing import Final

BEAT_S: Final = 0.05
MOST_S: Final = 0.5  # of a beat that counts


class Pulse:
    """Counts lived seconds while it runs, and the longest time it stood still since that was last set to 0."""

    def __init__(self) -> None:
        self.lived = self.stood = self.longest = 0.0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Pulse":
        self._task = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()

    async def _beat(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(BEAT_S)
            passed = time.monotonic() - before
            self.lived += min(passed, MOST_S)
            self.stood = max(self.stood, passed - BEAT_S)
            self.longest = max(self.longest, self.stood)
