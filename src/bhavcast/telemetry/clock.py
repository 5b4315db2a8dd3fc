"""Clocks: the only place that asks the machine for the time.

Market time (phase, age, staleness) comes from a MarketClock, real or virtual; leases, timeouts and certificates use
wall time; intervals use monotonic time. All of them are injected, so a test can hold them still.
"""

import time
from typing import Final, Protocol

# A clock that differs from its own pace by more than this was set; by less it was slewed, or read late.
SET_BACK_MS: Final = 500


class Clock(Protocol):
    """The machine's two times."""

    def wall_ms(self) -> int:
        """Return Unix time in milliseconds; it can jump."""

    def monotonic(self) -> float:
        """Return seconds that only go forward, from an arbitrary origin."""


class SystemClock:
    """The real one."""

    def wall_ms(self) -> int:
        """Return Unix time in milliseconds; it can jump."""
        return time.time_ns() // 1_000_000

    # Seconds that only go forward, from an arbitrary origin; the function itself, for it is asked per request.
    monotonic = staticmethod(time.monotonic)


class ManualClock:
    """A clock that moves when told to: for tests, and where nothing waits."""

    def __init__(self, wall_ms: int = 1_795_000_000_000) -> None:
        self._wall_ms = wall_ms
        self._monotonic = 1000.0

    def wall_ms(self) -> int:
        """Return the time it was set to."""
        return self._wall_ms

    def monotonic(self) -> float:
        """Return the seconds it was moved forward by, from 1000."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Move both times forward."""
        self._wall_ms += round(seconds * 1000)
        self._monotonic += seconds

    def jump_wall(self, seconds: float) -> None:
        """Move the wall clock alone, as a clock correction does."""
        self._wall_ms += round(seconds * 1000)


class MarketClock:
    """The time on the exchange's wall, in milliseconds since the Unix epoch.

    Real: the machine's wall clock. Virtual: starts anywhere, runs at `speed`, driven by monotonic time, and may be
    set forward (`jump`) to the next session.
    """

    def __init__(self, clock: Clock, *, start_ms: int | None = None, speed: float = 1.0) -> None:
        self._clock = clock
        self._start_ms = start_ms
        self._origin = clock.monotonic()
        self._ahead = 0.0  # of a market time that was set back
        self._last = (0.0, 0)
        self.speed = speed

    @property
    def virtual(self) -> bool:
        """Whether this is not the machine's own time."""
        return self._start_ms is not None

    def now_ms(self) -> int:
        """Return market time in milliseconds since the Unix epoch."""
        if self._start_ms is None:
            return self._clock.wall_ms()
        return self._start_ms + int((self._clock.monotonic() - self._origin) * 1000 * self.speed)

    def steady_ms(self) -> int:
        """Return market time as another's clock would go on that nobody has set back: the exchange's, were it real."""
        at, now = self._clock.monotonic(), self.now_ms()
        then, last = self._last
        went = (at - then) * 1000 * self.speed
        back = last + went - now if last else 0.0
        if back > SET_BACK_MS:
            self._ahead += back
        elif back < -SET_BACK_MS:
            self._ahead = max(0.0, self._ahead + back)
        self._last = (at, now)
        return now + int(self._ahead)

    def jump(self, to_ms: int) -> None:
        """Set a virtual clock forward; a real one and a step back are refused."""
        if self._start_ms is None:
            raise ValueError("a real market clock cannot be set")
        if to_ms < self.now_ms():
            raise ValueError("market time never goes back")
        self._start_ms, self._origin = to_ms, self._clock.monotonic()

    def follow(self, at_ms: int, *, virtual: bool, speed: float, anew: bool = False) -> None:
        """Go by what a clock elsewhere showed: it is at least `at_ms` there, or exactly that if the time begins `anew`.

        Between two such words a virtual clock runs on by itself; a real one is this machine's own. What is said arrives
        late by the length of the way, so the word that was least late counts.
        """
        if not virtual:
            self._start_ms, self.speed = None, 1.0
        elif anew or not self.virtual or speed != self.speed or at_ms > self.now_ms():
            self._start_ms, self._origin, self.speed = at_ms, self._clock.monotonic(), speed

    def state(self) -> dict[str, bool | float]:
        """Return what is published in `hello` and `/api/market/status`."""
        return {"virtual": self.virtual, "speed": self.speed}
