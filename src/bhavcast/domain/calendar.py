"""When the market is in which phase, and to which trading day a moment belongs."""

from bisect import bisect_right
from datetime import date, datetime, time, timedelta, timezone
from functools import cache
from typing import Final, NamedTuple

from bhavcast.domain.calendar_file import SpecialDay, parse_calendar
from bhavcast.domain.hours import DAY_BEGINS, Hours, random_minutes, rules_of
from bhavcast.domain.known_days import KNOWN_DAYS
from bhavcast.domain.session import CLASSES, TICKS_DUE_PHASES, MarketStatus, Phase, ScripClass, Window

IST: Final = timezone(timedelta(hours=5, minutes=30), "IST")
_OFFSET_MS: Final = 19_800_000  # IST is ahead of UTC by this, always
_DAY_MS: Final = 86_400_000
_MINUTE_MS: Final = 60_000
_EPOCH: Final = datetime(1970, 1, 1, 5, 30, tzinfo=IST)
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
_ONE_DAY: Final = timedelta(days=1)
_PLANS_KEPT: Final = 64  # a live market needs two; a replay walks through many

_STATUS: Final[dict[Phase, MarketStatus]] = {
    "pre_open_entry": "pre_open",
    "pre_open_match": "pre_open",
    "pre_open_buffer": "pre_open",
    "continuous": "open",
    "cas_reference": "closing_auction",
    "cas_entry": "closing_auction",
    "cas_match": "closing_auction",
    "closing": "post_close",
    "post_close": "post_close",
}


def ist(ms: int) -> datetime:
    """Return a moment as date and time in IST."""
    return _EPOCH + timedelta(milliseconds=ms)


def at_ist(day: date, at: time) -> int:
    """Return the moment of a day's time in IST, in milliseconds since the Unix epoch (finer digits are cut)."""
    seconds = at.hour * 3600 + at.minute * 60 + at.second
    return _midnight(day) + seconds * 1000 + at.microsecond // 1000


def _midnight(day: date) -> int:
    return (day.toordinal() - _EPOCH_ORDINAL) * _DAY_MS - _OFFSET_MS


class Transition(NamedTuple):
    """What becomes of the market at the moment `at`: something in it differs from the moment before."""

    at: int
    status: MarketStatus
    phases: dict[ScripClass, Phase]


class _Plan(NamedTuple):
    """One civil day worked out, from midnight to midnight IST. `moments[i]` holds from `starts[i]` on."""

    starts: tuple[int, ...]
    moments: tuple[Transition, ...]
    windows: dict[ScripClass, tuple[Window, ...]]
    due: dict[ScripClass, tuple[tuple[int, int], ...]]
    begins: int | None  # when this trading day's figures replace those of `before`; None: it is not a trading day
    day: date
    before: date


