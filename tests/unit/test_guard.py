"""The guard, rule by rule: what it must keep out, and what it must never keep out."""

from typing import Any

import pytest

from bhavcast.domain import field as f
from bhavcast.domain.errors import BadRequest
from bhavcast.domain.field import Values
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.session import Phase
from bhavcast.domain.tick import Batch, Source, Tick
from bhavcast.guard.guard import SUSPEND_SCRIPS, SUSPENDED_MS, Guard
from bhavcast.guard.rules import FUTURE_MS, RULES
from bhavcast.reference.store import ReferenceStore

NOON = 1_763_965_800_000  # Mon 24 Nov 2025 12:00 IST
DAY = 86_400_000
FEED = Source("feed", "real", "tick")
OTHER = Source("other", "real", "tick")
OFFICIAL = Source("bhavcopy", "eod", "eod")
POLLED = Source("polled", "real", "polled", 60_000)
RELIANCE = Instrument(symbol="500325", id="RELIANCE", name="RELIANCE INDUSTRIES LTD.")
FINE = Instrument(symbol="500002", id="FINE", name="A scrip below 100 rupees", tick=1)
BANDED = Instrument(symbol="500003", id="BANDED", name="A scrip with a fixed band", band=20)
GOVERNMENT = Instrument(symbol="800001", id="GS", name="A bond", kind="GS", scale=4, tick=100)
SENSEX = Instrument(symbol="IDX:SENSEX", id="SENSEX", name="SENSEX", kind="IDX")
SCRIPS = {each.symbol: each for each in (RELIANCE, FINE, BANDED, GOVERNMENT, SENSEX)}

BIDS = ((157_450, 10, 1), (157_445, 20, 2), (157_440, 30, 3), (157_435, 40, 4), (157_430, 50, 5))
ASKS = ((157_460, 10, 1), (157_465, 20, 2), (157_470, 30, 3), (157_475, 40, 4), (157_480, 50, 5))
QUOTE: Values = {
    f.CURRENT_PRICE: 157_455,
    f.OPEN: 156_800,
    f.HIGH: 158_090,
    f.LOW: 156_235,
    f.PREVIOUS_CLOSE: 156_355,
    f.VOLUME: 221_992,
    f.VALUE: 221_992 * 157_472,
    f.TRADES: 6_412,
    f.AVERAGE_PRICE: 157_472,
    f.LAST_TRADE_TIME: NOON - 1_000,
    f.BID_PRICE: 157_450,
    f.ASK_PRICE: 157_460,
    f.LOWER_CIRCUIT: 140_720,
    f.UPPER_CIRCUIT: 171_990,
    f.BIDS: BIDS,
    f.ASKS: ASKS,
}
LIMITLESS = {number: value for number, value in QUOTE.items() if number not in (f.LOWER_CIRCUIT, f.UPPER_CIRCUIT)}


class Desk:
    """A guard with hands: says ticks to it, and remembers what came through."""

    def __init__(self, phase: Phase = "continuous", scrips: dict[str, Instrument] | None = None) -> None:
        self.phase: Phase = phase
        self.closes: dict[str, int] = {}
        self.scrips = dict(SCRIPS if scrips is None else scrips)
        self.guard = Guard(self.scrips.get, lambda instrument, at: self.phase, self.closes.get)

    def say(
        self,
        values: Values,
        at: int = NOON,
        symbol: str = "500325",
        source: Source = FEED,
        received: int | None = None,
    ) -> bool:
        """Say one tick; return whether it came through."""
        tick = Tick(symbol, at, values)
        return self.guard.check(Batch(source, at if received is None else received, [tick])) == [tick]

    def rule(self) -> str:
        """Return the rule that kept the last one out."""
        return self.guard.quarantine.entries()[-1].rule

    def held(self) -> int:
        return len(self.guard.quarantine)


def but(base: Values = QUOTE, /, **changes: Any) -> Values:
    """Return a quote with some fields changed, by their names."""
    return base | {f.BY_NAME[name].number: value for name, value in changes.items()}


