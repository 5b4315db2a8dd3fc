"""Indices by their formula: free-float capitalisation of the members against a base."""

import msgspec

from bhavcast.domain.price import divide_half_up


class IndexBasis(msgspec.Struct, frozen=True):
    """What an index is made of: `members` maps a scrip's symbol to its free-float shares.

    The index stood at `base_value` (hundredths of a point) when the members together were worth `base_cap` (paise).
    """

    symbol: str
    name: str
    members: dict[str, int]
    base_value: int
    base_cap: int

    def value(self, cap: int) -> int:
        """Return the index in hundredths of a point for members worth `cap` paise."""
        return divide_half_up(cap * self.base_value, self.base_cap)

    def cap(self, prices: dict[str, int]) -> int:
        """Return what the members are worth at `prices` (paise); every member must have one."""
        return sum(prices[symbol] * shares for symbol, shares in self.members.items())
