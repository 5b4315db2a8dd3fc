"""What the feed of a chaos run says. A tick follows from its number alone, so whoever sees a quote can judge it."""

import zlib
from collections.abc import Mapping
from typing import Any, Final

from bhavcast.domain import field
from bhavcast.domain.field import Values
from bhavcast.domain.universe import Universe

STEP_S: Final = 0.125
AT_ONCE: Final = 5  # scrips that a step speaks of, in turn
SWING_PERCENT: Final = 1.5  # within every band, and no jump
SELDOM: Final = 7
KEPT: Final = 10_000
ORIGIN_S: Final = 1_790_000_000  # numbers stay short


def step_at(wall_s: float) -> int:
    """Return the number of the step that is due at a moment of the wall clock, which all processes share."""
    return int((wall_s - ORIGIN_S) / STEP_S)


class Ticks:
    """The ticks of a universe. The number of a tick is its volume, so every quote with a volume says which it is of."""

    def __init__(self, universe: Universe) -> None:
        self._scrips = {
            symbol: (each.tick, universe.closes[symbol])
            for symbol, each in sorted(universe.instruments.items())
            if not each.is_index and each.status == "A" and symbol in universe.closes
        }
        self.symbols = list(self._scrips)
        self._places = {symbol: place for place, symbol in enumerate(self.symbols)}
        self._told: dict[tuple[str, int], dict[str, Any]] = {}

    def of(self, step: int) -> dict[str, Values]:
        """Return what a step says, by scrip."""
        count = len(self.symbols)
        return {
            (symbol := self.symbols[(step * AT_ONCE + i) % count]): self.values(symbol, step) for i in range(AT_ONCE)
        }

    def values(self, symbol: str, step: int) -> Values:
        """Return the fields of a tick. Each fifth has no offers: a field that loses its value is a thing of its own."""
        tick, close = self._scrips[symbol]
        swing = max(1, int(close * SWING_PERCENT / 100 / tick))
        price = close + ((zlib.crc32(symbol.encode()) + step * 7919) % (2 * swing + 1) - swing) * tick
        offers = step % 5 != 0
        seldom: Values = {field.TOTAL_BID_QUANTITY: step} if self.is_seldom(symbol, step) else {}
        return seldom | {
            field.CURRENT_PRICE: price,
            field.VOLUME: step,
            field.LAST_QUANTITY: 1 + step % 997,
            field.BID_PRICE: price - tick,
            field.BID_QUANTITY: 1 + step % 89,
            field.ASK_PRICE: price + tick if offers else None,
            field.ASK_QUANTITY: 1 + step % 83 if offers else None,
            field.BIDS: tuple((price - (1 + i) * tick, 1 + step % 89 + i, 1 + i) for i in range(5)),
            field.ASKS: tuple((price + (1 + i) * tick, 1 + step % 83 + i, 1 + i) for i in range(5)) if offers else None,
        }

    def spoke_of(self, symbol: str, step: int) -> bool:
        """Tell whether a step has a tick of a scrip."""
        count = len(self.symbols)
        return (self._places[symbol] - step * AT_ONCE) % count < AT_ONCE

    def is_seldom(self, symbol: str, step: int) -> bool:
        """Tell whether a tick has the field that most leave as it is: only there a change that is lost stays lost."""
        return (step + self._places[symbol]) % SELDOM == 0

    def told(self, symbol: str, step: int) -> dict[str, Any]:
        """Return a tick as a quote shows it, None for what it took away; ladders at their full depth."""
        if (symbol, step) not in self._told:
            if len(self._told) > KEPT:
                self._told.clear()
            self._told[symbol, step] = {
                field.FIELDS[number].name: _shown(number, value) for number, value in self.values(symbol, step).items()
            }
        return self._told[symbol, step]

    def objection(self, symbol: str, quote: Mapping[str, Any], depth: int, newest: int) -> str | None:
        """Say what of a quote the feed never said, or not together; None where all is well."""
        step = quote.get("volume")
        if step is None:
            return None  # it is not shown, or there was no tick yet
        if step > newest or not self.spoke_of(symbol, step):
            return f"step {step} never spoke of it (the newest is {newest})"
        total = quote.get("total_bid_quantity")
        if total is not None and not (total <= step and self.spoke_of(symbol, total) and self.is_seldom(symbol, total)):
            return f"total_bid_quantity {total} was never said"
        for name, said in self.told(symbol, step).items():
            if name in ("bids", "asks"):
                if depth and quote.get("depth", {}).get(name) != (said and said[:depth]):
                    return f"{name} {quote.get('depth')}, where step {step} said {said}"
            elif (name in quote or said is None) and quote.get(name) != said:
                return f"{name} {quote.get(name)}, where step {step} said {said}"
        return None


_PRICES: Final = frozenset({field.CURRENT_PRICE, field.BID_PRICE, field.ASK_PRICE})


def _shown(number: int, value: Any) -> Any:
    if number in field.LADDERS:
        return value and [{"price": p / 100, "quantity": quantity, "orders": orders} for p, quantity, orders in value]
    return value / 100 if number in _PRICES and value is not None else value
