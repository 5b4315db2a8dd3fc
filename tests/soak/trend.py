"""Whether a figure that was sampled over time grows, or only goes up and down.

The slope is Theil and Sen's: the median of the slopes between all pairs of samples, which a few leaps do not move. How
much of a slope chance alone would make is taken from the samples themselves: what is left of them beside the line is
dealt out again, in blocks, because neighbouring samples resemble each other (a day of the market rises and falls within
minutes), and the slope of each such series is what there would be without growth.
"""

import random
import statistics
from collections.abc import Sequence
from itertools import combinations
from typing import Final, NamedTuple

SERIES: Final = 80
PARTS: Final = (
    4,
    8,
    16,
    60,
)  # blocks that a series is cut into; what is slow shows in long ones, what is quick in short
# Noise is so many standard deviations of what chance makes: a soak judges some thirty figures, and none may cry wolf.
DEVIATIONS: Final = 4
MOST_POINTS: Final = 60  # pairs are many: more samples are joined by their medians


class Trend(NamedTuple):
    """How a figure went: all per hour, in its unit."""

    slope: float
    noise: float  # more than the slope that chance would make of such samples
    middle: float

    @property
    def grows(self) -> bool:
        """Whether it rises more than chance explains."""
        return self.slope > self.noise


def theil_sen(times: Sequence[float], values: Sequence[float]) -> float:
    """Return the median of the slopes between all pairs."""
    return statistics.median(
        (values[late] - values[early]) / (times[late] - times[early])
        for early, late in combinations(range(len(times)), 2)
    )


def trend(times: Sequence[float], values: Sequence[float], resolution: float, seed: int = 1) -> Trend:
    """Judge samples at times in hours. `resolution` is the least that a figure moves by: half of it is noise, too."""
    times, values = _thinned(times, values)
    slope = theil_sen(times, values)
    middle = statistics.median(values)
    left = [value - slope * time for time, value in zip(times, values, strict=True)]
    chance = random.Random(seed)
    spread = max(_spread(times, left, max(len(left) // parts, 1), chance) for parts in PARTS)
    span = times[-1] - times[0]
    return Trend(slope, max(DEVIATIONS * spread, resolution / 2 / span), middle)


def _spread(times: Sequence[float], left: Sequence[float], length: int, chance: random.Random) -> float:
    """Return how much slopes differ among series of blocks of this length."""
    slopes = []
    for _ in range(SERIES):
        dealt: list[float] = []
        while len(dealt) < len(left):
            start = chance.randrange(len(left) - length + 1)
            dealt += left[start : start + length]
        slopes.append(theil_sen(times, dealt[: len(left)]))
    return statistics.pstdev(slopes)


def _thinned(times: Sequence[float], values: Sequence[float]) -> tuple[Sequence[float], Sequence[float]]:
    step = -(-len(times) // MOST_POINTS)
    starts = range(0, len(times), step)
    return (
        [statistics.median(times[start : start + step]) for start in starts],
        [statistics.median(values[start : start + step]) for start in starts],
    )
