import csv
import re
from datetime import date, datetime, time, timedelta
from pathlib import Path
from textwrap import dedent

import pytest

from bhavcast.domain import calendar_file
from bhavcast.domain.calendar import IST, Calendar, at_ist, ist
from bhavcast.domain.calendar_file import SpecialDay, parse_calendar
from bhavcast.domain.errors import BadFile
from bhavcast.domain.session import CLASSES

BUILTIN = Calendar.builtin()


def ms(text: str) -> int:
    """Read `2026-08-03 15:15`, with seconds or without, as a moment in IST."""
    return int(datetime.fromisoformat(text).replace(tzinfo=IST).timestamp() * 1000)


def timetable(day: date, cls) -> str:
    """Write a day's windows as `09:00 pre_open_entry … 16:00`; a closed time between two is shown."""
    words, end = [], None
    for window in BUILTIN.windows(day, cls):
        if end not in (None, window.start):
            words.append(f"{ist(end):%H:%M} closed")
        words.append(f"{ist(window.start):%H:%M} {window.phase}")
        end = window.end
    return ", ".join(words) + (f", {ist(end):%H:%M}" if end else "")


# Time


def test_ist_is_five_and_a_half_hours_ahead():
    assert ist(0).isoformat() == "1970-01-01T05:30:00+05:30"
    assert ist(1_795_404_600_123).isoformat() == "2026-11-23T09:00:00.123000+05:30"
    assert at_ist(date(2026, 11, 23), time(9, 0, 0, 123_999)) == 1_795_404_600_123
    assert at_ist(date(1970, 1, 1), time(5, 30)) == 0


# The tables

OLD = (
    "09:00 pre_open_entry, 09:08 pre_open_match, 09:12 pre_open_buffer, 09:15 continuous, "
    "15:30 closing, 15:40 post_close, 16:00"
)
AUGUST = (
    "09:00 pre_open_entry, 09:08 pre_open_match, 09:12 pre_open_buffer, 09:15 continuous, "
    "15:30 closing, 15:50 post_close, 16:00"
)
AUGUST_AUCTION = (
    "09:00 pre_open_entry, 09:08 pre_open_match, 09:12 pre_open_buffer, 09:15 continuous, "
    "15:15 cas_reference, 15:20 cas_entry, 15:30 cas_match, 15:35 closing, 15:50 post_close, 16:00"
)
SEPTEMBER = AUGUST.replace("09:08", "09:10")
SEPTEMBER_AUCTION = AUGUST_AUCTION.replace("09:08", "09:10")
MUHURAT = (
    "13:30 pre_open_entry, 13:38 pre_open_match, 13:42 pre_open_buffer, 13:45 continuous, "
    "14:45 closing, 14:55 post_close, 15:05"
)


@pytest.mark.parametrize(
    ("day", "standard", "auction"),
    [
        ("2021-05-07", OLD, OLD),  # outside the known years: the nearest rules
        ("2025-02-01", OLD, OLD),  # Saturday, Union Budget
        ("2025-10-21", MUHURAT, MUHURAT),
        ("2026-02-01", OLD, OLD),  # Sunday, Union Budget
        ("2026-07-31", OLD, OLD),
        ("2026-08-03", AUGUST, AUGUST_AUCTION),
        ("2026-09-04", AUGUST, AUGUST_AUCTION),
        ("2026-09-07", SEPTEMBER, SEPTEMBER_AUCTION),
        ("2026-11-23", SEPTEMBER, SEPTEMBER_AUCTION),
        ("2030-01-01", SEPTEMBER, SEPTEMBER_AUCTION),
        ("2026-08-01", "", ""),  # Saturday
        ("2026-08-02", "", ""),  # Sunday
        ("2026-11-08", "", ""),  # Muhurat of unknown hours
        ("2026-11-24", "", ""),  # holiday
    ],
)
def test_a_days_timetable_is_the_one_of_the_exchanges_notices(day, standard, auction):
    assert timetable(date.fromisoformat(day), "standard") == standard
    assert timetable(date.fromisoformat(day), "closing_auction") == auction


def test_a_new_listing_has_a_pre_open_of_an_hour():
    assert timetable(date(2026, 7, 31), "special_pre_open") == (
        "09:00 pre_open_entry, 09:45 pre_open_match, 09:55 pre_open_buffer, 10:00 continuous, "
        "15:30 closing, 15:40 post_close, 16:00"
    )


