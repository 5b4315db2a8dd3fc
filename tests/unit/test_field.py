import pytest

from bhavcast.domain import field
from bhavcast.domain.field import BY_NAME, COUNT, DAY_FIELDS, FIELDS, FULL, LADDERS, LTP, PRESETS, QUOTE, Kind

# A field's number is its identity in journals that exist: this list only ever grows at its end.
WORDS = """
current_price change percent_change open high low previous_close close_price volume value trades average_price
last_quantity last_trade_time bid_price bid_quantity ask_price ask_quantity total_bid_quantity total_ask_quantity
lower_circuit upper_circuit indicative_price indicative_quantity reference_price year_high year_low phase state mode
source grade period_ms timestamp bids asks
"""
NUMBERED = WORDS.split()


def test_numbers_are_never_changed_or_used_again():
    assert [entry.name for entry in FIELDS] == NUMBERED
    assert [entry.number for entry in FIELDS] == list(range(COUNT))


def test_each_field_has_a_constant_a_name_and_a_meaning():
    for entry in FIELDS:
        assert getattr(field, entry.name.upper()) == entry.number
        assert BY_NAME[entry.name] is entry
        assert entry.meaning
    assert len(BY_NAME) == COUNT


def test_a_new_day_empties_what_belongs_to_the_day_and_nothing_else():
    kept = {entry.name for entry in FIELDS if not entry.day}
    assert kept == {
        "previous_close", "lower_circuit", "upper_circuit", "year_high", "year_low",
        "phase", "state", "mode", "source", "grade", "period_ms", "timestamp",
    }  # fmt: skip
    assert {FIELDS[number].name for number in DAY_FIELDS} == set(NUMBERED) - kept


def test_ladders_are_the_fields_of_depth():
    assert tuple(entry.number for entry in FIELDS if entry.kind is Kind.LADDER) == LADDERS


def test_each_preset_contains_the_smaller_one_and_depth_is_asked_for_apart():
    assert set(LTP) < set(QUOTE) < set(FULL)
    assert set(FULL) | set(LADDERS) == set(range(COUNT))
    assert PRESETS == {"ltp": LTP, "quote": QUOTE, "full": FULL}


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_a_preset_names_no_field_twice(preset):
    assert len(set(preset)) == len(preset)
