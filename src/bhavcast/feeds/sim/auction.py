"""Call auctions: orders gather, and one price matches the most of them."""

from typing import Final

from bhavcast.domain.field import Ladder
from bhavcast.feeds.sim.book import DEPTH
from bhavcast.feeds.sim.chance import SIZE_MASK, SIZES

# A: how many prices orders gather at, around the middle.
SPREAD: Final = 6


def equilibrium(bids: list[int], asks: list[int], middle: int) -> tuple[int, int]:
    """Return the position of the price that matches the most shares, and how many.

    `bids[i]` and `asks[i]` are the shares wanted and offered at the i-th price, ascending. Of several such prices the
    one that leaves the smaller surplus, then the one nearest to position `middle`, then the lower one.
    """
    supply, demand = 0, sum(bids)
    at, best, surplus, away = middle, 0, 0, 0
    for i, offered in enumerate(asks):
        supply += offered
        if demand < best:
            break  # fewer buyers with every higher price
        matched = supply
        if demand < supply:
            matched = demand
        if matched and matched >= best:
            rest, distance = abs(demand - supply), abs(i - middle)
            if matched > best or rest < surplus or (rest == surplus and distance < away):
                at, best, surplus, away = i, matched, rest, distance
        demand -= bids[i]
    return at, best


class Auction:
    """The orders of one scrip in one auction. `price` and `quantity` are those at which it would match now."""

    __slots__ = ("asks", "bids", "middle", "orders", "price", "prices", "quantity")

    def __init__(self, middle: int, gap: int, lower: int, upper: int) -> None:
        below = [price for i in range(SPREAD, 0, -1) if (price := middle - i * gap) >= lower]
        above = [price for i in range(1, SPREAD + 1) if (price := middle + i * gap) <= upper]
        self.prices = [*below, middle, *above]
        self.middle = len(below)
        self.bids = [0] * len(self.prices)
        self.asks = [0] * len(self.prices)
        self.orders = 0
        self.price = middle
        self.quantity = 0

    def enter(self, bits: int, typical: float, lot: int) -> bool:
        """Add an order near the middle; return whether it is a bid."""
        lots = int(typical * SIZES[bits >> 8 & SIZE_MASK]) // lot or 1
        # The sum of two small uniform draws: near the middle more often than far from it.
        offset = (bits >> 1 & 7) + (bits >> 4 & 7) - 7
        at = min(max(self.middle + offset, 0), len(self.prices) - 1)
        side = self.bids if bits & 1 else self.asks
        side[at] += lots * lot
        self.orders += 1
        return side is self.bids

    def find(self) -> None:
        """Find the price at which it would match now."""
        at, self.quantity = equilibrium(self.bids, self.asks, self.middle)
        self.price = self.prices[at]

    def bid_ladder(self) -> Ladder:
        """Return the five highest bids; in an auction they may well be above the asks."""
        rows = zip(reversed(self.prices), reversed(self.bids), strict=True)
        return tuple([(price, shares, min(shares, 1 + price % 7)) for price, shares in rows if shares][:DEPTH])

    def ask_ladder(self) -> Ladder:
        """Return the five lowest asks."""
        rows = zip(self.prices, self.asks, strict=True)
        return tuple([(price, shares, min(shares, 1 + price % 7)) for price, shares in rows if shares][:DEPTH])
