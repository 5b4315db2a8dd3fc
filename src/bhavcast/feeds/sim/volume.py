"""When the day trades: the U of its volume, hectic at both edges and calm at noon."""

import math
from typing import Final

# A: height of the edges over midday, and their width as a part of the session. They make the first and last half hour
# trade 3 to 4 times as much as midday, the first seconds about 3 times the day's mean.
OPENING: Final = 4.0
CLOSING: Final = 5.0
WIDTH: Final = 0.08


def _raw(x: float) -> float:
    return 1 + OPENING * math.exp(-x / WIDTH) + CLOSING * math.exp((x - 1) / WIDTH)


def _raw_sum(x: float) -> float:
    """Return the integral of `_raw` from 0 to `x`."""
    opening = OPENING * WIDTH * (1 - math.exp(-x / WIDTH))
    closing = CLOSING * WIDTH * (math.exp((x - 1) / WIDTH) - math.exp(-1 / WIDTH))
    return x + opening + closing


_MEAN: Final = _raw_sum(1)


def intensity(x: float) -> float:
    """Return how busy the market is at the part `x` (0 … 1) of the session, 1 being the session's mean."""
    return _raw(x) / _MEAN


def share(start: float, end: float) -> float:
    """Return the part of the session's volume between two parts of its time."""
    return (_raw_sum(end) - _raw_sum(start)) / _MEAN