def test_the_periodic_call_auction_has_a_round_each_hour_from_half_past_nine():
    windows = BUILTIN.windows(date(2026, 9, 7), "periodic")
    entries = [f"{ist(window.start):%H:%M}" for window in windows if window.phase == "pre_open_entry"]
    assert entries == ["09:30", "10:30", "11:30", "12:30", "13:30", "14:30"]
    assert timetable(date(2026, 9, 7), "periodic").startswith(
        "09:30 pre_open_entry, 10:15 pre_open_match, 10:23 pre_open_buffer, 10:30 pre_open_entry"
    )
    assert timetable(date(2026, 9, 7), "periodic").endswith("15:30 closing, 15:50 post_close, 16:00")


@pytest.mark.parametrize(
    ("at", "standard", "auction", "status"),
    [
        ("2026-07-31 08:59:59", "closed", "closed", "closed"),
        ("2026-07-31 09:00", "pre_open_entry", "pre_open_entry", "pre_open"),
        ("2026-07-31 09:08", "pre_open_match", "pre_open_match", "pre_open"),
        ("2026-07-31 09:14:59", "pre_open_buffer", "pre_open_buffer", "pre_open"),
        ("2026-07-31 09:15", "continuous", "continuous", "open"),
        ("2026-07-31 15:29:59", "continuous", "continuous", "open"),
        ("2026-07-31 15:30", "closing", "closing", "post_close"),
        ("2026-07-31 15:40", "post_close", "post_close", "post_close"),
        ("2026-07-31 16:00", "closed", "closed", "closed"),
        ("2026-08-01 12:00", "closed", "closed", "closed"),
        ("2026-08-03 00:00", "closed", "closed", "closed"),
        ("2026-08-03 15:14:59", "continuous", "continuous", "open"),
        ("2026-08-03 15:15", "continuous", "cas_reference", "closing_auction"),
        ("2026-08-03 15:20", "continuous", "cas_entry", "closing_auction"),
        ("2026-08-03 15:30", "closing", "cas_match", "closing_auction"),
        ("2026-08-03 15:35", "closing", "closing", "post_close"),
        ("2026-08-03 15:50", "post_close", "post_close", "post_close"),
        ("2026-08-03 16:00", "closed", "closed", "closed"),
        ("2026-09-04 09:09", "pre_open_match", "pre_open_match", "pre_open"),
        ("2026-09-07 09:09", "pre_open_entry", "pre_open_entry", "pre_open"),
        ("2026-11-23 23:59:59", "closed", "closed", "closed"),
        ("2026-11-24 00:00", "closed", "closed", "holiday"),
        ("2026-11-24 10:00", "closed", "closed", "holiday"),
        ("2026-11-25 00:00", "closed", "closed", "closed"),
        ("2026-08-15 10:00", "closed", "closed", "holiday"),  # at a weekend
        ("2025-02-01 10:00", "continuous", "continuous", "open"),  # Saturday at normal hours
        ("2025-02-01 18:00", "closed", "closed", "closed"),
        ("2025-10-21 10:00", "closed", "closed", "holiday"),
        ("2025-10-21 13:30", "pre_open_entry", "pre_open_entry", "special"),
        ("2025-10-21 14:44:59", "continuous", "continuous", "special"),
        ("2025-10-21 15:05", "closed", "closed", "holiday"),
        ("2026-11-08 00:00", "closed", "closed", "special"),
        ("2026-11-08 18:30", "closed", "closed", "special"),
        ("2026-11-09 00:00", "closed", "closed", "closed"),
    ],
)
def test_a_moment_has_the_phase_of_each_class_and_one_status(at, standard, auction, status):
    assert BUILTIN.phase("standard", ms(at)) == BUILTIN.phases(ms(at))["standard"] == standard
    assert BUILTIN.phase("closing_auction", ms(at)) == BUILTIN.phases(ms(at))["closing_auction"] == auction
    assert BUILTIN.status(ms(at)) == status


