"""Numbers in text from outside: ASCII digits as their place has them, and nothing else that Python would forgive.

`int` and `float` take digits of any script, signs, blanks, underscores, exponents and names: a text that one reader takes
for a number and another does not means two things.
"""

import re
from typing import Final

MOST: Final = 2**63 - 1  # what every store and codec on the way can hold
_DIGITS: Final = len(str(MOST))
_DECIMAL: Final = re.compile(r"\d{1,15}(?:\.\d{1,15})?", re.ASCII)


def whole(text: str | bytes, most: int = MOST) -> int | None:
    """Read a whole number from 0 to `most`; None for anything that is not digits alone."""
    if not (text.isascii() and text.isdigit()) or len(text) > _DIGITS:
        return None
    number = int(text)
    return number if number <= most else None


def decimal(text: str) -> float | None:
    """Read a number such as `10` or `0.5`; None for anything that is not digits with at most one point between them."""
    return float(text) if _DECIMAL.fullmatch(text) else None
