"""Keep the highs and lows of the days that are over: official ones of imported files, and those that were lived through.

A folder holds `2021-05-07.official.day`, `2026-11-23.sim.day`, …: the date, and the mode of the source that was heard.
Days of one mode never speak for another: what was simulated says nothing of real prices. Where a scrip's official
range of a day is known, it counts. Prices are as they were: a split or a bonus within a span is not worked in.
"""

import contextlib
import datetime
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import structlog

from bhavcast.domain.errors import Unavailable, UnknownFormat
from bhavcast.domain.span import LENGTHS, DayRanges, Span, Spans, begins
from bhavcast.reference import kept
from bhavcast.reference.combine import scaled

_Range = tuple[int, int, int]  # a DayRange; read as this it is three times as fast
OFFICIAL: Final = "official"
KEPT: Final = 400  # days of each mode; 52 weeks have about 250
_NAME: Final = re.compile(r"(\d{4}-\d\d-\d\d)\.([a-z]{1,16})\.day", re.ASCII)

log = structlog.get_logger()


class PastDays:
    """The days of one data directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep(self, date: datetime.date, mode: str, ranges: DayRanges) -> None:
        """Store a day, in place of what was stored of it; remove the oldest where there are too many.

        Raises:
            Unavailable: it could not be stored; nothing has changed.
        """
        if not ranges:
            return
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(f"cannot write to {self._directory}: {error}") from error
        kept.write(self._directory / f"{date.isoformat()}.{mode}.day", dict(ranges))
        for old in sorted(self._days(mode))[:-KEPT]:
            self._remove(old, mode)

    def forget(self, mode: str) -> None:
        """Remove the days of a mode: another market begins."""
        for date in self._days(mode):
            self._remove(date, mode)

    def spans(self, today: datetime.date, mode: str, scale_of: Callable[[str], int | None]) -> Spans:
        """Return what the official days before `today`, and those of a mode, add up to, for every scrip that has a scale."""
        days = sorted({*self._days(OFFICIAL), *self._days(mode)}, reverse=True)
        days = [day for day in days if day < today]
        held: dict[str, list[int]] = {}
        found: list[dict[str, Span]] = []
        for length in LENGTHS.values():
            first = begins(length, today)
            while days and days[0].toordinal() >= first:
                _add(held, days[0].toordinal(), self._read(days[0], mode) | self._read(days[0], OFFICIAL))
                del days[0]
            scales = ((symbol, scale_of(symbol)) for symbol in held)
            found.append({symbol: _told(held[symbol], scale) for symbol, scale in scales if scale is not None})
        return {symbol: [spans.get(symbol) for spans in found] for symbol in found[-1]}

    def _days(self, mode: str) -> list[datetime.date]:
        if not self._directory.is_dir():
            return []
        names = (_NAME.fullmatch(path.name) for path in self._directory.iterdir())
        days = []
        for match in names:
            if match is not None and match[2] == mode:
                with contextlib.suppress(ValueError):  # a 31st of February is none of ours
                    days.append(datetime.date.fromisoformat(match[1]))
        return days

    def _read(self, date: datetime.date, mode: str) -> dict[str, _Range]:
        path = self._directory / f"{date.isoformat()}.{mode}.day"
        try:
            return kept.unpack(path.read_bytes(), dict[str, _Range])
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, UnknownFormat) as error:
            log.warning("a past day cannot be used", file=path.name, why=str(error))
            return {}

    def _remove(self, date: datetime.date, mode: str) -> None:
        with contextlib.suppress(OSError):  # a file too many does no harm
            (self._directory / f"{date.isoformat()}.{mode}.day").unlink()


def _add(held: dict[str, list[int]], day: int, ranges: Mapping[str, _Range]) -> None:
    """Widen what is held by an earlier day. A year has more than a million ranges: hence the plain loop."""
    for symbol, (high, low, scale) in ranges.items():
        span = held.get(symbol)
        if span is None:
            held[symbol] = [day, 1, high, low, scale]
            continue
        span[0] = day
        span[1] += 1
        if scale != span[4]:
            high, low = scaled(high, scale, span[4]), scaled(low, scale, span[4])  # noqa: PLW2901 - a local of the loop
        if high > span[2]:
            span[2] = high
        if low < span[3]:
            span[3] = low


def _told(span: list[int], to: int) -> Span:
    first, days, high, low, scale = span
    return Span(first, days, scaled(high, scale, to), scaled(low, scale, to))
