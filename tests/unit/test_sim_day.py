"""One whole day of the simulated market under the rules of November 2026, watched tick by tick."""

from itertools import combinations, pairwise
from statistics import correlation, mean

import pytest

from bhavcast.domain import field
from bhavcast.domain.session import ScripClass, class_of
from bhavcast.reference.builtin import SENSEX, universe
from tests.sim_tape import CALENDAR, MINUTE, NEW_RULES, Row, Tape, at, market

pytestmark = pytest.mark.slow

SCRIPS = 60
RATE = 9.0


class Day(Tape):
    """A tape that also remembers how the board stood at some moments."""

    pictures: dict[tuple[int, int], dict[str, Row]]


@pytest.fixture(scope="module")
def day() -> Day:
    simulated = market(SCRIPS, rate=RATE)
    tape = Day(universe(SCRIPS, 1), simulated)
    tape.pictures = {}
    simulated.start(at(NEW_RULES, 8))
    for hour, minute in ((8, 59), (9, 9), (9, 14), (12, 0), (15, 16), (15, 29), (15, 36), (15, 49), (16, 1), (23, 0)):
        tape.take(simulated.advance(at(NEW_RULES, hour, minute)))
        tape.pictures[hour, minute] = {symbol: dict(row) for symbol, row in tape.rows.items()}
    return tape


