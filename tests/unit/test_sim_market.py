"""The simulated market in all the moments that a whole quiet day does not show."""

from datetime import date, timedelta
from time import process_time

import msgspec
import pytest

from bhavcast.domain import field
from bhavcast.domain.session import class_of
from bhavcast.domain.tick import Tick
from bhavcast.domain.universe import Universe
from bhavcast.feeds.sim.market import Market
from bhavcast.reference.builtin import universe
from tests.sim_tape import CALENDAR, MINUTE, NEW_RULES, OLD_RULES, Row, Tape, at, market

pytestmark = pytest.mark.slow

UNIVERSE = universe(60, 1)


def told(market: Market, start: int, *moments: int) -> bytes:
    """Start a market, advance it from moment to moment, and return everything it said."""
    market.start(start)
    return msgspec.msgpack.encode([tick for moment in moments for tick in market.advance(moment)])


def watched(market: Market, start: int, *, exact: bool = True) -> Tape:
    market.start(start)
    tape = Tape(UNIVERSE, market, exact=False)
    tape.take(market.advance(market.now))
    tape.exact = exact
    return tape


# One course for one seed


def test_the_same_seed_says_the_same_bytes() -> None:
    start = at(NEW_RULES, 9, 59)
    assert told(market(seed=3), start, start + 5 * MINUTE) == told(market(seed=3), start, start + 5 * MINUTE)


def test_another_seed_says_something_else() -> None:
    start = at(NEW_RULES, 9, 59)
    assert told(market(seed=3), start, start + MINUTE) != told(market(seed=4), start, start + MINUTE)


@pytest.mark.parametrize(
    ("start", "minutes"),
    [(at(NEW_RULES, 9, 7), 10), (at(NEW_RULES, 15, 14), 8), (at(NEW_RULES, 15, 58), 4), (at(NEW_RULES, 7, 59), 3)],
)
def test_how_time_is_sliced_makes_no_difference(start: int, minutes: int) -> None:
    end = start + minutes * MINUTE
    slices = [moment for k, moment in enumerate(range(start, end, 7)) if k % 11 % 3 == 0]
    assert told(market(rate=30), start, end) == told(market(rate=30), start, *slices, end)


def test_slices_across_a_night_make_no_difference() -> None:
    start, end = at(NEW_RULES, 15, 59, 50), at(date(2026, 11, 25), 9, 0, 20)
    slices = range(start, end, 1_234_567)
    assert told(market(rate=30), start, end) == told(market(rate=30), start, *slices, end)


# At any moment


@pytest.mark.parametrize(
    ("moment", "phase"),
    [
        (at(NEW_RULES, 8, 30), "closed"),
        (at(NEW_RULES, 9, 5), "pre_open_entry"),
        (at(NEW_RULES, 9, 11), "pre_open_match"),
        (at(NEW_RULES, 9, 14, 50), "pre_open_buffer"),
        (at(NEW_RULES, 9, 15), "continuous"),
        (at(NEW_RULES, 11, 30), "continuous"),
        (at(NEW_RULES, 15, 17), "cas_reference"),
        (at(NEW_RULES, 15, 22), "cas_entry"),
        (at(NEW_RULES, 15, 31), "cas_match"),
        (at(NEW_RULES, 15, 40), "closing"),
        (at(NEW_RULES, 15, 55), "post_close"),
        (at(NEW_RULES, 20), "closed"),
        (at(NEW_RULES - timedelta(1), 12), "closed"),  # a Sunday
        (at(OLD_RULES, 15, 29), "continuous"),
    ],
)
def test_a_market_that_starts_at_any_moment_adds_up(moment: int, phase: str) -> None:
    simulated = market(rate=60)
    tape = watched(simulated, moment)
    assert CALENDAR.phase("closing_auction", moment) == phase
    assert set(tape.rows) == set(UNIVERSE.instruments)
    tape.take(simulated.advance(moment + 3 * MINUTE))
    assert tape.complaints == []


def test_a_market_that_starts_at_noon_has_a_past() -> None:
    tape = watched(market(rate=700), at(NEW_RULES, 12))
    for c in UNIVERSE.indices[0].members:
        row = tape.rows[c]
        assert row[field.LOW] < row[field.HIGH]
        assert row[field.VOLUME] > 1000
        assert len(row[field.BIDS]) == len(row[field.ASKS]) == 5
    sensex = tape.rows["IDX:SENSEX"]
    assert sensex[field.LOW] < sensex[field.HIGH]