def test_a_batch_without_fault_comes_back_as_the_very_same_list():
    desk = Desk()
    batch = Batch(FEED, NOON, [Tick("500325", NOON, QUOTE), Tick("500325", NOON + 1, but(volume=222_002))])
    assert desk.guard.check(batch) is batch.ticks
    assert desk.held() == 0


def test_the_good_ticks_of_a_mixed_batch_pass_in_order():
    desk = Desk()
    good = [Tick("500325", NOON, QUOTE), Tick("500325", NOON + 2, but(volume=222_002))]
    bad = Tick("500325", NOON + 1, but(current_price=-5))
    assert desk.guard.check(Batch(FEED, NOON + 2, [good[0], bad, good[1]])) == good


FAULTS: list[tuple[str, Values]] = [
    ("tick_size", but(current_price=157_457)),
    ("tick_size", but(open=156_801)),
    ("tick_size", but(bids=((157_450, 10, 1), (157_448, 1, 1)))),
    ("tick_size", but(indicative_price=157_001)),
    ("circuit", but(ask_price=172_000, asks=((172_000, 1, 1),))),
    ("circuit", but(asks=(*ASKS[:4], (172_000, 1, 1)))),
    ("circuit", but(current_price=140_000, low=140_000)),
    ("circuit", {f.CURRENT_PRICE: 172_000}),
    ("limits", but(lower_circuit=171_990, upper_circuit=140_720)),
    ("positive", but(current_price=0)),
    ("positive", but(current_price=-157_455)),
    ("positive", but(previous_close=0)),
    ("positive", but(average_price=-1)),
    ("positive", but(year_high=0)),
    ("positive", but(bids=((-5, 1, 1),))),
    ("priced_orders", but(bid_price=0)),
    ("crossed", but(bid_price=157_465, bids=None)),
    ("crossed", but(bid_price=None, ask_price=None, bids=((157_465, 1, 1),))),
    ("ladder", but(bids=(BIDS[0], BIDS[2], BIDS[1]))),
    ("ladder", but(bids=(BIDS[0], BIDS[1], BIDS[1], BIDS[3], BIDS[4]))),
    ("ladder", but(asks=(ASKS[0], ASKS[2], ASKS[1], ASKS[3], ASKS[4]))),
    ("ladder", but(bid_price=157_445)),
    ("ladder", but(ask_price=157_465)),
    ("range", but(current_price=158_095)),
    ("range", but(current_price=156_230)),
    ("range", but(open=156_230)),
    ("range", but(high=156_235, low=158_090)),
    ("falling", but(volume=22_199)),
    ("falling", but(volume=-1)),
    ("falling", but(trades=641)),
    ("falling", but(value=221_992 * 15_747)),
    ("turnover", but(value=221_992 * 1_574_720)),
    ("turnover", but(volume=2_219_920)),
    ("future", but(last_trade_time=NOON + DAY)),
    ("form", but(current_price="1574.55")),
    ("form", but(current_price=((157_455, 1, 1),))),
    ("form", but(bids=157_450)),
    ("form", but(bids=((157_450, 10),))),
]


@pytest.mark.parametrize(("rule", "values"), FAULTS)
def test_what_breaks_a_rule_is_kept_out_by_that_rule(rule, values):
    desk = Desk()
    assert desk.say(QUOTE)
    assert not desk.say(values, NOON + 1)
    # Some faults break several rules; the first of the table names the tick.
    assert desk.rule() == rule
    assert desk.say(but(volume=222_002), NOON + 2)


def test_every_rule_is_broken_by_some_tick_of_these_tests():
    assert {rule.name for rule in RULES} - {name for name, _ in FAULTS} == {"jump"}


def test_a_reason_says_what_was_expected_and_what_came():
    desk = Desk()
    desk.say(but(current_price=157_457))
    desk.say(but(current_price=1_574_550, high=1_574_550), NOON + 1)
    reasons = [entry.reason for entry in desk.guard.quarantine.entries()]
    assert reasons == [
        "current_price: expected a multiple of 0.05, got 1574.57",
        "current_price: expected 1407.20 to 1719.90, got 15745.50",
    ]


