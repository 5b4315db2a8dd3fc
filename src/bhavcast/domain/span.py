"""Highs and lows over several days, made of those of each day."""

import datetime
from collections.abc import Mapping
from typing import Final, NamedTuple

# Calendar days up to and with the present one, by name. A: a month has thirty; a year is the exchange's 52 weeks.
LENGTHS: Final = {"week": 7, "month": 30, "year": 364}
# A fact, said at the beginning of an epoch: by symbol the spans of the days before the present one, in the order of
# LENGTHS, None where no day is known.
SPANS: Final = "spans"


class DayRange(NamedTuple):
    """The highest and the lowest trade of a scrip's day, in units of 10 ** -scale rupees."""

    high: int
    low: int
    scale: int


class Span(NamedTuple):
    """The highest and the lowest of `days` days, of which `first` (an ordinal) is the earliest; in the scrip's scale."""

    first: int
    days: int
    high: int
    low: int

    def more(self, first: int, high: int, low: int) -> "Span":
        """Return the span with an earlier day."""
        return Span(first, self.days + 1, max(self.high, high), min(self.low, low))


DayRanges = Mapping[str, DayRange]
Spans = dict[str, list[Span | None]]


def begins(length: int, today: datetime.date) -> int:
    """Return the ordinal of the first day of a span that ends today."""
    return today.toordinal() - length + 1