@pytest.mark.parametrize(
    ("at", "then", "status"),
    [
        ("2026-07-31 09:00", "2026-07-31 09:08", "pre_open"),
        ("2026-07-31 16:00", "2026-08-03 09:00", "pre_open"),  # over the weekend
        ("2026-08-03 15:00", "2026-08-03 15:15", "closing_auction"),
        ("2026-08-03 15:50", "2026-08-03 16:00", "closed"),
        ("2026-11-23 16:00", "2026-11-24 00:00", "holiday"),
        ("2026-11-24 00:00", "2026-11-25 00:00", "closed"),
        ("2026-11-25 00:00", "2026-11-25 09:00", "pre_open"),
        ("2026-11-06 16:00", "2026-11-08 00:00", "special"),
        ("2026-11-08 00:00", "2026-11-09 00:00", "closed"),
        ("2025-10-21 00:00", "2025-10-21 13:30", "special"),
        ("2025-10-21 15:05", "2025-10-23 00:00", "closed"),  # from one holiday into the next nothing changes
    ],
)
def test_the_next_transition_is_the_next_thing_that_changes(at, then, status):
    transition = BUILTIN.next_transition(ms(at))
    assert (transition.at, transition.status) == (ms(then), status)
    assert transition.phases == BUILTIN.phases(ms(then))


def test_what_the_calendar_hands_out_can_be_changed_without_harm():
    at = ms("2026-07-31 10:00")
    BUILTIN.phases(at)["standard"] = "halted"
    BUILTIN.next_transition(at).phases["standard"] = "halted"
    assert BUILTIN.phase("standard", at) == "continuous"
    assert BUILTIN.phase("standard", BUILTIN.next_transition(at).at) == "continuous"


# Days


@pytest.mark.parametrize(
    ("at", "day"),
    [
        ("2026-07-31 07:59:59", "2026-07-30"),
        ("2026-07-31 08:00", "2026-07-31"),
        ("2026-07-31 23:59:59", "2026-07-31"),
        ("2026-08-01 00:00", "2026-07-31"),  # midnight
        ("2026-08-02 12:00", "2026-07-31"),  # weekend
        ("2026-08-03 07:59:59", "2026-07-31"),
        ("2026-08-03 08:00", "2026-08-03"),
        ("2026-11-24 12:00", "2026-11-23"),  # holiday
        ("2026-11-25 07:59", "2026-11-23"),
        ("2026-11-25 08:00", "2026-11-25"),
        ("2025-10-21 08:00", "2025-10-21"),  # Muhurat
        ("2025-10-22 12:00", "2025-10-21"),
        ("2026-11-08 07:59", "2026-11-06"),
        ("2026-11-08 08:00", "2026-11-08"),  # Muhurat of unknown hours
        ("2026-02-01 08:00", "2026-02-01"),  # Sunday, Union Budget
    ],
)
def test_figures_belong_to_a_trading_day_from_its_eight_oclock_to_the_next(at, day):
    assert BUILTIN.trading_date(ms(at)) == date.fromisoformat(day)


@pytest.mark.parametrize(
    ("at", "roll"),
    [
        ("2026-07-31 07:59:59", "2026-07-31 08:00"),
        ("2026-07-31 08:00", "2026-08-03 08:00"),
        ("2026-08-01 08:00", "2026-08-03 08:00"),
        ("2026-11-23 12:00", "2026-11-25 08:00"),
        ("2026-11-24 07:00", "2026-11-25 08:00"),
        ("2026-11-06 12:00", "2026-11-08 08:00"),
    ],
)
def test_the_day_rolls_at_eight_oclock_of_the_next_trading_day(at, roll):
    assert BUILTIN.day_roll_after(ms(at)) == ms(roll)


@pytest.mark.parametrize(
    ("day", "last", "following"),
    [
        ("2026-07-31", "2026-07-31", "2026-08-03"),
        ("2026-08-02", "2026-07-31", "2026-08-03"),
        ("2026-11-24", "2026-11-23", "2026-11-25"),
        ("2026-11-07", "2026-11-06", "2026-11-08"),
        ("2026-11-10", "2026-11-09", "2026-11-11"),
        ("2025-10-22", "2025-10-21", "2025-10-23"),
        ("2025-01-31", "2025-01-31", "2025-02-01"),
        ("2026-04-03", "2026-04-02", "2026-04-06"),
    ],
)
def test_trading_days_are_found_over_weekends_holidays_and_special_sessions(day, last, following):
    assert BUILTIN.last_trading_day(date.fromisoformat(day)) == date.fromisoformat(last)
    assert BUILTIN.next_trading_day(date.fromisoformat(day)) == date.fromisoformat(following)


