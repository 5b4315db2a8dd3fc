"""The scrips of one class, which go through the day's phases together, and how often each of them acts."""

from bisect import bisect_right
from random import Random
from typing import Final

from bhavcast.domain.calendar import ist
from bhavcast.domain.hours import random_minutes, rules_of
from bhavcast.domain.session import Phase, ScripClass, Window
from bhavcast.feeds.sim.scrip import Scrip
from bhavcast.feeds.sim.volume import intensity, share

# A: how busy order entry of each kind is against the mean of continuous trading.
ENTRY_PACE: Final[dict[Phase, float]] = {
    "pre_open_entry": 0.7,
    "cas_entry": 1.5,
    "auction_after_halt": 1.5,
    "post_close": 0.04,
}
# Slots of the table of activity per scrip: the least active of a market still gets a few.
SLOTS: Final = 32
FOREVER: Final = 1 << 62
_MINUTE: Final = 60_000


class Group:
    """`part` is its part of the whole market's activity; `credit` counts the ticks that are due, in parts of one."""

    def __init__(self, cls: ScripClass, scrips: list[Scrip], everything: float) -> None:
        self.cls = cls
        self.scrips = scrips
        self.weight = sum(scrip.weight for scrip in scrips)
        self.part = self.weight / everything
        self.bits = max(10, (len(scrips) * SLOTS - 1).bit_length())
        self.table = _table(scrips, self.weight, 1 << self.bits)
        self.windows: tuple[Window, ...] = ()
        self._starts: list[int] = []
        self._entry_ends: dict[int, int] = {}
        self.phase: Phase = "closed"
        self.pace = 0.0
        self.credit = 0.0
        self.marked = False  # whether the period of the close has begun

    def new_day(self, windows: tuple[Window, ...], chance: Random) -> None:
        """Take the day's timetable; order entry of auctions ends at a random moment of its last minutes."""
        self.windows = windows
        self._entry_ends = {window.start: _entry_end(self.cls, window, chance) for window in windows}
        self._starts = [window.start for window in windows]
        self.phase = "closed"
        self.pace = self.credit = 0.0
        self.marked = False

    def planned(self, at: int) -> Phase:
        """Return the phase by the timetable."""
        window = self._window(at)
        return "closed" if window is None else window.phase

    def over(self, at: int) -> bool:
        """Return whether the last phase of the day has ended."""
        return bool(self.windows) and at >= self.windows[-1].end

    def _window(self, at: int) -> Window | None:
        found = bisect_right(self._starts, at) - 1
        return self.windows[found] if found >= 0 and at < self.windows[found].end else None

    def _entry_end(self, at: int) -> int:
        """Return when the entry of orders ends in the phase of `at`; not at all within a market-wide halt."""
        window = self._window(at)
        return self._entry_ends[window.start] if window is not None and window.phase == self.phase else FOREVER

    @property
    def session(self) -> tuple[int, int]:
        """From when to when continuous trading is planned; (0, 0) without any."""
        for window in self.windows:
            if window.phase == "continuous":
                return window.start, window.end
        return 0, 0

    def busy(self, at: int) -> float:
        """Return how busy the group is against the mean of continuous trading, by phase and time of day."""
        if self.phase != "continuous":
            return ENTRY_PACE.get(self.phase, 0.0) if at < self._entry_end(at) else 0.0
        start, end = self.session
        return intensity((at - start) / (end - start))

    def work(self, start: int, end: int) -> float:
        """Return the busy time between two moments of the present phase: mean-of-the-day milliseconds."""
        if self.phase != "continuous":
            return ENTRY_PACE.get(self.phase, 0.0) * max(0, min(end, self._entry_end(start)) - start)
        opens, closes = self.session
        length = closes - opens
        return share((start - opens) / length, (end - opens) / length) * length


def _entry_end(cls: ScripClass, window: Window, chance: Random) -> int:
    spread = random_minutes(rules_of(ist(window.start).date()), cls, window.phase) * _MINUTE
    return window.end - int(chance.random() * spread)


def _table(scrips: list[Scrip], weight: float, slots: int) -> list[Scrip]:
    """Return scrips as often as they act: a uniform index into the table draws the next one that does."""
    table: list[Scrip] = []
    done = 0.0
    for scrip in scrips:
        done += scrip.weight
        until = max(len(table) + 1, round(done / weight * slots))
        table.extend([scrip] * (min(until, slots) - len(table)))
    table.extend([scrips[0]] * (slots - len(table)))
    return table
