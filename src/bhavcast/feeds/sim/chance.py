"""Tables that make a random draw one index operation: the simulator makes tens of thousands a second."""

import math
from statistics import NormalDist
from typing import Final

NORMAL_BITS: Final = 13
NORMAL_MASK: Final = (1 << NORMAL_BITS) - 1
SIZE_BITS: Final = 8
SIZE_MASK: Final = (1 << SIZE_BITS) - 1
# A: sizes of orders and trades are log-normal; few are large, most are small.
SIZE_SIGMA: Final = 0.9


def _quantiles(bits: int) -> list[float]:
    """Return the normal distribution as equally likely values: a uniform index draws from it."""
    count = 1 << bits
    normal = NormalDist()
    return [normal.inv_cdf((i + 0.5) / count) for i in range(count)]


def _sizes() -> list[float]:
    raw = [math.exp(SIZE_SIGMA * z) for z in _quantiles(SIZE_BITS)]
    mean = sum(raw) / len(raw)
    return [size / mean for size in raw]


NORMALS: Final = _quantiles(NORMAL_BITS)
SIZES: Final = _sizes()
