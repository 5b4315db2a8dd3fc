"""Make one universe of what has been imported: a master, the last official day, both, or neither."""

import datetime

import msgspec

from bhavcast.domain.instrument import Instrument
from bhavcast.domain.price import divide_half_up, rescale
from bhavcast.domain.universe import Day, Universe
from bhavcast.reference.builtin import SENSEX, index_instrument, indices, made_closes, real


class Close(msgspec.Struct, frozen=True, array_like=True):
    """An official close and the day it is of; the price is in units of 10 ** -scale rupees."""

    price: int
    scale: int
    date: datetime.date


class OfficialDay(msgspec.Struct, frozen=True):
    """The last official day and what earlier ones left: closes of scrips that did not trade, and their descriptions.

    Prices of `days` are in the scale of `instruments`, the day's own description of its scrips.
    """

    date: datetime.date
    days: dict[str, Day]
    instruments: dict[str, Instrument]
    closes: dict[str, Close]


def combine(master: dict[str, Instrument] | None, day: OfficialDay | None) -> Universe:
    """Return the universe of a master and a day, of which one may be missing.

    Scrips of the day that no master describes are described by the built-in facts where they are of the SENSEX 30,
    and provisionally otherwise. With a master alone the closes are made (A) and `date` is None.
    """
    instruments = dict(master or {})
    if day is None:
        closes, days = made_closes(instruments), {}
    else:
        _describe_the_rest(instruments, day)
        days = {symbol: _figures(symbol, figures, day, instruments) for symbol, figures in day.days.items()}
        closes = {symbol: scaled(c.price, c.scale, instruments[symbol].scale) for symbol, c in day.closes.items()}
    bases = indices(closes)
    for basis in bases:
        instruments[basis.symbol] = index_instrument(basis)
        closes[basis.symbol] = basis.value(basis.cap(closes))
    return Universe(
        instruments=instruments, closes=closes, indices=bases, days=days, date=None if day is None else day.date
    )


def scaled(price: int, scale: int, to: int) -> int:
    """Return a price in another scale, rounded half up where that one is coarser."""
    return rescale(price, scale, to) if to >= scale else divide_half_up(price, 10 ** (scale - to))


def _describe_the_rest(instruments: dict[str, Instrument], day: OfficialDay) -> None:
    facts = {constituent.code: real(constituent) for constituent in SENSEX}
    for symbol, instrument in day.instruments.items():
        if symbol not in instruments:
            instruments[symbol] = facts.get(symbol, instrument)


def _figures(symbol: str, figures: Day, day: OfficialDay, instruments: dict[str, Instrument]) -> Day:
    scale, to = day.instruments[symbol].scale, instruments[symbol].scale
    if scale == to:
        return figures
    return msgspec.structs.replace(
        figures,
        open=scaled(figures.open, scale, to),
        high=scaled(figures.high, scale, to),
        low=scaled(figures.low, scale, to),
        close=scaled(figures.close, scale, to),
        last=scaled(figures.last, scale, to),
        previous_close=scaled(figures.previous_close, scale, to),
    )
