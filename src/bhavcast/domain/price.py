"""Prices as scaled integers: reading, writing, tick sizes and bands. No float ever holds money."""

import re
from typing import Final

PAISE: Final = 2
FINE: Final = 4  # debt clean prices and yields
# BSE equity: 0.01 rupee below 100 rupees, else 0.05; fixed per scrip by the master, this is only the default.
# Source: BSE notice of March 2023, checked against real quotes of 4 Jun 2026.
FINE_TICK_BELOW: Final = 100_00
_DECIMAL = re.compile(r"(-?)(\d{1,13})(?:\.(\d{1,8}))?", re.ASCII)


def parse_price(text: str, scale: int = PAISE) -> int:
    """Read a decimal such as `1931.30` into an integer of 10 ** -scale rupees.

    Raises:
        ValueError: it is not a plain decimal (NaN, an exponent, a comma, nothing), or is finer than the scale.
    """
    match = _DECIMAL.fullmatch(text.strip())
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
    return f"{sign}{whole}.{fraction:0{scale}d}"


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


def band_limits(previous_close: int, percent: int, tick: int) -> tuple[int, int]:
    """Return the lower and upper circuit limit, inside the band and on the tick; the lower one at least one tick."""
    lower = ceil_to_tick(-(-previous_close * (100 - percent) // 100), tick)
    upper = floor_to_tick(previous_close * (100 + percent) // 100, tick)
    return max(lower, tick), max(upper, tick)


def percent_hundredths(change: int, previous_close: int) -> int | None:
    """Return `change` in hundredths of a per cent of the previous close, or None without a previous close."""
    return divide_half_up(change * 10_000, previous_close) if previous_close > 0 else None