def test_without_limits_a_trade_far_from_the_last_one_is_a_spike():
    desk = Desk()
    desk.say(LIMITLESS)
    assert desk.say({f.CURRENT_PRICE: 188_945}, NOON + 1)  # 20 % more, rounded down to the tick
    assert not desk.say({f.CURRENT_PRICE: 226_735}, NOON + 2)
    assert desk.rule() == "jump"


def test_a_number_that_is_no_field_is_kept_out():
    desk = Desk()
    assert not desk.say({99: 1})
    assert desk.rule() == "form"


def test_a_few_ticks_of_a_very_low_price_are_no_spike():
    desk = Desk()
    desk.say({f.CURRENT_PRICE: 5}, symbol="500002")
    assert desk.say({f.CURRENT_PRICE: 9}, NOON + 1, "500002")
    assert not desk.say({f.CURRENT_PRICE: 90}, NOON + 2, "500002")


def test_a_stamp_far_ahead_of_market_time_is_kept_out_and_leaves_no_trace():
    desk = Desk()
    assert not desk.say(QUOTE, NOON + FUTURE_MS + 1, received=NOON)
    assert desk.rule() == "future"
    assert desk.say(QUOTE, NOON)
    assert not desk.say(but(volume=222_002), NOON + 3_600_000, received=NOON + 1)
    assert not desk.say(but(volume=222_002), NOON + 3 * DAY, received=NOON + 1)
    assert desk.say(but(volume=222_002), NOON + 2, received=NOON + 2)
    assert desk.say(but(volume=222_012), NOON + 2 + FUTURE_MS, received=NOON + 2)


def test_an_older_tick_is_dropped_as_late_and_counted_but_not_quarantined():
    desk = Desk()
    desk.say(QUOTE, NOON)
    assert not desk.say(but(volume=221_990), NOON - 1, received=NOON)
    assert (desk.guard.late, desk.held()) == (1, 0)


def test_with_the_same_stamp_the_smaller_volume_is_the_older_tick():
    desk = Desk()
    desk.say(but(volume=300, value=300 * 157_000), NOON)
    assert not desk.say(but(volume=100, value=100 * 157_000), NOON)
    assert (desk.guard.late, desk.held()) == (1, 0)


def test_time_is_compared_within_one_source():
    desk = Desk()
    desk.say(QUOTE, NOON)
    assert desk.say(but(volume=221_000), NOON - 60_000, source=POLLED, received=NOON)


def test_an_unknown_symbol_is_kept_out_until_a_provisional_instrument_names_it():
    desk = Desk()
    assert not desk.say(QUOTE, symbol="599999")
    assert desk.rule() == "unknown_symbol"
    desk.scrips["599999"] = Instrument(symbol="599999", id="NEW", name="NEW", provisional=True)
    assert desk.say(QUOTE, NOON, symbol="599999")


def test_the_canary_is_exempt():
    desk = Desk()
    assert desk.say({f.CURRENT_PRICE: -1}, symbol="000000", at=NOON + DAY, received=NOON)
    assert desk.held() == 0


# Never quarantined


@pytest.mark.parametrize("phase", ["pre_open_entry", "pre_open_match", "cas_entry", "auction_after_halt", "post_close"])
def test_a_crossed_book_is_legitimate_outside_continuous_trading(phase):
    desk = Desk(phase)
    crossed = but(bid_price=157_465, ask_price=157_400, bids=(ASKS[0], BIDS[0]), asks=(BIDS[0], ASKS[0]))
    assert desk.say(crossed)
    assert desk.held() == 0