def test_a_day_is_over_after_post_close():
    assert BUILTIN.close_of(date(2026, 7, 31)) == ms("2026-07-31 16:00")
    assert BUILTIN.close_of(date(2026, 8, 3)) == ms("2026-08-03 16:00")
    assert BUILTIN.close_of(date(2025, 10, 21)) == ms("2025-10-21 15:05")


def test_a_day_without_windows_is_over_at_midnight():
    assert BUILTIN.close_of(date(2026, 11, 8)) == ms("2026-11-09 00:00")
    assert BUILTIN.close_of(date(2026, 11, 24)) == ms("2026-11-25 00:00")


@pytest.mark.parametrize(
    ("at", "opens"),
    [
        ("2026-07-31 08:00", "2026-07-31 09:00"),
        ("2026-07-31 09:00", "2026-08-03 09:00"),
        ("2026-11-23 16:00", "2026-11-25 09:00"),
        ("2026-11-06 16:00", "2026-11-09 09:00"),  # not the Muhurat session whose hours nobody knows
        ("2025-10-20 16:00", "2025-10-21 13:30"),
    ],
)
def test_the_next_session_is_one_whose_hours_are_known(at, opens):
    assert BUILTIN.next_session(ms(at)) == ms(opens)


@pytest.mark.parametrize(
    ("at", "cls", "due"),
    [
        ("2026-07-31 08:59", "standard", False),
        ("2026-07-31 09:06:59", "standard", True),
        ("2026-07-31 09:07", "standard", False),  # entry may have ended
        ("2026-07-31 09:10", "standard", False),
        ("2026-07-31 09:15", "standard", True),
        ("2026-07-31 15:30", "standard", False),
        ("2026-09-07 09:07:59", "standard", True),
        ("2026-09-07 09:08", "standard", False),
        ("2026-09-07 15:16", "closing_auction", False),
        ("2026-09-07 15:16", "standard", True),
        ("2026-09-07 15:27:59", "closing_auction", True),
        ("2026-09-07 15:28", "closing_auction", False),
        ("2026-11-08 18:30", "standard", False),  # unknown hours: no alarm
        ("2026-11-24 10:00", "standard", False),
    ],
)
def test_ticks_are_due_while_orders_are_taken_for_certain(at, cls, due):
    assert BUILTIN.ticks_due(ms(at), cls) is due


# What is known


def test_outside_2025_and_2026_weekdays_trade_and_that_is_said_to_be_assumed():
    for day in (date(2024, 12, 31), date(2027, 1, 1), date(2021, 5, 7)):
        assert not BUILTIN.known(day)
        assert BUILTIN.is_trading_day(day)
    assert not BUILTIN.is_trading_day(date(2027, 1, 2))
    assert BUILTIN.known(date(2025, 1, 1))
    assert BUILTIN.known(date(2026, 12, 31))


def test_special_days_have_names():
    assert BUILTIN.holiday(date(2026, 11, 24)) == "Prakash Gurpurb Sri Guru Nanak Dev"
    assert BUILTIN.holiday(date(2026, 8, 15)) == "Independence Day"
    assert BUILTIN.holiday(date(2026, 11, 8)) == BUILTIN.special_session(date(2026, 11, 8)) == "Diwali Laxmi Pujan"
    assert BUILTIN.holiday(date(2026, 2, 1)) is None
    assert BUILTIN.special_session(date(2026, 2, 1)) == "Union Budget special session"
    assert BUILTIN.holiday(date(2026, 11, 23)) is BUILTIN.special_session(date(2026, 11, 23)) is None


def test_the_builtin_days_are_those_of_the_shared_list(shared: Path):
    with (shared / "holidays" / "bse_equity_holidays_2025_2026.csv").open(encoding="utf-8") as file:
        theirs = {date.fromisoformat(row["date"]): row for row in csv.DictReader(file)}
    day, ours = date(2025, 1, 1), {}
    while day < date(2027, 1, 1):
        if name := BUILTIN.holiday(day) or BUILTIN.special_session(day):
            ours[day] = name
        day += timedelta(days=1)
    assert set(ours) == set(theirs)
    for day, row in theirs.items():
        assert row["name"].startswith(ours[day])
        assert f"{day:%a}" == row["weekday"]
        trades = row["kind"] in ("muhurat", "special_session")
        assert BUILTIN.is_trading_day(day) is trades
        assert (BUILTIN.special_session(day) is not None) is trades
        assert (BUILTIN.holiday(day) is None) is (row["kind"] == "special_session")


