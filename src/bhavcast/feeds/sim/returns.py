"""Why prices move together: one factor for the market, one for each sector, and each scrip's own wandering."""

import math
from collections.abc import Callable
from typing import Final

from bhavcast.feeds.sim.chance import NORMAL_BITS, NORMALS

# A: standard deviations of a whole session's logarithmic return. They put the correlation of two liquid scrips near 0.5
# within a sector and near 0.3 between sectors.
MARKET_SIGMA: Final = 0.008
SECTOR_SIGMA: Final = 0.007
SESSION_MS: Final = 22_500_000
# A: of the night's news, as parts of a session's standard deviation.
OVERNIGHT: Final = 0.4


class World:
    """What all scrips share: the factors, how lively prices are now, and the source of chance.

    `market` and `sectors` are logarithmic returns since the previous close; `vol` scales every standard deviation.
    """

    __slots__ = ("bits", "market", "qty_scale", "sectors", "trades_per_tick", "vol")

    def __init__(self, sectors: int, bits: Callable[[int], int]) -> None:
        self.bits = bits
        self.market = 0.0
        self.sectors = [0.0] * sectors
        self.vol = 1.0
        self.trades_per_tick = 1
        self.qty_scale = 1.0

    def new_day(self, bits: Callable[[int], int]) -> None:
        """Begin at the previous close, plus the night's news."""
        self.bits = bits
        self.market = 0.0
        self.sectors = [0.0] * len(self.sectors)
        self.vol = 1.0
        self.pass_time(OVERNIGHT**2 * SESSION_MS)

    def pass_time(self, ms: float) -> None:
        """Let the factors wander for `ms` milliseconds."""
        root = math.sqrt(ms / SESSION_MS) * self.vol
        bits = self.bits
        self.market += MARKET_SIGMA * root * NORMALS[bits(NORMAL_BITS)]
        step = SECTOR_SIGMA * root
        self.sectors = [held + step * NORMALS[bits(NORMAL_BITS)] for held in self.sectors]

    def shock(self, fraction: float) -> None:
        """Move the whole market at once, by a part of its worth."""
        self.market += math.log1p(fraction)