@pytest.mark.parametrize("absent", [0, None])
def test_market_orders_in_a_call_auction_are_legitimate(absent):
    desk = Desk("pre_open_entry")
    ladder = ((0, 500, 3), *BIDS[:4])
    assert desk.say({f.BID_PRICE: absent, f.ASK_PRICE: absent, f.BIDS: ladder, f.ASKS: ((0, 100, 1), *ASKS[:4])})
    assert desk.held() == 0


def test_no_last_price_before_the_first_trade_is_legitimate():
    desk = Desk("pre_open_entry")
    assert desk.say({f.PREVIOUS_CLOSE: 156_355, f.INDICATIVE_PRICE: 157_000, f.INDICATIVE_QUANTITY: 10})
    assert desk.say({f.CURRENT_PRICE: None, f.OPEN: None, f.HIGH: None, f.LOW: None, f.VOLUME: 0}, NOON + 1)
    assert desk.say({f.CURRENT_PRICE: 157_000, f.OPEN: 157_000, f.VOLUME: 10}, NOON + 2)
    assert desk.held() == 0


def test_yesterdays_last_price_before_the_first_trade_is_not_held_against_todays_limits():
    desk = Desk("pre_open_entry")
    # A 1:10 split: the limits are of today, the last price is of the day before.
    assert desk.say({f.CURRENT_PRICE: 156_355, f.VOLUME: 0, f.LOWER_CIRCUIT: 14_075, f.UPPER_CIRCUIT: 17_195})


def test_the_volume_starts_anew_at_the_day_roll():
    desk = Desk()
    desk.say(QUOTE)
    desk.guard.roll()
    assert desk.say(but(volume=10, value=1_574_550, trades=1), NOON + DAY)
    assert desk.held() == 0


def test_the_volume_starts_anew_on_a_new_date_even_before_anyone_rolls_the_guard():
    desk = Desk()
    desk.say(QUOTE)
    assert desk.say(but(volume=10, value=1_574_550, trades=1), NOON + DAY)
    assert desk.held() == 0


def test_cancelled_trades_may_take_back_a_part_of_the_volume():
    desk = Desk()
    desk.say(QUOTE)
    less = 221_992 * 91 // 100
    assert desk.say(but(volume=less, value=less * 157_472, trades=6_411), NOON + 1)
    assert desk.say(but(volume=less + 10, value=(less + 10) * 157_472, trades=6_412), NOON + 2)
    assert desk.held() == 0


def test_one_cancelled_trade_of_two_may_take_back_more_than_a_tenth():
    desk = Desk()
    desk.say(but(volume=100, value=15_745_500, trades=2))
    assert desk.say(but(volume=10, value=1_574_550, trades=1), NOON + 1)


def test_a_flexed_band_that_comes_with_the_tick_is_in_force_at_once():
    desk = Desk()
    desk.say(QUOTE)
    flexed = but(current_price=172_500, high=172_500, upper_circuit=179_805, bids=None, asks=None, bid_price=None)
    assert desk.say(flexed | {f.ASK_PRICE: 172_600}, NOON + 1)
    assert desk.say({f.CURRENT_PRICE: 175_000}, NOON + 2)
    assert desk.held() == 0


def test_limits_of_the_tick_win_over_the_band_of_the_master():
    desk = Desk()
    quote: Values = {
        f.PREVIOUS_CLOSE: 100_000,
        f.CURRENT_PRICE: 125_000,
        f.LOWER_CIRCUIT: 70_000,
        f.UPPER_CIRCUIT: 130_000,
    }
    assert desk.say(quote, symbol="500003")
    assert desk.say({f.CURRENT_PRICE: 129_000}, NOON + 1, "500003")


def test_limits_that_are_taken_back_no_longer_bind():
    desk = Desk()
    desk.say(QUOTE)
    assert desk.say({f.LOWER_CIRCUIT: None, f.UPPER_CIRCUIT: None}, NOON + 1)
    assert desk.say({f.CURRENT_PRICE: 175_000}, NOON + 2)