# Calendar files

CSV = """\
# a comment, and a blank line

date,kind,name,windows
2027-01-01,complete_year,List of trading holidays 2027
2027-01-26,holiday,Republic Day
2027-02-06,special_session,"Drill, disaster recovery",continuous=09:15-10:00,continuous=11:30-12:30
2026-11-08,muhurat,Diwali Laxmi Pujan,pre_open_entry=18:00-18:08 continuous=18:15-19:15,periodic:continuous=18:30-19:00
2026-11-24,special_session,Holiday withdrawn
"""
TOML = """\
# the same
[[day]]
date = 2027-01-01
kind = "complete_year"
name = "List of trading holidays 2027"

[[day]]
date = "2027-01-26"
kind = "holiday"
name = "Republic Day"

[[day]]
date = 2027-02-06
kind = "special_session"
name = "Drill, disaster recovery"
windows = ["continuous=09:15-10:00", "continuous=11:30-12:30"]

[[day]]
date = 2026-11-08
kind = "muhurat"
name = "Diwali Laxmi Pujan"
windows = ["pre_open_entry=18:00-18:08", "continuous=18:15-19:15", "periodic:continuous=18:30-19:00"]

[[day]]
date = 2026-11-24
kind = "special_session"
name = "Holiday withdrawn"
"""


def test_csv_and_toml_say_the_same():
    assert parse_calendar(CSV) == parse_calendar(TOML)
    assert parse_calendar(CSV)[1] == SpecialDay(date(2027, 1, 26), "holiday", "Republic Day", None)


def test_line_ends_and_a_byte_order_mark_do_not_matter():
    assert parse_calendar("\ufeff" + CSV.replace("\n", "\r\n")) == parse_calendar(CSV)
    assert parse_calendar("\ufeff" + TOML.replace("\n", "\r\n")) == parse_calendar(CSV)


def test_a_file_stands_beside_and_instead_of_what_is_built_in():
    calendar = BUILTIN.with_file(CSV)
    assert calendar.known(date(2027, 6, 1))
    assert not calendar.is_trading_day(date(2027, 1, 26))
    assert calendar.is_trading_day(date(2026, 11, 24))
    assert calendar.holiday(date(2026, 11, 24)) is None
    assert calendar.status(ms("2026-11-24 10:00")) == "open"
    assert calendar.holiday(date(2026, 12, 25)) == "Christmas"
    assert not BUILTIN.known(date(2027, 6, 1))
    assert BUILTIN.status(ms("2026-11-24 10:00")) == "holiday"


def test_a_file_gives_muhurat_its_hours():
    calendar = BUILTIN.with_file(CSV)
    assert calendar.status(ms("2026-11-08 12:00")) == "holiday"
    assert calendar.next_transition(ms("2026-11-08 12:00")).at == ms("2026-11-08 18:00")
    assert calendar.status(ms("2026-11-08 18:30")) == "special"
    assert calendar.phase("closing_auction", ms("2026-11-08 18:20")) == "continuous"
    assert calendar.phase("periodic", ms("2026-11-08 18:20")) == "closed"
    assert calendar.ticks_due(ms("2026-11-08 18:20"))
    assert calendar.close_of(date(2026, 11, 8)) == ms("2026-11-08 19:15")


def test_a_session_may_have_a_break():
    calendar = BUILTIN.with_file(CSV)
    assert calendar.status(ms("2027-02-06 09:30")) == "special"
    assert calendar.status(ms("2027-02-06 10:30")) == calendar.phase("standard", ms("2027-02-06 10:30")) == "closed"
    assert calendar.status(ms("2027-02-06 12:00")) == "special"
    assert calendar.trading_date(ms("2027-02-06 10:30")) == date(2027, 2, 6)


def test_a_single_day_of_a_file_is_known_without_its_year():
    calendar = BUILTIN.with_file("date,kind,name\n2028-01-26,holiday,Republic Day\n")
    assert calendar.known(date(2028, 1, 26))
    assert not calendar.known(date(2028, 1, 27))


def test_the_samples_beside_the_parser_are_calendars():
    *_, sample_csv, sample_toml = [
        dedent(f"    {part}") for part in re.split(r"\n\n    (?=date,kind|\[\[day)", calendar_file.__doc__ or "")
    ]
    in_csv = parse_calendar(sample_csv.split("\n\n")[0])
    in_toml = parse_calendar(sample_toml.split("\n\n")[0])
    assert [day.kind for day in in_csv] == ["complete_year", "holiday", "special_session", "muhurat"]
    assert in_toml == in_csv[3:]


