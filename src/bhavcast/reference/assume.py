"""What is assumed of a scrip where no file says it; each is replaced by the first source that does."""

from typing import Final

from bhavcast.reference.builtin import SENSEX

_SECTORS: Final = {constituent.code: constituent.sector for constituent in SENSEX}


def closing_auction_assumed(code: str) -> bool:
    """Say whether a scrip has the closing auction (A): the SENSEX 30, all of which have derivatives."""
    return code in _SECTORS


def sector_of(code: str) -> str:
    """Return the sector of a SENSEX constituent; no file of the exchange gives the others'."""
    return _SECTORS.get(code, "")