class Calendar:
    """Answer what the market does at any moment. Immutable: only worked-out days are remembered inside.

    Hours that nobody knows (Muhurat 2026, until a calendar file gives them): a trading day with no windows. Every phase
    is "closed", so nothing is due and no silence alarms; the status of the whole day is "special".
    """

    __slots__ = ("_days", "_plans", "_years")

    def __init__(self, days: dict[date, SpecialDay], years: frozenset[int]) -> None:
        self._days = days
        self._years = years
        self._plans: dict[int, _Plan] = {}

    @staticmethod
    @cache
    def builtin() -> "Calendar":
        """Return the calendar known without a file: 2025 and 2026."""
        return Calendar({}, frozenset()).with_file(KNOWN_DAYS)

    def with_file(self, text: str) -> "Calendar":
        """Return a calendar in which the days of a file (see `calendar_file`) stand beside or instead of these.

        Raises:
            BadFile: the file is not a calendar; nothing of it is used.
        """
        entries = parse_calendar(text)
        days = {entry.date: entry for entry in entries if entry.kind != "complete_year"}
        years = {entry.date.year for entry in entries if entry.kind == "complete_year"}
        return Calendar(self._days | days, self._years | years)

    # Days

    def known(self, day: date) -> bool:
        """Return whether the calendar speaks of that day; if not, it only assumes that weekdays trade."""
        return day.year in self._years or day in self._days

    def holiday(self, day: date) -> str | None:
        """Return the name of a holiday, also at a weekend and with a Muhurat session (ask `is_trading_day`)."""
        special = self._days.get(day)
        return special.name if special and special.kind in ("holiday", "muhurat") else None

    def special_session(self, day: date) -> str | None:
        """Return the name of a session that is not an ordinary day's: Muhurat, or trading at a weekend."""
        special = self._days.get(day)
        return special.name if special and special.kind in ("muhurat", "special_session") else None

    def is_trading_day(self, day: date) -> bool:
        """Return whether anything trades that day: a Muhurat session makes a trading day, with figures of its own."""
        special = self._days.get(day)
        return day.weekday() < 5 if special is None else special.kind != "holiday"

    def next_trading_day(self, after: date) -> date:
        """Return the first trading day later than a day."""
        day = after + _ONE_DAY
        while not self.is_trading_day(day):
            day += _ONE_DAY
        return day

    def last_trading_day(self, on_or_before: date) -> date:
        """Return the day itself if it is a trading day, or else the last one before."""
        day = on_or_before
        while not self.is_trading_day(day):
            day -= _ONE_DAY
        return day

    def windows(self, day: date, cls: ScripClass) -> tuple[Window, ...]:
        """Return the day's phases in order, without the closed times between; none where nothing trades or is known."""
        return self._plan(day.toordinal() - _EPOCH_ORDINAL).windows[cls]

    def close_of(self, day: date) -> int:
        """Return when everything of the day is over: the end of post-close, or of the day where it has no windows."""
        plan = self._plan(day.toordinal() - _EPOCH_ORDINAL)
        return max((spans[-1].end for spans in plan.windows.values() if spans), default=_midnight(day) + _DAY_MS)

    # Moments

    def phase(self, cls: ScripClass, at: int) -> Phase:
        """Return the phase of a class of scrips."""
        plan = self._plan((at + _OFFSET_MS) // _DAY_MS)
        return plan.moments[bisect_right(plan.starts, at) - 1].phases[cls]

    def phases(self, at: int) -> dict[ScripClass, Phase]:
        """Return the phase of every class."""
        return dict(self._moment(at).phases)

    def status(self, at: int) -> MarketStatus:
        """Return the market's state in one word.

        "closing_auction" while its scrips are in it, though the others still trade; "post_close" from the last trade at
        a market price until the day is over; "special" in a session at hours of its own, and all day where its hours
        are unknown; "holiday" on a day that has a holiday's name, outside a Muhurat session.
        """
        return self._moment(at).status

    def ticks_due(self, at: int, cls: ScripClass = "standard") -> bool:
        """Return whether silence is a fault; not in the minutes in which order entry may already have ended."""
        return any(start <= at < end for start, end in self._plan((at + _OFFSET_MS) // _DAY_MS).due[cls])

    def next_transition(self, at: int) -> Transition:
        """Return the next change of status or of any class's phase, strictly later than `at`."""
        number = (at + _OFFSET_MS) // _DAY_MS
        plan = self._plan(number)
        later = bisect_right(plan.starts, at)
        while later == len(plan.starts):
            last, number = plan.moments[-1], number + 1
            plan = self._plan(number)
            later = 1 if plan.moments[0][1:] == last[1:] else 0
        moment = plan.moments[later]
        return moment._replace(phases=dict(moment.phases))

    def next_session(self, at: int) -> int:
        """Return when the next day's first window begins, strictly later than `at`; days of unknown hours are skipped."""
        number = (at + _OFFSET_MS) // _DAY_MS
        while True:
            first = min((spans[0].start for spans in self._plan(number).windows.values() if spans), default=None)
            if first is not None and first > at:
                return first
            number += 1

    def trading_date(self, at: int) -> date:
        """Return the trading day whose figures are shown: from its 08:00 until 08:00 of the next trading day."""
        plan = self._plan((at + _OFFSET_MS) // _DAY_MS)
        return plan.before if plan.begins is None or at < plan.begins else plan.day

    def day_roll_after(self, at: int) -> int:
        """Return the next 08:00 of a trading day, strictly later than `at`."""
        plan = self._plan((at + _OFFSET_MS) // _DAY_MS)
        if plan.begins is not None and at < plan.begins:
            return plan.begins
        return _midnight(self.next_trading_day(plan.day)) + DAY_BEGINS * _MINUTE_MS

    # Plans

    def _moment(self, at: int) -> Transition:
        plan = self._plan((at + _OFFSET_MS) // _DAY_MS)
        return plan.moments[bisect_right(plan.starts, at) - 1]

    def _plan(self, number: int) -> _Plan:
        plan = self._plans.get(number)
        if plan is None:
            if len(self._plans) >= _PLANS_KEPT:
                self._plans.clear()
            plan = self._plans[number] = self._make_plan(date.fromordinal(_EPOCH_ORDINAL + number))
        return plan

    def _make_plan(self, day: date) -> _Plan:
        midnight, rules = _midnight(day), rules_of(day)
        windows: dict[ScripClass, tuple[Window, ...]] = {}
        due: dict[ScripClass, tuple[tuple[int, int], ...]] = {}
        for cls, spans in self._hours(day).items():
            windows[cls] = tuple(
                Window(phase, midnight + start * _MINUTE_MS, midnight + end * _MINUTE_MS) for phase, start, end in spans
            )
            due[cls] = tuple(
                (start, end - random_minutes(rules, cls, phase) * _MINUTE_MS)
                for phase, start, end in windows[cls]
                if phase in TICKS_DUE_PHASES
            )
        moments = self._moments(day, windows)
        return _Plan(
            starts=tuple(moment.at for moment in moments),
            moments=moments,
            windows=windows,
            due=due,
            begins=midnight + DAY_BEGINS * _MINUTE_MS if self.is_trading_day(day) else None,
            day=day,
            before=self.last_trading_day(day - _ONE_DAY),
        )

    def _hours(self, day: date) -> Hours:
        special = self._days.get(day)
        if special is not None and special.hours is not None:
            return special.hours
        if self.is_trading_day(day) and (special is None or special.kind == "special_session"):
            return rules_of(day).hours
        return dict.fromkeys(CLASSES, ())

    def _moments(self, day: date, windows: dict[ScripClass, tuple[Window, ...]]) -> tuple[Transition, ...]:
        midnight = _midnight(day)
        edges = {midnight} | {edge for spans in windows.values() for span in spans for edge in (span.start, span.end)}
        moments: list[Transition] = []
        for at in sorted(edges):
            phases = {cls: _phase_at(spans, at) for cls, spans in windows.items()}
            moment = Transition(at, self._status(day, phases), phases)
            if not moments or moments[-1][1:] != moment[1:]:
                moments.append(moment)
        return tuple(moments)

    def _status(self, day: date, phases: dict[ScripClass, Phase]) -> MarketStatus:
        special = self._days.get(day)
        # Scrips of the closing auction lead: where the classes differ, the auction is what a reader must know.
        running = next((phases[cls] for cls in ("closing_auction", *CLASSES) if phases[cls] != "closed"), None)
        if special is not None and special.kind == "muhurat" and special.hours is None:
            return "special"
        if running is None:
            return "closed" if self.holiday(day) is None else "holiday"
        if special is not None and special.hours is not None:
            return "special"
        return _STATUS[running]


def _phase_at(windows: tuple[Window, ...], at: int) -> Phase:
    return next((phase for phase, start, end in windows if start <= at < end), "closed")
