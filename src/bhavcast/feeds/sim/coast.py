"""Cover hours in a moment: the same market, told in a few trades per scrip instead of thousands of ticks."""

import math
from typing import Final

from bhavcast.feeds.sim.chance import NORMAL_BITS, NORMALS
from bhavcast.feeds.sim.returns import World
from bhavcast.feeds.sim.scrip import TRADE_ODDS, Scrip

# The longest stretch told at once.
SLICE_MS: Final = 1_800_000
# A: how far trades of a slice stray from the line between its ends, as a part of the slice's standard deviation.
STRAY: Final = 0.5
# Orders placed at most per scrip when an auction is told at once.
ORDERS: Final = 8
# What a trade takes on average, of its typical size: large orders find too little waiting.
_TAKEN: Final = 0.9


def trade_through(scrip: Scrip, start: int, end: int, ticks: float, world: World) -> None:
    """Let a scrip trade from `start` to `end`, in which it would have about `ticks` ticks."""
    expected = ticks * TRADE_ODDS / 256
    bits = world.bits(16)
    prints = int(expected + bits / 65536)
    if not prints:
        return
    before = scrip.last or scrip.fair(start, world)
    after = scrip.fair(end, world)
    stray = STRAY * scrip.sigma * math.sqrt(end - start) * world.vol * after
    lots = int(prints * scrip.size * world.qty_scale * _TAKEN * (0.7 + bits / 109_000)) // scrip.lot
    lots = max(lots, prints)
    low = min(before, after) - abs(int(stray * NORMALS[world.bits(NORMAL_BITS)]))
    high = max(before, after) + abs(int(stray * NORMALS[world.bits(NORMAL_BITS)]))
    path = (low, high, after) if bits & 1 else (high, low, after)
    _print(scrip, path[-min(prints, 3) :], lots, prints, (start, end), world)


def _print(scrip: Scrip, path: tuple[int, ...], lots: int, prints: int, span: tuple[int, int], world: World) -> None:
    count = len(path)
    start, end = span
    for i, price in enumerate(path):
        part = lots // count + (lots % count if i == count - 1 else 0)
        trades = prints // count + (prints % count if i == count - 1 else 0)
        at = start + (end - start) * (i + 1) // (count + 1)
        scrip.record(scrip.within(price), part * scrip.lot, trades * world.trades_per_tick, at)


def order_through(scrip: Scrip, end: int, ticks: float, world: World, weight: float) -> None:
    """Let orders gather in a call auction until `end`."""
    for _ in range(min(ORDERS, int(ticks + world.bits(8) / 256))):
        scrip.order(end, world, weight)
