"""Overload: when flushes fall behind for seconds, every client is slowed down, step by step, and let go again later."""

from typing import Final

# What is still possible when nothing quicker is; frames per second.
STEPS: Final = (10.0, 5.0, 2.0, 1.0, 0.5)
BEHIND_S: Final = 0.5  # a flush that ends, or begins, so much later than it should
BEHIND_FOR: Final = 4  # judgements in a row, one a second, before a step down: a single stall is no overload
IN_TIME_S: Final = 0.1
IN_TIME_FOR: Final = 15  # judgements in a row before a step up: slow, or it would swing


class Throttle:
    """Decides from how late flushes are how often clients may be sent something. It never asks for the time."""

    def __init__(self) -> None:
        self.cap: float | None = None
        self._worst = 0.0
        self._behind = self._in_time = 0

    def note(self, late: float) -> None:
        """Take note of one flush, `late` seconds behind its time."""
        self._worst = max(self._worst, late)

    def judge(self) -> bool:
        """Look back on the last second; return whether the cap has changed."""
        worst, self._worst = self._worst, 0.0
        self._behind = self._behind + 1 if worst > BEHIND_S else 0
        self._in_time = self._in_time + 1 if worst < IN_TIME_S else 0
        step = -1 if self.cap is None else STEPS.index(self.cap)
        if self._behind >= BEHIND_FOR:
            step = min(step + 1, len(STEPS) - 1)
        elif self._in_time >= IN_TIME_FOR and step >= 0:
            step -= 1
        else:
            return False
        self._behind = self._in_time = 0
        before, self.cap = self.cap, None if step < 0 else STEPS[step]
        return self.cap != before