def test_volume_at_the_start_is_about_what_trading_until_then_brings() -> None:
    lived, coasted = market(rate=30), market(rate=30)
    live = watched(lived, at(NEW_RULES, 9, 15))
    live.take(lived.advance(at(NEW_RULES, 9, 45)))
    coast = watched(coasted, at(NEW_RULES, 9, 45))
    totals = [sum(tape.rows[s][field.VALUE] for s in UNIVERSE.indices[0].members) for tape in (live, coast)]
    assert totals[0] == pytest.approx(totals[1], rel=0.35)


def test_five_thousand_scrips_start_in_the_evening_within_seconds() -> None:
    simulated = Market(universe(5000, 1), CALENDAR, seed=1)
    began = process_time()
    simulated.start(at(NEW_RULES, 16, 30))
    assert process_time() - began < 4  # measured: 0.8 s of one core; the rest is for slow machines
    assert len(simulated.advance(simulated.now)) == 5000 + len(simulated.indices)


@pytest.mark.parametrize(
    ("moment", "trades"),
    [
        (at(date(2025, 10, 21), 14), True),  # Muhurat
        (at(date(2025, 2, 1), 11), True),  # a Saturday with a session
        (at(date(2026, 11, 8), 18), False),  # Muhurat at an hour that nobody knows
        (at(date(2031, 5, 6), 11), True),  # a year that the calendar can only assume
    ],
)
def test_on_unusual_days_it_trades_when_the_calendar_says_so(moment: int, trades: bool) -> None:
    simulated = market(rate=60)
    tape = watched(simulated, moment)
    tape.take(simulated.advance(moment + MINUTE))
    assert bool(tape.volume) == trades
    assert tape.complaints == []


def test_a_universe_without_scrips_is_silent() -> None:
    simulated = Market(Universe(instruments={}, closes={}, indices=[]), CALENDAR)
    simulated.start(at(NEW_RULES, 12))
    assert simulated.advance(at(NEW_RULES, 16)) == []


# From day to day


def test_the_next_day_begins_at_the_closes_of_this_one() -> None:
    simulated = market(rate=30)
    tape = watched(simulated, at(NEW_RULES, 15, 10))
    tape.take(simulated.advance(at(NEW_RULES, 23)))
    closes = {
        symbol: row.get(field.CLOSE_PRICE) or row.get(field.CURRENT_PRICE) or row[field.PREVIOUS_CLOSE]
        for symbol, row in tape.rows.items()
    }
    # The day after is a holiday: nothing may be said on it.
    quiet = simulated.advance(at(date(2026, 11, 25), 7, 59, 59))
    assert quiet == []
    tape.rows.clear()
    tape.take(simulated.advance(at(date(2026, 11, 25), 8, 59)))
    assert {symbol: row[field.PREVIOUS_CLOSE] for symbol, row in tape.rows.items()} == closes
    assert simulated.date == date(2026, 11, 25)


def test_a_leap_into_the_next_day_keeps_the_closes() -> None:
    simulated = market(rate=30)
    watched(simulated, at(NEW_RULES, 16, 30))
    closes = {scrip.symbol: scrip.official_close() for scrip in simulated.scrips}
    simulated.leap(at(date(2026, 11, 25), 9, 14, 50))
    rows = {tick.symbol: tick.values for tick in simulated.advance(simulated.now)}
    assert {symbol: rows[symbol][field.PREVIOUS_CLOSE] for symbol in closes} == closes
    assert rows["532540"][field.OPEN]


def test_under_the_old_rules_all_scrips_trade_until_half_past_three() -> None:
    simulated = market(rate=60)
    tape = watched(simulated, at(OLD_RULES, 15, 20))
    tape.take(simulated.advance(at(OLD_RULES, 15, 41)))
    assert tape.complaints == []
    assert tape.rows["532540"][field.CLOSE_PRICE]
    assert field.REFERENCE_PRICE not in tape.rows["532540"]


# Limits


