from datetime import date, time, timedelta
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bhavcast.domain.calendar import Calendar, at_ist, ist
from bhavcast.domain.calendar_file import parse_calendar
from bhavcast.domain.errors import BadFile
from bhavcast.domain.hours import PLANNED
from bhavcast.domain.session import CLASSES, TICKS_DUE_PHASES

BUILTIN = Calendar.builtin()
FILE = """\
date,kind,name,windows
2026-11-08,muhurat,Diwali Laxmi Pujan,pre_open_entry=18:00-18:08 continuous=18:15-19:15 periodic:continuous=18:30-19:00
2026-11-14,special_session,Drill,continuous=09:15-10:00 continuous=11:30-12:30
2026-11-16,muhurat,Hours unknown
"""
DAY_MS = 86_400_000

# Most moments near the days where rules and sessions change; some anywhere.
first, last = at_ist(date(2020, 1, 1), time()), at_ist(date(2035, 1, 1), time())
interesting = st.sampled_from(
    [
        date(2025, 2, 1), date(2025, 10, 21), date(2026, 2, 1), date(2026, 8, 1), date(2026, 9, 6), date(2026, 11, 8),
        date(2026, 11, 14), date(2026, 11, 16), date(2026, 11, 24), date(2026, 12, 31),
    ]
)  # fmt: skip
near = st.builds(
    lambda day, offset: at_ist(day, time()) + offset,
    interesting,
    st.integers(min_value=-2 * DAY_MS, max_value=3 * DAY_MS),
)
moments = near | st.integers(min_value=first, max_value=last)
days = moments.map(lambda at: ist(at).date())
classes = st.sampled_from(CLASSES)
calendars = st.sampled_from([BUILTIN, BUILTIN.with_file(FILE)])


@given(calendars, days, classes)
def test_a_days_windows_are_in_order_apart_and_inside_the_day(calendar, day, cls):
    windows = calendar.windows(day, cls)
    assert all(window.start < window.end and window.phase in PLANNED for window in windows)
    assert all(before.end <= after.start for before, after in pairwise(windows))
    if windows:
        assert at_ist(day, time(8)) <= windows[0].start
        assert windows[-1].end <= calendar.close_of(day) <= at_ist(day, time()) + DAY_MS
        assert calendar.is_trading_day(day)


@given(calendars, moments, classes)
def test_the_phase_is_that_of_the_window_around_the_moment_or_closed(calendar, at, cls):
    around = [window for window in calendar.windows(ist(at).date(), cls) if window.start <= at < window.end]
    assert [calendar.phase(cls, at)] == ([around[0].phase] if around else ["closed"])
    assert len(around) <= 1
    assert calendar.phases(at)[cls] == calendar.phase(cls, at)


@given(calendars, moments)
@example(BUILTIN, at_ist(date(2026, 11, 24), time()))
@example(BUILTIN, at_ist(date(2026, 11, 24), time()) - 1)
def test_a_transition_is_the_very_moment_at_which_something_changes(calendar, at):
    transition = calendar.next_transition(at)
    assert transition.at > at
    assert (transition.status, transition.phases) == (calendar.status(transition.at), calendar.phases(transition.at))
    now = calendar.status(at), calendar.phases(at)
    assert (transition.status, transition.phases) != now
    assert (calendar.status(transition.at - 1), calendar.phases(transition.at - 1)) == now


@given(calendars, moments, st.floats(min_value=0, max_value=1, exclude_max=True))
def test_nothing_changes_before_the_next_transition(calendar, at, part):
    between = at + int((calendar.next_transition(at).at - at) * part)
    assert (calendar.status(between), calendar.phases(between)) == (calendar.status(at), calendar.phases(at))


@given(calendars, moments, st.integers(min_value=0, max_value=10 * DAY_MS))
def test_the_trading_date_never_goes_back(calendar, at, later):
    assert calendar.trading_date(at) <= calendar.trading_date(at + later)


@given(calendars, moments)
def test_the_trading_date_changes_exactly_at_the_roll(calendar, at):
    day, roll = calendar.trading_date(at), calendar.day_roll_after(at)
    assert calendar.is_trading_day(day)
    assert at_ist(day, time(8)) <= at < roll
    assert calendar.trading_date(roll - 1) == day
    assert calendar.trading_date(roll) == calendar.next_trading_day(day) == ist(roll).date()
    assert ist(roll).time() == time(8)


@given(calendars, days)
def test_trading_days_are_found_by_looking_at_each(calendar, day):
    following, before = calendar.next_trading_day(day), calendar.last_trading_day(day)
    assert before <= day < following
    between = [before + timedelta(days=n) for n in range((following - before).days + 1)]
    assert [each for each in between if calendar.is_trading_day(each)] == [before, following]


@given(calendars, moments, classes)
def test_ticks_are_due_only_in_phases_that_take_orders(calendar, at, cls):
    if calendar.ticks_due(at, cls):
        assert calendar.phase(cls, at) in TICKS_DUE_PHASES
    elif calendar.phase(cls, at) == "continuous":
        pytest.fail("ticks are always due in continuous trading")


@given(calendars, moments)
def test_the_next_session_begins_with_a_window_and_ends_a_closed_market(calendar, at):
    opens = calendar.next_session(at)
    assert opens > at
    assert any(calendar.windows(ist(opens).date(), cls)[0].start == opens for cls in CLASSES)
    assert set(calendar.phases(opens - 1).values()) == {"closed"}
    assert set(calendar.phases(opens).values()) != {"closed"}


@given(calendars, moments)
def test_the_status_agrees_with_the_phases(calendar, at):
    phases, status = set(calendar.phases(at).values()), calendar.status(at)
    if phases == {"closed"}:
        assert status in ("closed", "holiday", "special")
    else:
        assert status in ("pre_open", "open", "closing_auction", "post_close", "special")
    if status == "open":
        assert "continuous" in phases


@given(st.lists(moments, min_size=1, max_size=100), classes)
def test_what_is_remembered_changes_no_answer(ats, cls):
    fresh = Calendar.builtin().with_file("date,kind,name\n1990-01-26,holiday,Republic Day\n")
    assert [fresh.phase(cls, at) for at in ats] == [BUILTIN.phase(cls, at) for at in ats]


@given(st.dates(), st.times())
def test_ist_and_at_ist_undo_each_other(day, at_time):
    at = at_ist(day, at_time)
    assert ist(at).date() == day
    assert ist(at).time() == at_time.replace(microsecond=at_time.microsecond // 1000 * 1000)
    assert at_ist(ist(at).date(), ist(at).time()) == at


TOML = '[[day]]\ndate = 2026-11-08\nkind = "muhurat"\nname = "Diwali"\nwindows = ["continuous=18:15-19:15"]\n'


def refusal(text):
    """What the parser says against a text, or None; anything but its own error fails the test."""
    try:
        parse_calendar(text)
    except BadFile as error:
        return error
    return None


@given(st.sampled_from([FILE, TOML]), st.data())
def test_a_mutated_file_gives_a_calendar_or_its_own_error(text, data):
    for _ in range(data.draw(st.integers(min_value=1, max_value=4))):
        at = data.draw(st.integers(min_value=0, max_value=len(text)))
        cut = data.draw(st.integers(min_value=0, max_value=5))
        text = text[:at] + data.draw(st.text(max_size=3)) + text[at + cut :]
    error = refusal(text)
    assert error is None or "expected" in error.detail


@given(st.text())
def test_any_text_gives_a_calendar_or_its_own_error(text):
    error = refusal(text)
    assert error is None or "expected" in error.detail
