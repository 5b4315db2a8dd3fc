"""What is assumed of a scrip where no file says it; each is replaced by the first source that does."""

from typing import Final

from bhavcast.domain.instrument import InstrumentKind
from bhavcast.reference.builtin import SENSEX

_SECTORS: Final = {constituent.code: constituent.sector for constituent in SENSEX}
_BANDS: Final = {"T": 5, "XT": 5, "Z": 5, "ZP": 5, "ZY": 5, "MT": 5, "TS": 5, "P": 5, "X": 10, "M": 10, "MS": 10}


def default_band(group: str, kind: InstrumentKind, derivative: bool) -> int | None:
    """Return the daily price band in per cent (A), None where none is fixed: with derivatives, and for debt."""
    return None if derivative or kind in ("DB", "GS", "IDX") else _BANDS.get(group, 20)


def closing_auction_assumed(code: str) -> bool:
    """Say whether a scrip has the closing auction (A): the SENSEX 30, all of which have derivatives."""
    return code in _SECTORS


def sector_of(code: str) -> str:
    """Return the sector of a SENSEX constituent; no file of the exchange gives the others'."""
    return _SECTORS.get(code, "")