def test_a_listing_day_has_neither_band_nor_previous_close():
    desk = Desk()
    assert desk.say({f.CURRENT_PRICE: 95_000, f.OPEN: 95_000}, symbol="500003")
    assert desk.say({f.CURRENT_PRICE: 110_000, f.OPEN: 95_000}, NOON + 1, "500003")
    assert desk.held() == 0


def test_the_masters_band_binds_where_a_source_gives_no_limits():
    desk = Desk()
    desk.closes["500003"] = 100_000
    assert not desk.say({f.CURRENT_PRICE: 120_005}, NOON, "500003")
    assert desk.rule() == "circuit"
    assert desk.say({f.CURRENT_PRICE: 120_000}, NOON + 1, "500003")
    assert not desk.say({f.CURRENT_PRICE: 79_995}, NOON + 2, "500003")


def test_a_master_of_another_year_is_not_held_against_an_official_day():
    desk = Desk()
    desk.closes["500003"] = 100_000
    assert desk.say({f.CURRENT_PRICE: 120_003}, NOON, "500003", OFFICIAL)


def test_the_real_official_day_is_believed_whole(shared, tmp_path):
    store = ReferenceStore(tmp_path)
    store.import_master(shared / "scrip_master" / "BSE_EQ_SCRIP_15062023.csv")
    store.import_bhavcopy(shared / "bhavcopy" / "EQ070521.CSV")
    market = store.load()
    desk = Desk("closed", market.instruments)
    desk.closes = market.closes
    assert len(market.days) == 3438
    for symbol, day in market.days.items():
        assert desk.say(day.values(market.instruments[symbol].scale), NOON, symbol, OFFICIAL), desk.rule()


def test_an_ex_date_factor_moves_a_price_below_the_band_of_an_unadjusted_close():
    desk = Desk()
    split: Values = {f.PREVIOUS_CLOSE: 100_000}
    assert desk.say(split | {f.CURRENT_PRICE: 10_005}, NOON, "500003")
    assert desk.say(split | {f.CURRENT_PRICE: 9_990}, NOON + 1, "500003")
    assert not desk.say(split | {f.CURRENT_PRICE: 99_900}, NOON + 2, "500003")  # the jump rule stands in for the band
    assert desk.held() == 1


def test_an_exact_duplicate_is_passed_over_and_counted():
    desk = Desk()
    tick = Tick("500325", NOON, QUOTE)
    assert desk.guard.check(Batch(FEED, NOON, [tick, Tick("500325", NOON, dict(QUOTE))])) == [tick]
    assert (desk.guard.duplicates, desk.held()) == (1, 0)


def test_a_polled_source_that_repeats_itself_says_that_it_is_still_so():
    desk = Desk()
    assert desk.say(QUOTE, source=POLLED)
    assert desk.say(QUOTE, source=POLLED, received=NOON + 5_000)
    assert (desk.guard.duplicates, desk.held()) == (1, 0)


def test_an_index_has_no_tick_no_limits_and_no_book():
    desk = Desk()
    index: Values = {f.CURRENT_PRICE: 6_291_763, f.OPEN: 6_280_001, f.HIGH: 6_300_003, f.LOW: 6_280_001}
    assert desk.say(index, symbol="IDX:SENSEX")
    assert desk.say(index | {f.CURRENT_PRICE: 6_291_767}, NOON + 1, "IDX:SENSEX")
    assert not desk.say(index | {f.CURRENT_PRICE: 6_300_007}, NOON + 2, "IDX:SENSEX")
    assert not desk.say({f.CURRENT_PRICE: 62_917_630}, NOON + 3, "IDX:SENSEX")


def test_turnover_of_debt_includes_interest_and_is_not_held_against_its_clean_price():
    desk = Desk()
    quote: Values = {
        f.CURRENT_PRICE: 1_012_500,
        f.HIGH: 1_012_500,
        f.LOW: 1_012_500,
        f.VOLUME: 500_000,
        f.VALUE: 9_999_999_999,
    }
    assert desk.say(quote, symbol="800001")


# Corrections


