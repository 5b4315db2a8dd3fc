"""What weeks, months and years are put together from, on disk."""

import datetime

import pytest

from bhavcast.domain.errors import Unavailable
from bhavcast.domain.span import DayRange, Span
from bhavcast.reference.past_days import KEPT, OFFICIAL, PastDays

TODAY = datetime.date(2026, 11, 23)


@pytest.fixture
def days(tmp_path):
    return PastDays(tmp_path / "days")


def ago(count: int) -> datetime.date:
    return TODAY - datetime.timedelta(count)


def keep(days: PastDays, count: int, high: int, low: int, mode: str = "sim", scale: int = 2) -> None:
    days.keep(ago(count), mode, {"500325": DayRange(high, low, scale)})


def spans(days: PastDays, mode: str = "sim") -> list[Span | None]:
    return days.spans(TODAY, mode, {"500325": 2}.get).get("500325", [None] * 3)


def test_a_span_begins_with_its_first_day_and_ends_with_today(days):
    for count, high in ((6, 110), (7, 120), (29, 130), (30, 140), (363, 150), (364, 160), (0, 170), (-1, 180)):
        keep(days, count, high, high - 10)
    assert spans(days) == [
        Span(ago(6).toordinal(), 1, 110, 100),
        Span(ago(29).toordinal(), 3, 130, 100),
        Span(ago(363).toordinal(), 5, 150, 100),
    ]


def test_an_official_range_wins_over_what_was_heard_and_another_mode_says_nothing(days):
    keep(days, 1, 200, 100)
    keep(days, 1, 150, 120, OFFICIAL)
    keep(days, 2, 900, 1, "replay")
    week, *_ = spans(days)
    assert week == Span(ago(1).toordinal(), 1, 150, 120)
    assert spans(days, "replay")[0] == Span(ago(2).toordinal(), 2, 900, 1)


def test_prices_are_told_in_the_scale_that_the_scrip_has_now(days):
    keep(days, 1, 1_234_567, 1_000_000, scale=4)
    assert spans(days)[0] == Span(ago(1).toordinal(), 1, 12346, 10000)
    assert days.spans(TODAY, "sim", lambda symbol: None) == {}


def test_no_more_than_so_many_days_are_kept(days):
    for count in range(KEPT + 5, 0, -1):
        keep(days, count, 100, 90)
    assert len(list((days._directory).iterdir())) == KEPT
    assert spans(days)[2] == Span(ago(363).toordinal(), 363, 100, 90)


def test_a_market_that_begins_anew_has_no_past_of_its_own(days):
    keep(days, 1, 200, 100)
    keep(days, 2, 150, 120, OFFICIAL)
    days.forget("sim")
    assert spans(days)[0] == Span(ago(2).toordinal(), 1, 150, 120)


def test_a_damaged_day_costs_itself_alone(days):
    keep(days, 1, 200, 100)
    keep(days, 2, 300, 100)
    path = days._directory / f"{ago(2).isoformat()}.sim.day"
    path.write_bytes(path.read_bytes()[:-1])
    (days._directory / "2026-02-31.sim.day").write_bytes(b"")
    assert spans(days)[0] == Span(ago(1).toordinal(), 1, 200, 100)


def test_what_cannot_be_stored_is_said(tmp_path):
    (tmp_path / "days").write_text("in the way")
    with pytest.raises(Unavailable, match="days"):
        keep(PastDays(tmp_path / "days"), 1, 200, 100)
