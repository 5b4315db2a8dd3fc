"""Market-wide halts: when the index has moved too far, everything stops, and reopens through a call auction."""

from typing import Final, NamedTuple

from bhavcast.domain.calendar import ist
from bhavcast.domain.session import AUCTION_AFTER_HALT_MINUTES, Phase, halt_minutes

LEVELS: Final = (10, 15, 20)
_MINUTE: Final = 60_000


class Halt(NamedTuple):
    """From `start` until before `end` every scrip is in `phase`: halted, or auction_after_halt."""

    start: int
    end: int
    phase: Phase


class Breaker:
    """The day's halts. Each level halts once; a higher one may follow."""

    def __init__(self) -> None:
        self.halts: list[Halt] = []
        self.passed = 0

    def new_day(self) -> None:
        """Forget yesterday's."""
        self.halts = []
        self.passed = 0

    def next_level(self) -> int | None:
        """Return the per cent of the index that would halt the market next."""
        return next((level for level in LEVELS if level > self.passed), None)

    def resume(self, level: int, interrupted: bool, now: int, session_end: int) -> None:
        """Go on after a restart: the index stands beyond `level`; an interrupted halt begins anew."""
        self.passed = level
        if interrupted:
            self.trip(level or LEVELS[0], now, session_end)

    def trip(self, percent: int, now: int, session_end: int) -> bool:
        """Halt from `now` on if the rules of the time of day say so; return whether they do."""
        self.passed = percent
        minutes = halt_minutes(percent, ist(now).time())
        if minutes == 0 or now >= session_end:
            return False
        self.halts = [Halt(held.start, min(held.end, now), held.phase) for held in self.halts if held.start < now]
        if minutes is None:
            self.halts.append(Halt(now, session_end, "halted"))
            return True
        end = min(now + minutes * _MINUTE, session_end)
        self.halts.append(Halt(now, end, "halted"))
        if end < session_end:
            auction = min(end + AUCTION_AFTER_HALT_MINUTES * _MINUTE, session_end)
            self.halts.append(Halt(end, auction, "auction_after_halt"))
        return True

    def phase(self, at: int) -> Phase | None:
        """Return the phase that a halt puts in place of the planned one."""
        return next((held.phase for held in self.halts if held.start <= at < held.end), None)

    def next_edge(self, after: int) -> int | None:
        """Return when a halt begins or ends next."""
        edges = [edge for held in self.halts for edge in (held.start, held.end) if edge > after]
        return min(edges, default=None)
