"""The day's timetables: which phase from when to when, for each class of scrips, under the rules of each date.

A timetable is written as `[class:]phase=HH:MM-HH:MM`, separated by blanks, in IST. Without a class a window is for all
classes; a class that has windows of its own follows only those. Between windows a class is `closed`.

    pre_open_entry=09:00-09:08 continuous=09:15-15:30 periodic:pre_open_entry=09:30-10:15
"""

import re
from datetime import date
from itertools import pairwise
from typing import Final, NamedTuple, cast, get_args

from bhavcast.domain.session import CLASSES, Phase, ScripClass

DAY_BEGINS: Final = 8 * 60  # minutes after midnight: figures of the day before are cleared, before anything trades
# What a timetable may hold: a halt is never planned, and closed is what is between windows.
PLANNED: Final[tuple[Phase, ...]] = tuple(
    phase for phase in get_args(Phase) if phase not in ("closed", "halted", "auction_after_halt")
)
_WINDOW = re.compile(r"(?:(\w+):)?(\w+)=([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)", re.ASCII)


class Span(NamedTuple):
    """One phase, from minute `start` until before minute `end` of the day in IST."""

    phase: Phase
    start: int
    end: int

    def __str__(self) -> str:
        return f"{self.phase}={self.start // 60:02}:{self.start % 60:02}-{self.end // 60:02}:{self.end % 60:02}"


Hours = dict[ScripClass, tuple[Span, ...]]


def parse_hours(text: str) -> Hours:
    """Read a timetable in the notation above.

    Raises:
        ValueError: it is not one; the message says what was expected and what came.
    """
    shared: list[Span] = []
    own: dict[ScripClass, list[Span]] = {}
    for word in text.split():
        cls, span = _parse_window(word)
        (shared if cls is None else own.setdefault(cls, [])).append(span)
    return {cls: _in_order(own.get(cls, shared)) for cls in CLASSES}


def _parse_window(word: str) -> tuple[ScripClass | None, Span]:
    match = _WINDOW.fullmatch(word)
    if match is None:
        raise ValueError(f"expected [class:]phase=HH:MM-HH:MM, got {word[:60]!r}")
    cls, phase = match[1], match[2]
    if cls is not None and cls not in CLASSES:
        raise ValueError(f"expected a class out of {', '.join(CLASSES)}, got {cls[:40]!r}")
    if phase not in PLANNED:
        raise ValueError(f"expected a phase out of {', '.join(PLANNED)}, got {phase[:40]!r}")
    start, end = int(match[3]) * 60 + int(match[4]), int(match[5]) * 60 + int(match[6])
    if start >= end:
        raise ValueError(f"expected a start before its end, got {word!r}")
    if start < DAY_BEGINS:
        raise ValueError(f"expected a start from 08:00 on, when the market's day begins, got {word!r}")
    return cast("ScripClass | None", cls), Span(cast("Phase", phase), start, end)


def _in_order(spans: list[Span]) -> tuple[Span, ...]:
    ordered = sorted(spans, key=lambda span: span.start)
    for before, after in pairwise(ordered):
        if after.start < before.end:
            raise ValueError(f"expected windows that do not overlap, got {before} and {after}")
    return tuple(ordered)


class Rules(NamedTuple):
    """What holds from a date on: the timetable, and in how many last minutes the pre-open's entry may already stop."""

    since: date
    hours: Hours
    random_pre_open: int


# The exchange ends order entry at a random moment of the last minutes and tells nobody before. A phase is planned to
# the latest moment of the table; in those last minutes ticks are not due.
_RANDOM_CLOSING: Final = 2  # minutes
_RANDOM_SPECIAL: Final = 10  # minutes; assumed: the entry of a newly listed scrip, 9:35 to 9:45
_RANDOM_PERIODIC: Final = 1  # minutes; assumed: each round of the periodic call auction

_PRE_OPEN = "pre_open_entry=09:00-09:08 pre_open_match=09:08-09:12 pre_open_buffer=09:12-09:15"
_PRE_OPEN_SEPTEMBER = "pre_open_entry=09:00-09:10 pre_open_match=09:10-09:12 pre_open_buffer=09:12-09:15"
# `closing` is the wait between the last trade at a market price and the trades at the close price: the close is being
# determined. Until July 2026 that takes 10 minutes.
_CLOSE = "closing=15:30-15:40 post_close=15:40-16:00"
# From August 2026 post-close begins at 15:50 for all scrips. Those outside the closing auction have nothing but the
# wait from 15:30 on; those inside have it from the end of the match. The notice calls it a buffer.
_CLOSE_AUGUST = "closing=15:30-15:50 post_close=15:50-16:00"
_AUCTION_AUGUST = (
    "cas_reference=15:15-15:20 cas_entry=15:20-15:30 cas_match=15:30-15:35 closing=15:35-15:50 post_close=15:50-16:00"
)
# Known: entry 9:00–9:45, trading from about 10:00. Assumed: the match until 9:55.
_SPECIAL = "pre_open_entry=09:00-09:45 pre_open_match=09:45-09:55 pre_open_buffer=09:55-10:00 continuous=10:00-15:30"
# Known: rounds of an hour from 9:30. Assumed: the last ends at 15:30, and each is 45 + 8 + 7 minutes.
_PERIODIC = " ".join(
    f"pre_open_entry={hour:02}:30-{hour + 1:02}:15 "
    f"pre_open_match={hour + 1:02}:15-{hour + 1:02}:23 "
    f"pre_open_buffer={hour + 1:02}:23-{hour + 1:02}:30"
    for hour in range(9, 15)
)


def _rules(since: date, random_pre_open: int, pre_open: str, close: str, auction: str | None = None) -> Rules:
    standard = f"{pre_open} continuous=09:15-15:30 {close}"
    timetables: dict[ScripClass, str] = {
        "standard": standard,
        "closing_auction": standard if auction is None else f"{pre_open} continuous=09:15-15:15 {auction}",
        "periodic": f"{_PERIODIC} {close}",
        "special_pre_open": f"{_SPECIAL} {close}",
    }
    return Rules(since, {cls: parse_hours(text)[cls] for cls, text in timetables.items()}, random_pre_open)


# All rules known, oldest first; dates outside take the nearest. Sources: BSE notices 20260610-41 and 20260801-1 (closing
# auction from 3 August 2026), and the change of the pre-open on 7 September 2026.
RULES: Final[tuple[Rules, ...]] = (
    _rules(date.min, 1, _PRE_OPEN, _CLOSE),
    _rules(date(2026, 8, 3), 1, _PRE_OPEN, _CLOSE_AUGUST, _AUCTION_AUGUST),
    _rules(date(2026, 9, 7), 2, _PRE_OPEN_SEPTEMBER, _CLOSE_AUGUST, _AUCTION_AUGUST),
)


def rules_of(day: date) -> Rules:
    """Return the rules in force on a day."""
    return next(rules for rules in reversed(RULES) if rules.since <= day)


def random_minutes(rules: Rules, cls: ScripClass, phase: Phase) -> int:
    """Return in how many of a phase's last minutes the exchange may already have ended it."""
    if phase == "cas_entry":
        return _RANDOM_CLOSING
    if phase != "pre_open_entry":
        return 0
    return {"special_pre_open": _RANDOM_SPECIAL, "periodic": _RANDOM_PERIODIC}.get(cls, rules.random_pre_open)
