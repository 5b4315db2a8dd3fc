from datetime import date, time
from typing import get_args

import pytest

from bhavcast.domain.hours import PLANNED, RULES, Span, parse_hours, random_minutes, rules_of
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.session import (
    CALL_AUCTION_PHASES,
    CLASSES,
    TICKS_DUE_PHASES,
    TRADING_PHASES,
    Phase,
    ScripClass,
    class_of,
    halt_minutes,
)


def scrip(**changes):
    return Instrument(**{"symbol": "500325", "id": "RELIANCE", "name": "RELIANCE INDUSTRIES LTD.", **changes})


@pytest.mark.parametrize(
    ("changes", "cls"),
    [
        ({}, "standard"),
        ({"call_auction": "none"}, "standard"),
        ({"closing_auction": True}, "closing_auction"),
        ({"call_auction": "periodic"}, "periodic"),
        ({"call_auction": "ipo"}, "special_pre_open"),
        ({"call_auction": "relist"}, "special_pre_open"),
        ({"call_auction": "relist", "closing_auction": True}, "special_pre_open"),
        ({"symbol": "IDX:SENSEX", "id": "SENSEX", "kind": "IDX"}, "standard"),
    ],
)
def test_a_scrips_class_is_its_own_call_auction_or_else_whether_it_has_the_closing_auction(changes, cls):
    assert class_of(scrip(**changes)) == cls


def test_the_list_of_classes_is_complete():
    assert get_args(ScripClass) == CLASSES


def test_sets_of_phases_name_only_phases():
    assert set(get_args(Phase)) >= CALL_AUCTION_PHASES | TRADING_PHASES | TICKS_DUE_PHASES
    assert not {"closed", "halted"} & (CALL_AUCTION_PHASES | TRADING_PHASES | TICKS_DUE_PHASES)


@pytest.mark.parametrize(
    ("percent", "at", "minutes"),
    [
        (9, time(10, 0), 0),
        (0, time(10, 0), 0),
        (10, time(9, 15), 45),
        (10, time(12, 59, 59), 45),
        (10, time(13, 0), 15),
        (10, time(14, 29, 59), 15),
        (10, time(14, 30), 0),
        (-10, time(12, 0), 45),
        (12, time(12, 0), 45),
        (15, time(12, 59), 105),
        (15, time(13, 0), 45),
        (15, time(13, 59), 45),
        (15, time(14, 0), None),
        (-15, time(15, 0), None),
        (20, time(9, 15), None),
        (20, time.max, None),
        (10, time.max, 0),
        (35, time(12, 0), None),
    ],
)
def test_the_length_of_a_market_wide_halt_follows_the_index_move_and_the_hour(percent, at, minutes):
    assert halt_minutes(percent, at) == minutes


@pytest.mark.parametrize(
    ("day", "since"),
    [
        (date(2021, 5, 7), date.min),
        (date(2026, 8, 2), date.min),
        (date(2026, 8, 3), date(2026, 8, 3)),
        (date(2026, 9, 6), date(2026, 8, 3)),
        (date(2026, 9, 7), date(2026, 9, 7)),
        (date(2031, 1, 1), date(2026, 9, 7)),
    ],
)
def test_each_date_has_its_rules_and_dates_outside_the_nearest(day, since):
    assert rules_of(day).since == since


def test_timetables_give_every_class_its_day():
    for rules in RULES:
        assert set(rules.hours) == set(CLASSES)
        assert all(spans[-1].phase == "post_close" and spans[-1].end == 16 * 60 for spans in rules.hours.values())


def test_a_class_with_windows_of_its_own_follows_only_those():
    hours = parse_hours("continuous=10:00-11:00 periodic:pre_open_entry=10:00-10:45")
    assert hours["standard"] == hours["closing_auction"] == (Span("continuous", 600, 660),)
    assert hours["periodic"] == (Span("pre_open_entry", 600, 645),)


def test_windows_may_be_written_in_any_order():
    hours = parse_hours("continuous=10:00-11:00 pre_open_entry=09:30-10:00")
    assert [span.phase for span in hours["standard"]] == ["pre_open_entry", "continuous"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("continuous", r"expected \[class:\]phase=HH:MM-HH:MM, got 'continuous'"),
        ("continuous=9:15-15:30", r"expected \[class:\]phase=HH:MM-HH:MM, got 'continuous=9:15-15:30'"),
        ("continuous=09:15-24:00", r"expected \[class:\]phase=HH:MM-HH:MM"),
        ("continuous=09:15-15:60", r"expected \[class:\]phase=HH:MM-HH:MM"),
        ("lunch=12:00-13:00", "expected a phase out of pre_open_entry, .*, got 'lunch'"),
        ("halted=12:00-13:00", "expected a phase out of .*, got 'halted'"),
        ("a_class:continuous=12:00-13:00", "expected a class out of standard, .*, got 'a_class'"),
        ("continuous=13:00-12:00", "expected a start before its end, got 'continuous=13:00-12:00'"),
        ("continuous=12:00-12:00", "expected a start before its end"),
        ("continuous=07:59-12:00", "expected a start from 08:00 on"),
        (
            "continuous=10:00-11:00 closing=10:59-11:30",
            "do not overlap, got continuous=10:00-11:00 and closing=10:59-11:30",
        ),
    ],
)
def test_a_wrong_timetable_is_refused_with_what_was_expected_and_what_came(text, message):
    with pytest.raises(ValueError, match=message):
        parse_hours(text)


def test_a_halt_is_never_planned():
    assert not {"closed", "halted", "auction_after_halt"} & set(PLANNED)


@pytest.mark.parametrize(
    ("day", "cls", "phase", "minutes"),
    [
        (date(2026, 9, 4), "standard", "pre_open_entry", 1),
        (date(2026, 9, 7), "standard", "pre_open_entry", 2),
        (date(2026, 9, 7), "special_pre_open", "pre_open_entry", 10),
        (date(2026, 9, 7), "periodic", "pre_open_entry", 1),
        (date(2026, 9, 7), "closing_auction", "cas_entry", 2),
        (date(2026, 9, 7), "standard", "continuous", 0),
    ],
)
def test_order_entry_may_stop_at_random_within_its_last_minutes(day, cls, phase, minutes):
    assert random_minutes(rules_of(day), cls, phase) == minutes
