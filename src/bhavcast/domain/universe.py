"""Everything that is known of the market before the day's first tick."""

import datetime

import msgspec

from bhavcast.domain import field
from bhavcast.domain.field import Values
from bhavcast.domain.index import IndexBasis
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.price import PAISE, divide_half_up, rescale


class Day(msgspec.Struct, frozen=True):
    """An official day's figures of one scrip, from a bhavcopy; prices in the scrip's scale, `value` in paise."""

    open: int
    high: int
    low: int
    close: int
    last: int
    previous_close: int
    volume: int
    value: int
    trades: int

    def values(self, scale: int = PAISE) -> Values:
        """Return them as fields of a quote whose scrip has `scale`; a scrip that did not trade has no last price.

        One whose file tells no previous close has none, whatever was its last one. The average of a clean-priced debt
        scrip is that of its turnover too, which counts the interest accrued.
        """
        figures: Values = {
            field.CURRENT_PRICE: self.last,
            field.OPEN: self.open,
            field.HIGH: self.high,
            field.LOW: self.low,
            field.PREVIOUS_CLOSE: self.previous_close,
            field.CLOSE_PRICE: self.close,
            field.VOLUME: self.volume,
            field.VALUE: self.value,
            field.TRADES: self.trades,
            field.AVERAGE_PRICE: divide_half_up(rescale(self.value, PAISE, scale), self.volume)
            if self.volume
            else None,
        }
        told = {number: value for number, value in figures.items() if value}
        return {field.PREVIOUS_CLOSE: None, **told}


class Universe(msgspec.Struct, frozen=True):
    """Scrips, indices and the last official day.

    `instruments` holds scrips and indices by symbol. `closes` is the last official close by symbol: the next day's
    previous close. `date` is the day `days` and `closes` are of, None where no
    day was imported: then the closes are made, of the built-in universe or for a master alone.
    """

    instruments: dict[str, Instrument]
    closes: dict[str, int]
    indices: list[IndexBasis]
    days: dict[str, Day] = {}
    date: datetime.date | None = None
    built_in: bool = False

    def served(self) -> list[str]:
        """Return the symbols that have a quote: indices, active scrips, and those that traded on the last day.

        The others, suspended ones, are known by name and status, but nothing is expected of them.
        """
        return [symbol for symbol, i in self.instruments.items() if i.status == "A" or symbol in self.days]
