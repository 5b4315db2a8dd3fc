"""The access log: what succeeded is added up per second by route, key and status; everything else stands singly.

Neither holds a key, nor a query string: those are nobody's but the client's.
"""

import asyncio
import re
from typing import Any, Final

import structlog

from bhavcast.domain.access import PREFIX

log = structlog.get_logger()

EVERY_S: Final = 1.0
SINGLY: Final = 200  # refusals a second that are logged one by one; a flood is only counted, or it would fill the disk


_KEYS: Final = re.compile(re.escape(PREFIX) + r"[\w-]*")


def shown(path: str) -> str:
    """Return a path as it may stand in a log: bounded, and without a key that somebody put there."""
    return _KEYS.sub(PREFIX + "…", path)[:200]


class Tally:
    """How many requests of one route, key and status succeeded since the last look."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class AccessLog:
    """Collects what `flush` writes once a second, and writes the rest at once."""

    def __init__(self, *, enabled: bool = True) -> None:
        self._enabled = enabled
        self._tallies: dict[tuple[str, str, int], Tally] = {}
        self._refused = 0

    def tally(self, route: str, who: str, status: int) -> Tally:
        """Return what counts the successes of a route, key and status."""
        key = (route, who, status)
        found = self._tallies.get(key)
        if found is None:
            found = self._tallies[key] = Tally()
        return found

    def refused(self, route: str, status: int, **told: Any) -> None:
        """Log one request that did not succeed."""
        self._refused += 1
        if self._enabled and self._refused <= SINGLY:
            log.info("request", route=route, status=status, **told)

    def flush(self) -> None:
        """Write the sums."""
        for (route, who, status), tally in self._tallies.items():
            if tally.count:
                taken, tally.count = tally.count, 0
                if self._enabled:
                    log.info("requests", route=route, key=who, status=status, count=taken)
        if self._enabled and self._refused > SINGLY:
            log.info("requests not logged singly", count=self._refused - SINGLY)
        self._refused = 0

    async def run(self) -> None:
        """Flush once a second."""
        while True:
            await asyncio.sleep(EVERY_S)
            self.flush()
