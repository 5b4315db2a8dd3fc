"""What every scrip of a group does once, such as matching its auction: a few at each step, not all in one burst."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from bhavcast.domain.tick import Tick
from bhavcast.feeds.sim.scrip import Scrip

Action = Callable[[Scrip, int], Tick | None]


class Sweep:
    """An action of many scrips, told one after the other within about `over_ms`, in steps of `step_ms`."""

    def __init__(self, scrips: Sequence[Scrip], action: Action, over_ms: int, step_ms: int) -> None:
        self._left: Iterator[Scrip] = iter(scrips)
        self._action = action
        self._each = -(-len(scrips) * step_ms // over_ms)

    def step(self, now: int, out: list[Tick]) -> bool:
        """Do the next few; return whether there may be more."""
        some = list(islice(self._left, self._each))
        self._do(some, now, out)
        return len(some) == self._each

    def drain(self, now: int, out: list[Tick]) -> None:
        """Do all that is left."""
        self._do(self._left, now, out)

    def _do(self, scrips: Iterable[Scrip], now: int, out: list[Tick]) -> None:
        for scrip in scrips:
            tick = self._action(scrip, now)
            if tick is not None:
                out.append(tick)