HEADER = "date,kind,name,windows\n"


@pytest.mark.parametrize(
    ("text", "row", "field", "message"),
    [
        ("", None, "header", "expected the header date,kind,name,windows, got an empty file"),
        ("# nothing\n\n", None, "header", "got an empty file"),
        ("<!doctype html>\n<html>", 1, "header", "expected the header date,kind,name,windows, got '<!doctype html>'"),
        ("date;kind;name\n", 1, "header", "got 'date;kind;name'"),
        ("\n" + HEADER + "2027-01-26\n", 3, "kind", "row 3: kind: expected date,kind,name, got 1 of them"),
        (HEADER + "2027-01-26,holiday\n", 2, "name", "row 2: name: expected date,kind,name, got 2 of them"),
        (HEADER + "26-01-2027,holiday,X\n", 2, "date", "date: expected a day as YYYY-MM-DD, got '26-01-2027'"),
        (HEADER + "20270126,holiday,X\n", 2, "date", "expected a day as YYYY-MM-DD, got '20270126'"),
        (HEADER + "2027-02-30,holiday,X\n", 2, "date", "expected a day as YYYY-MM-DD, got '2027-02-30'"),
        (HEADER + ",holiday,X\n", 2, "date", "expected a day as YYYY-MM-DD, got nothing"),
        (HEADER + "2027-01-26,half,X\n", 2, "kind", "expected holiday or muhurat or .*, got 'half'"),
        (HEADER + "2027-01-26,holiday,\n", 2, "name", "expected the name of the day, got nothing"),
        (HEADER + "2027-01-26,holiday,X,continuous=10:00-11:00\n", 2, "windows", "expected none for a holiday"),
        (HEADER + "2027-01-26,muhurat,X,18:15-19:15\n", 2, "windows", r"windows: expected \[class:\]phase=HH:MM-HH:MM"),
        (
            HEADER + "2027-01-26,holiday,X\n2027-01-26,holiday,Y\n",
            3,
            "date",
            "row 3: date: expected each day once, got 2027-01-26 again, first on line 2",
        ),
        (HEADER + '2027-01-26,holiday,"X\n', 2, None, "row 2: expected a line of CSV"),
        ("[[day]\n", 1, None, "row 1: expected TOML: "),
        ("[[day]]\ndate = 2027-02-30\n", 2, None, "row 2: expected TOML: "),
        ("[[day]]\nday = 2027-01-26\n", 1, "day", "row 1: day: expected date, kind, name, windows, got 'day'"),
        ("[[day]]\ndate = 2027-01-26T10:00:00\n", 1, "date", "row 1: date: expected a day as YYYY-MM-DD"),
        ('\n[[day]]\ndate = 2027-01-26\nkind = ["holiday"]\nname = "X"\n', 2, "kind", "row 2: kind: expected holiday"),
        ('[[day]]\ndate = 2027-01-26\nkind = "holiday"\nname = 7\n', 1, "name", "expected the name of the day, got 7"),
        ('[[day]]\ndate = 2027-01-26\nkind = "muhurat"\nname = "X"\nwindows = "a"\n', 1, "windows", "a list of texts"),
        ("[days]\n", None, "days", r"expected only \[\[day\]\] tables, got 'days'"),
        ("[day]\n", None, "day", r"expected \[\[day\]\] tables"),
        ("day = [{date = 2027-01-26}]\n", None, "kind", "kind: expected holiday or .*, got nothing"),
        ("[[day]]\nx = " + "1" * 5000, None, None, "expected TOML"),
        ("x = " + "[" * 5000, None, None, "expected TOML"),
    ],
)
def test_a_wrong_file_is_refused_with_line_field_expectation_and_what_came(text, row, field, message):
    with pytest.raises(BadFile, match=message) as refused:
        BUILTIN.with_file(text)
    assert (refused.value.row, refused.value.field) == (row, field)


def test_every_class_has_a_phase_at_every_moment_of_a_builtin_day():
    start = ms("2026-08-03 00:00")
    for minute in range(24 * 60):
        assert set(BUILTIN.phases(start + minute * 60_000)) == set(CLASSES)