def test_a_claim_heard_three_times_over_two_seconds_is_believed_and_logged():
    desk = Desk()
    desk.say(LIMITLESS)
    for millis, passes in ((0, False), (900, False), (1_800, False), (2_700, True)):
        assert desk.say({f.CURRENT_PRICE: 200_000 + millis}, NOON + 1 + millis) is passes
    assert desk.say({f.CURRENT_PRICE: 203_000}, NOON + 3_000)
    (correction,) = desk.guard.facts()["guard"]["corrections"]
    assert (correction["rule"], correction["value"], correction["why"]) == ("jump", "2027.00", "heard 4 times in 2.7 s")


def test_a_claim_is_not_believed_sooner_however_often_it_is_repeated():
    desk = Desk()
    desk.say(LIMITLESS)
    assert not any(desk.say({f.CURRENT_PRICE: 200_000}, NOON + 1 + millis) for millis in range(0, 1_990, 10))


def test_a_claim_that_is_contradicted_begins_anew():
    desk = Desk()
    desk.say(LIMITLESS)
    for second in range(10):
        assert not desk.say({f.CURRENT_PRICE: 200_000}, NOON + second * 1_000 + 1)
        assert desk.say({f.CURRENT_PRICE: 157_455}, NOON + second * 1_000 + 2)


def test_a_tick_that_speaks_of_other_fields_does_not_contradict():
    desk = Desk()
    desk.say(LIMITLESS)
    for second in range(2):
        assert not desk.say({f.CURRENT_PRICE: 200_000}, NOON + second * 1_000 + 1)
        assert desk.say({f.LAST_QUANTITY: 5 + second}, NOON + second * 1_000 + 2)
    assert desk.say({f.CURRENT_PRICE: 200_000}, NOON + 2_001)


def test_a_rule_that_is_wrong_about_one_scrip_does_not_keep_it_out_for_long():
    desk = Desk()
    desk.say(QUOTE)
    prices = [157_457, 157_451, 157_453, 157_454, 157_456, 157_458]
    assert [desk.say({f.CURRENT_PRICE: price}, NOON + 1 + place * 1_000) for place, price in enumerate(prices)] == [
        False,
        False,
        True,
        True,
        True,
        True,
    ]
    assert len(desk.guard.facts()["guard"]["corrections"]) == 1


def test_a_volume_that_stays_down_and_goes_on_from_there_is_believed():
    desk = Desk()
    desk.say(QUOTE)
    assert not desk.say({f.VOLUME: 1_000}, NOON + 1)
    assert not desk.say({f.VOLUME: 1_050}, NOON + 1_001)
    assert desk.say({f.VOLUME: 1_060}, NOON + 2_001)
    assert desk.say({f.VOLUME: 1_070}, NOON + 2_002)


def test_a_claim_that_a_second_source_makes_is_believed_at_once():
    desk = Desk()
    desk.say(LIMITLESS)
    assert not desk.say({f.CURRENT_PRICE: 200_000}, NOON + 1)
    assert desk.say({f.CURRENT_PRICE: 200_500}, NOON + 2, source=OTHER)
    assert desk.say({f.CURRENT_PRICE: 201_000}, NOON + 3)
    assert desk.guard.facts()["guard"]["corrections"][0]["why"] == "other says so too"


def test_a_price_that_cannot_be_is_never_believed():
    desk = Desk()
    assert not any(desk.say(but(current_price=-5), NOON + second * 1_000) for second in range(60))


# Suspension


def market(scrips: int) -> dict[str, Instrument]:
    return {f"{600_000 + n}": Instrument(symbol=f"{600_000 + n}", id=f"S{n}", name=f"S{n}") for n in range(scrips)}