def test_at_its_limit_a_scrip_is_locked_on_one_side_and_trades_on() -> None:
    simulated = market(rate=200)
    tape = watched(simulated, at(NEW_RULES, 14, 35))  # after 14:30 less than 15 per cent halts nothing
    simulated.shock(0.12)
    tape.take(simulated.advance(at(NEW_RULES, 14, 37)))
    before = {symbol: dict(row) for symbol, row in tape.rows.items() if symbol[0] != "I" and row[field.ASKS] is None}
    assert before
    for row in before.values():
        assert row[field.BID_PRICE] == row[field.UPPER_CIRCUIT]
        assert row[field.ASK_PRICE] is row[field.ASK_QUANTITY] is row[field.TOTAL_ASK_QUANTITY] is None
    tape.take(simulated.advance(at(NEW_RULES, 14, 40)))
    assert tape.complaints == []
    traded = [tape.rows[symbol] for symbol in before if tape.rows[symbol][field.VOLUME] != before[symbol][field.VOLUME]]
    assert any(row[field.CURRENT_PRICE] == row[field.UPPER_CIRCUIT] and row[field.ASKS] is None for row in traded)
    assert simulated.halts == []


def test_a_scrip_that_comes_back_from_its_lower_limit_has_bids_again() -> None:
    simulated = market(rate=200)
    tape = watched(simulated, at(NEW_RULES, 14, 35))  # no halt after 14:30
    simulated.shock(-0.09)
    tape.take(simulated.advance(at(NEW_RULES, 14, 37)))
    locked = [symbol for symbol, row in tape.rows.items() if symbol[0] != "I" and row[field.BIDS] is None]
    assert locked
    assert all(tape.rows[symbol][field.ASK_PRICE] == tape.rows[symbol][field.LOWER_CIRCUIT] for symbol in locked)
    simulated.shock(0.15)
    tape.take(simulated.advance(at(NEW_RULES, 14, 40)))
    assert all(tape.rows[symbol][field.BIDS] for symbol in locked)
    assert tape.complaints == []


def test_a_scrip_without_a_fixed_band_has_one_that_gives_way() -> None:
    simulated = market(rate=200)
    tape = watched(simulated, at(NEW_RULES, 14, 35))
    limit = tape.rows["532540"][field.UPPER_CIRCUIT]
    simulated.shock(0.12)
    tape.take(simulated.advance(at(NEW_RULES, 14, 39)))
    assert tape.rows["532540"][field.UPPER_CIRCUIT] > limit
    assert tape.rows["532540"][field.CURRENT_PRICE] > limit
    assert tape.complaints == []


# Halts


def halted(start: int, until: int) -> tuple[Market, list[Tick]]:
    simulated = market(rate=40)
    tape = watched(simulated, start)
    simulated.shock(-0.13)
    ticks = simulated.advance(until)
    tape.take(ticks)
    assert tape.complaints == []
    return simulated, ticks


def test_an_index_down_by_ten_per_cent_halts_all_and_reopens_by_auction() -> None:
    simulated, ticks = halted(at(NEW_RULES, 11), at(NEW_RULES, 12, 10))
    stop, auction = simulated.halts[:2]
    assert (stop.phase, auction.phase) == ("halted", "auction_after_halt")
    assert stop.start - at(NEW_RULES, 11) < MINUTE
    assert stop.end - stop.start == 45 * MINUTE
    assert auction.start == stop.end
    assert auction.end - auction.start == 15 * MINUTE
    assert simulated.phase_override(stop.start + MINUTE) == "halted"
    assert simulated.phase_override(auction.end - 1) == "auction_after_halt"
    assert simulated.phase_override(auction.end) is None
    assert not [tick for tick in ticks if stop.start + 1000 < tick.time < stop.end]
    orders = [tick for tick in ticks if auction.start <= tick.time < auction.end]
    assert any(tick.values.get(field.INDICATIVE_PRICE) for tick in orders)
    assert not any(field.VOLUME in tick.values for tick in orders)
    matches = [tick for tick in ticks if auction.end <= tick.time < auction.end + 5000]
    assert any(tick.values.get(field.INDICATIVE_PRICE, 0) is None and field.VOLUME in tick.values for tick in matches)


@pytest.mark.parametrize(
    ("percent", "hour", "minute", "halt"),
    [(10, 13, 30, 15), (10, 14, 31, 0), (15, 11, 0, 105), (15, 13, 30, 45)],
)
def test_a_forced_halt_follows_the_rules_of_its_hour(percent: int, hour: int, minute: int, halt: int) -> None:
    simulated = market(rate=3)
    tape = watched(simulated, at(NEW_RULES, hour, minute))
    simulated.force_halt(percent)
    tape.take(simulated.advance(at(NEW_RULES, hour, minute, 5)))
    assert [(held.end - held.start) // MINUTE for held in simulated.halts if held.phase == "halted"] == [halt] * (
        halt > 0
    )
    tape.take(simulated.advance(at(NEW_RULES, 15, 50)))
    assert tape.complaints == []


