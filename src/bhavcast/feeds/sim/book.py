"""Five-level ladders as tuples: a change makes a new tuple and touches one or two levels of it.

Every price is on the tick because the best price and the gap are; every quantity is a multiple of the lot.
"""

from typing import Final

from bhavcast.domain.field import Ladder, Level
from bhavcast.feeds.sim.chance import SIZE_MASK, SIZES

DEPTH: Final = 5
# Old levels farther from the new best than this many gaps are given up: after a jump the book forms anew.
KEPT_GAPS: Final = 8


def level(price: int, bits: int, typical: float, lot: int) -> Level:
    """Return a level of a random quantity around `typical`, and a plausible number of orders for it."""
    lots = int(typical * SIZES[bits & SIZE_MASK]) // lot or 1
    orders = 1 + (bits >> 3 & 7)
    if orders > lots:
        orders = lots
    return price, lots * lot, orders


def bids_at(old: Ladder, best: int, gap: int, floor: int, top: Level, bits: int, typical: float, lot: int) -> Ladder:
    """Return bids whose best is `top` at `best`: what remains of `old` below it, and new levels down to `floor`."""
    levels = [top]
    nearest, price = best - gap * KEPT_GAPS, best
    for held in old:
        if nearest < held[0] < best:
            levels.append(held)
            price = held[0]
    del levels[DEPTH:]
    missing = DEPTH - len(levels)
    while missing and price - gap >= floor:
        price -= gap
        bits >>= 2
        missing -= 1
        levels.append(level(price, bits, typical, lot))
    return tuple(levels)


def asks_at(old: Ladder, best: int, gap: int, ceiling: int, top: Level, bits: int, typical: float, lot: int) -> Ladder:
    """Return asks whose best is `top` at `best`: what remains of `old` above it, and new levels up to `ceiling`."""
    levels = [top]
    farthest, price = best + gap * KEPT_GAPS, best
    for held in old:
        if best < held[0] < farthest:
            levels.append(held)
            price = held[0]
    del levels[DEPTH:]
    missing = DEPTH - len(levels)
    while missing and price + gap <= ceiling:
        price += gap
        bits >>= 2
        missing -= 1
        levels.append(level(price, bits, typical, lot))
    return tuple(levels)


def quantity(ladder: Ladder) -> int:
    """Return the shares in the five levels together."""
    return sum([held[1] for held in ladder])