def test_a_rule_that_rejects_more_than_a_hundredth_of_the_scrips_suspends_itself_and_says_so():
    desk = Desk(scrips=market(1_500))
    symbols = list(desk.scrips)
    for symbol in symbols:
        desk.say({f.CURRENT_PRICE: 10_000}, symbol=symbol)
    kept = [not desk.say({f.CURRENT_PRICE: 10_001}, NOON + 1 + place, symbol) for place, symbol in enumerate(symbols)]
    assert kept == [True] * 16 + [False] * 1_484
    (alarm,) = desk.guard.facts()["guard"]["suspensions"]
    assert (alarm["rule"], alarm["source"], alarm["scrips"], alarm["of"]) == ("tick_size", "feed", 16, 1_500)
    # Other rules stand, and after a while the rule tries again.
    assert not desk.say({f.CURRENT_PRICE: -5}, NOON + 2_000)
    assert not desk.say({f.CURRENT_PRICE: 10_001}, NOON + 2_000 + SUSPENDED_MS, symbols[0])


def test_few_scrips_do_not_suspend_a_rule_however_small_the_source():
    desk = Desk(scrips=market(SUSPEND_SCRIPS))
    assert not any(desk.say({f.CURRENT_PRICE: 10_001}, symbol=symbol) for symbol in desk.scrips)
    assert desk.guard.facts()["guard"]["suspensions"] == []


def test_rejections_scattered_over_more_than_a_minute_do_not_suspend_a_rule():
    desk = Desk(scrips=market(40))
    for place, symbol in enumerate(desk.scrips):
        assert not desk.say({f.CURRENT_PRICE: 10_001}, NOON + place * 6_500, symbol)


def test_a_scrip_of_which_good_ticks_come_too_does_not_count_against_a_rule():
    desk = Desk(scrips=market(100))
    for place, symbol in enumerate(desk.scrips):
        assert not desk.say({f.CURRENT_PRICE: -5}, NOON + place * 10, symbol)
        assert desk.say({f.CURRENT_PRICE: 10_000}, NOON + place * 10 + 1, symbol)
    assert desk.guard.facts()["guard"]["suspensions"] == []


# Release and facts


def test_a_released_tick_is_handed_out_and_its_source_believed_from_there():
    desk = Desk()
    desk.say(LIMITLESS)
    desk.say({f.CURRENT_PRICE: 200_000}, NOON + 1)
    (entry,) = desk.guard.quarantine.entries()
    assert desk.guard.release(entry.id).tick.values == {f.CURRENT_PRICE: 200_000}
    assert desk.held() == 0
    assert desk.say({f.CURRENT_PRICE: 200_500}, NOON + 2)


def test_a_release_is_refused_when_it_would_set_back_what_came_after():
    desk = Desk()
    desk.say(LIMITLESS)
    desk.say({f.CURRENT_PRICE: 200_000}, NOON + 1)
    desk.say({f.CURRENT_PRICE: 157_500}, NOON + 2)
    with pytest.raises(BadRequest, match="a newer one has been believed"):
        desk.guard.release(desk.guard.quarantine.entries()[0].id)


@pytest.mark.parametrize(
    ("symbol", "at", "values"),
    [("599999", NOON, QUOTE), ("500325", NOON + DAY, QUOTE), ("500325", NOON, but(bids=5))],
)
def test_a_release_that_could_only_do_harm_is_refused(symbol, at, values):
    desk = Desk()
    desk.say(values, at, symbol, received=NOON)
    with pytest.raises(BadRequest):
        desk.guard.release(desk.guard.quarantine.entries()[0].id)
    assert desk.held() == 1


def test_facts_are_told_once_and_only_when_something_happened():
    desk = Desk()
    assert set(desk.guard.facts()) == {"quarantine", "guard"}
    desk.say(QUOTE)
    assert desk.guard.facts() == {}
    desk.say(but(current_price=-5), NOON + 1)
    facts = desk.guard.facts()
    assert facts["quarantine"]["rules"] == {"positive": 1}
    assert "guard" not in facts
    assert desk.guard.facts() == {}
    desk.guard.roll()
    assert desk.guard.facts()["quarantine"]["total"] == 0


def test_every_rule_has_a_name_of_its_own_and_words_for_people():
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.when and "{field}" in rule.reason for rule in RULES)