def test_a_halt_for_the_rest_of_the_day_still_has_closes() -> None:
    simulated = market(rate=10)
    tape = watched(simulated, at(NEW_RULES, 14, 10))
    simulated.force_halt(20)
    tape.take(simulated.advance(at(NEW_RULES, 15, 49)))
    assert simulated.phase_override(at(NEW_RULES, 15, 29)) == "halted"
    assert "cas_entry" not in tape.phases
    for instrument in UNIVERSE.instruments.values():
        row = tape.rows[instrument.symbol]
        if row.get(field.VOLUME) and class_of(instrument) == "closing_auction":
            assert row[field.LOW] <= row[field.CLOSE_PRICE] <= row[field.HIGH]
    assert tape.complaints == []


# Going on from a board


def test_a_restored_market_goes_on_from_the_board() -> None:
    moment = at(NEW_RULES, 15, 5)
    before = watched(market(rate=60, seed=1), moment)
    rows: dict[str, Row] = {symbol: dict(row) for symbol, row in before.rows.items()}
    simulated = market(rate=60, seed=2)
    simulated.restore(rows, moment)
    after = Tape(UNIVERSE, simulated)
    after.rows.update({symbol: dict(row) for symbol, row in rows.items()})
    after.take(simulated.advance(moment + 2 * MINUTE))
    assert after.complaints == []
    for symbol in UNIVERSE.indices[0].members:
        then, now = rows[symbol][field.CURRENT_PRICE], after.rows[symbol][field.CURRENT_PRICE]
        assert now == pytest.approx(then, rel=0.01)
        assert after.rows[symbol][field.OPEN] == rows[symbol][field.OPEN]
        assert after.rows[symbol][field.VOLUME] >= rows[symbol][field.VOLUME]
    after.take(simulated.advance(at(NEW_RULES, 16)))
    assert after.complaints == []
    assert all(after.rows[symbol][field.CLOSE_PRICE] for symbol in UNIVERSE.indices[0].members)


def test_a_restart_in_an_auction_still_matches_it() -> None:
    moment = at(NEW_RULES, 9, 9)
    before = watched(market(rate=100, seed=1), moment - 5 * MINUTE)
    before.take(before.market.advance(moment))
    indicated = [symbol for symbol, row in before.rows.items() if row.get(field.INDICATIVE_PRICE)]
    simulated = market(rate=100, seed=2)
    simulated.restore(before.rows, moment)
    before.market = simulated
    before.take(simulated.advance(at(NEW_RULES, 9, 14)))
    assert before.complaints == []
    assert all(before.rows[symbol][field.INDICATIVE_PRICE] is None for symbol in indicated)
    assert sum(1 for symbol in indicated if before.rows[symbol].get(field.OPEN)) > len(indicated) / 2


def test_a_restart_in_a_halt_does_not_reopen_the_market() -> None:
    simulated, _ = halted(at(NEW_RULES, 11), at(NEW_RULES, 11, 20))
    rows = {tick.symbol: tick.values for tick in simulated.whole()}
    for row in rows.values():
        row[field.PHASE] = "halted"
    again = market(rate=40, seed=9)
    again.restore(rows, at(NEW_RULES, 11, 20))
    assert again.phase_override(at(NEW_RULES, 11, 21)) == "halted"
    assert again.advance(at(NEW_RULES, 11, 30)) == []


def test_an_auction_that_a_halt_interrupts_leaves_no_crossed_book() -> None:
    simulated = market(rate=100)
    tape = watched(simulated, at(NEW_RULES, 15, 21))
    tape.take(simulated.advance(at(NEW_RULES, 15, 24)))
    simulated.force_halt(15)
    tape.take(simulated.advance(at(NEW_RULES, 15, 25)))
    for symbol in UNIVERSE.indices[0].members:
        assert tape.rows[symbol][field.BIDS] is tape.rows[symbol][field.INDICATIVE_PRICE] is None
    tape.take(simulated.advance(at(NEW_RULES, 15, 50)))
    assert all(tape.rows[symbol][field.CLOSE_PRICE] for symbol in UNIVERSE.indices[0].members)
    assert tape.complaints == []


def test_an_empty_board_restores_to_a_market_that_trades() -> None:
    simulated = market(rate=60)
    simulated.restore({}, at(NEW_RULES, 11))
    tape = Tape(UNIVERSE, simulated)
    tape.take(simulated.advance(at(NEW_RULES, 11, 2)))
    assert tape.complaints == []
    assert sum(tape.volume.values()) > 0