def shares(day: Day, start: int, end: int) -> float:
    """Return the mean volume of a minute between two moments."""
    minutes = range(start // MINUTE, end // MINUTE)
    return sum(day.volume[minute] for minute in minutes) / len(minutes)


def test_nothing_is_wrong_with_any_tick(day: Day) -> None:
    assert day.complaints == []
    assert day.count > 150_000


def test_before_the_first_order_every_scrip_states_previous_close_and_limits(day: Day) -> None:
    for symbol, close in day.universe.closes.items():
        assert day.pictures[8, 59][symbol][field.PREVIOUS_CLOSE] == close
        if not symbol.startswith("IDX:"):
            assert field.CURRENT_PRICE not in day.pictures[8, 59][symbol]
            limits = (day.pictures[8, 59][symbol][number] for number in (field.LOWER_CIRCUIT, field.UPPER_CIRCUIT))
            lower, upper = limits
            assert lower <= close <= upper


def test_pre_open_shows_an_indicative_price_and_crossed_books(day: Day) -> None:
    rows = [row for row in day.pictures[9, 9].values() if row.get(field.INDICATIVE_PRICE)]
    assert len(rows) > SCRIPS / 2
    assert any(row[field.BID_PRICE] > row[field.ASK_PRICE] for row in rows)
    assert all(row[field.INDICATIVE_QUANTITY] > 0 for row in rows)
    assert not any(row.get(field.VOLUME) for row in rows)


def test_the_pre_open_matches_at_the_indicative_price_which_is_the_open(day: Day) -> None:
    matched = 0
    for symbol, entry in day.pictures[9, 9].items():
        row = day.pictures[9, 14][symbol]
        if row.get(field.OPEN) and not symbol.startswith("IDX:"):
            matched += 1
            assert entry.get(field.INDICATIVE_PRICE) or row[field.VOLUME]
            assert row[field.INDICATIVE_PRICE] is None
            assert row[field.OPEN] == row[field.HIGH] == row[field.LOW] == row[field.CURRENT_PRICE]
            assert row[field.BID_PRICE] < row[field.ASK_PRICE]
    assert matched > SCRIPS / 2


def test_the_edges_of_the_session_trade_more_than_twice_and_a_half_its_middle(day: Day) -> None:
    midday = shares(day, at(NEW_RULES, 12), at(NEW_RULES, 13, 30))
    assert shares(day, at(NEW_RULES, 9, 15), at(NEW_RULES, 9, 45)) >= 2.5 * midday
    assert shares(day, at(NEW_RULES, 14, 45), at(NEW_RULES, 15, 15)) >= 2.5 * midday
    assert shares(day, at(NEW_RULES, 15), at(NEW_RULES, 15, 30)) >= 2.5 * midday


def test_ticks_come_at_the_rate_asked_for_and_burst_at_the_open(day: Day) -> None:
    session = range(at(NEW_RULES, 9, 15) // MINUTE, at(NEW_RULES, 15, 15) // MINUTE)
    assert mean(day.ticks[minute] for minute in session) / 60 == pytest.approx(RATE, rel=0.1)
    opening = session[:3]
    assert 2 * RATE < mean(day.ticks[minute] for minute in opening) / 60 < 4 * RATE


def test_scrips_move_together_more_within_a_sector_than_between(day: Day) -> None:
    minutes = range(at(NEW_RULES, 9, 20) // MINUTE, at(NEW_RULES, 15, 10) // MINUTE)
    returns = {c.code: _returns(day.last[c.code], minutes) for c in SENSEX}
    sector = {c.code: c.sector for c in SENSEX}
    within: list[float] = []
    between: list[float] = []
    for one, other in combinations(returns, 2):
        found = correlation(returns[one], returns[other])
        (within if sector[one] == sector[other] else between).append(found)
    assert mean(within) > mean(between) + 0.1
    assert mean(between) > 0.1


def _returns(prices: dict[int, int], minutes: range) -> list[float]:
    known = [price for minute, price in sorted(prices.items()) if minute <= minutes[0]][-1]
    path = [known := prices.get(minute, known) for minute in minutes]
    return [after / before - 1 for before, after in pairwise(path)]


def test_activity_is_skewed_towards_the_large(day: Day) -> None:
    trades = [day.rows[symbol].get(field.TRADES, 0) for symbol in day.universe.instruments if symbol[0] != "I"]
    top = sorted(trades, reverse=True)[: SCRIPS // 6]
    assert sum(top) > sum(trades) / 4


def test_closing_auction_begins_with_a_reference_price_and_no_book(day: Day) -> None:
    for symbol, instrument in day.universe.instruments.items():
        row = day.pictures[15, 16][symbol]
        if instrument.closing_auction:
            assert row[field.LOW] <= row[field.REFERENCE_PRICE] <= row[field.HIGH]
            assert row[field.BIDS] is None
            assert row.get(field.CLOSE_PRICE) is None
        elif not instrument.is_index:
            assert field.REFERENCE_PRICE not in row


def test_closing_auction_finds_one_price_for_large_volume(day: Day) -> None:
    codes = [symbol for symbol, instrument in day.universe.instruments.items() if instrument.closing_auction]
    for symbol in codes:
        before, after = day.pictures[15, 29][symbol], day.pictures[15, 36][symbol]
        assert before[field.INDICATIVE_PRICE] is not None
        assert after[field.INDICATIVE_PRICE] is None
        assert after[field.CLOSE_PRICE] == after[field.CURRENT_PRICE]
        assert after[field.VOLUME] > before[field.VOLUME]
        reference = after[field.REFERENCE_PRICE]
        assert abs(after[field.CLOSE_PRICE] - reference) <= 0.03 * reference


def test_other_scrips_close_at_the_average_of_the_last_half_hour(day: Day) -> None:
    ordinary = [i.symbol for i in day.universe.instruments.values() if class_of(i) == "standard" and not i.is_index]
    closed = [symbol for symbol in ordinary if day.rows[symbol].get(field.CLOSE_PRICE)]
    assert len(closed) == sum(1 for symbol in ordinary if day.rows[symbol].get(field.VOLUME))
    for symbol in closed:
        prices = [
            price
            for minute, price in day.last[symbol].items()
            if at(NEW_RULES, 15) // MINUTE <= minute < at(NEW_RULES, 15, 30) // MINUTE
        ]
        row = day.pictures[15, 49][symbol]
        if len(prices) > 10:
            assert min(prices) * 0.99 <= row[field.CLOSE_PRICE] <= max(prices) * 1.01
        assert row[field.LOW] <= row[field.CLOSE_PRICE] <= row[field.HIGH]


def test_after_the_close_trades_are_at_the_close(day: Day) -> None:
    traded = 0
    for symbol, row in day.pictures[16, 1].items():
        before = day.pictures[15, 49][symbol]
        if not symbol.startswith("IDX:") and row.get(field.VOLUME, 0) != before.get(field.VOLUME, 0):
            traded += 1
            assert row[field.CURRENT_PRICE] == row[field.CLOSE_PRICE]
    assert traded > 0


def test_indices_close_by_the_closes_of_their_members(day: Day) -> None:
    for basis in day.universe.indices:
        closes = {symbol: day.rows[symbol][field.CLOSE_PRICE] for symbol in basis.members}
        assert day.rows[basis.symbol][field.CLOSE_PRICE] == basis.value(basis.cap(closes))


def test_an_index_ticks_once_a_second_at_most(day: Day) -> None:
    assert day.index_seconds
    assert max(day.index_seconds.values()) == 1


def test_when_the_day_is_over_nothing_is_said(day: Day) -> None:
    assert max(day.ticks) < at(NEW_RULES, 16) // MINUTE + 1
    assert day.market.idle
    assert set(day.phases) == {"closed", *_phases("standard"), *_phases("closing_auction")} - _SILENT


_SILENT = {"pre_open_buffer"}


def _phases(cls: ScripClass) -> set[str]:
    return {window.phase for window in CALENDAR.windows(NEW_RULES, cls)}
