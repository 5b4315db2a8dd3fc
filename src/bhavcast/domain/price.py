"""Prices as scaled integers: reading, writing, tick sizes and bands. No float ever holds money."""

import re
from typing import Final

from bhavcast.domain.instrument import InstrumentKind

PAISE: Final = 2
FINE: Final = 4  # debt clean prices and yields
# BSE equity: 0.01 rupee below 100 rupees, else 0.05; fixed per scrip by the master, this is only the default.
# Source: BSE notice of March 2023, checked against real quotes of 4 Jun 2026.
FINE_TICK_BELOW: Final = 100_00
# Assumed: the bands by group where no master, list or tick gives one (price bands are empty in the masters seen).
DYNAMIC_BAND: Final = 10  # per cent; where none is fixed the first limit is here …
DYNAMIC_STEP: Final = 5  # … and flexes by so much
_WIDEST_BAND: Final = 20
_BAND_OF_GROUP: Final[dict[str, int]] = {
    **dict.fromkeys(("A", "B"), _WIDEST_BAND),
    **dict.fromkeys(("X", "M", "MS"), 10),  # MS and TS are the start-up platform's M and MT
    **dict.fromkeys(("T", "XT", "Z", "ZP", "ZY", "MT", "TS"), 5),
}
_DECIMAL = re.compile(r"(-?)(\d{1,13})(?:\.(\d{1,8}))?", re.ASCII)


def parse_price(text: str, scale: int = PAISE) -> int:
    """Read a decimal such as `1931.30` into an integer of 10 ** -scale rupees.

    Raises:
        ValueError: it is not a plain decimal (NaN, an exponent, a comma, nothing), or is finer than the scale.
    """
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise ValueError(f"expected a decimal number, got {text[:40]!r}")
    sign, whole, fraction = match[1], match[2], (match[3] or "").rstrip("0")
    if len(fraction) > scale:
        raise ValueError(f"expected at most {scale} decimals, got {text[:40]!r}")
    value = int(whole + fraction.ljust(scale, "0"))
    return -value if sign else value


def format_price(value: int, scale: int = PAISE) -> str:
    """Write an integer price as a decimal with exactly `scale` places: 193130 is `1931.30`."""
    sign = "-" if value < 0 else ""
    whole, fraction = divmod(abs(value), 10**scale)
    return f"{sign}{whole}.{fraction:0{scale}d}" if scale else f"{sign}{whole}"


def rescale(value: int, scale: int, to: int) -> int:
    """Change the unit of a price; raise ValueError where that would lose digits."""
    if to >= scale:
        return int(value * 10 ** (to - scale))
    whole, rest = divmod(value, 10 ** (scale - to))
    if rest:
        raise ValueError(f"{format_price(value, scale)} is finer than {to} decimals")
    return int(whole)


def divide_half_up(numerator: int, denominator: int) -> int:
    """Divide whole numbers, rounding halves away from zero as the exchange's statements do."""
    sign = -1 if (numerator < 0) != (denominator < 0) else 1
    return sign * ((2 * abs(numerator) + abs(denominator)) // (2 * abs(denominator)))


def default_tick(price: int) -> int:
    """Return BSE's equity tick size, in paise, for a scrip whose master does not give one."""
    return 1 if price < FINE_TICK_BELOW else 5


def floor_to_tick(price: int, tick: int) -> int:
    """Return the highest valid price not above `price`."""
    return price - price % tick


def ceil_to_tick(price: int, tick: int) -> int:
    """Return the lowest valid price not below `price`."""
    return price + -price % tick


def nearest_tick(price: int, tick: int) -> int:
    """Return the valid price nearest to `price`, the higher of two."""
    return (2 * price + tick) // (2 * tick) * tick


def default_band(group: str, kind: InstrumentKind, derivative: bool) -> int | None:
    """Return a scrip's price band in per cent of its previous close, or None where there is none fixed.

    None: stocks with derivatives and ETFs (dynamic, from ±DYNAMIC_BAND), debt and government securities, indices. A group
    without a rule of its own has the widest band, which refuses the least.
    """
    if derivative or kind in ("DB", "GS", "IDX") or group == "E":
        return None
    return _BAND_OF_GROUP.get(group, _WIDEST_BAND)


def band_limits(previous_close: int, percent: int, tick: int) -> tuple[int, int]:
    """Return the lower and upper circuit limit, inside the band and on the tick; the lower one at least one tick.

    A cheap scrip's band may hold no valid price at all, when its close is off the tick (adjusted, say): then the valid
    prices on both sides of the close are the limits.
    """
    lower = ceil_to_tick(-(-previous_close * (100 - percent) // 100), tick)
    upper = floor_to_tick(previous_close * (100 + percent) // 100, tick)
    if lower > upper:
        lower, upper = floor_to_tick(previous_close, tick), ceil_to_tick(previous_close, tick)
    return max(lower, tick), max(upper, tick)


def percent_hundredths(change: int, previous_close: int) -> int | None:
    """Return `change` in hundredths of a per cent of the previous close, or None without a previous close."""
    return divide_half_up(change * 10_000, previous_close) if previous_close > 0 else None
