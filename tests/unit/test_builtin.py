"""The market that is there before any import."""

from collections import Counter

import pytest

from bhavcast.domain.directory import Directory
from bhavcast.reference.builtin import (
    FIRST_INVENTED,
    MOST_SCRIPS,
    SENSEX,
    indices,
    isin_check_digit,
    made_closes,
    real,
    universe,
)
from bhavcast.reference.master import parse_master

# What has changed since the master of June 2023, and why.
SINCE_2023 = {
    "543320": {"id", "name"},  # Zomato was renamed Eternal in 2025
    "500034": {"isin", "face_value"},  # Bajaj Finance: face value split from 2 to 1 rupee, June 2025
    "500247": {"isin", "face_value"},  # Kotak Mahindra Bank: face value split from 5 to 1 rupee, January 2026
}


@pytest.fixture(scope="module")
def built():
    return universe()


def test_thirty_real_scrips_and_invented_ones_make_five_thousand(built):
    scrips = [i for i in built.instruments.values() if not i.is_index]
    assert len(SENSEX) == 30
    assert len(scrips) == 5000
    assert built.built_in
    assert built.date is None


def test_the_same_seed_makes_the_same_market_and_another_another():
    assert universe(500, seed=7) == universe(500, seed=7)
    assert universe(500, seed=7) != universe(500, seed=8)


def test_a_small_market_is_the_beginning_of_a_large_one(built):
    small = universe(100)
    for symbol, instrument in small.instruments.items():
        assert built.instruments[symbol] == instrument
        assert built.closes[symbol] == small.closes[symbol]


@pytest.mark.parametrize("scrips", [29, 0, -1, MOST_SCRIPS + 1])
def test_a_market_without_the_thirty_or_too_large_is_refused(scrips):
    with pytest.raises(ValueError, match="expected 30 to"):
        universe(scrips)


def test_even_the_largest_market_has_unique_names():
    scrips = [i for i in universe(MOST_SCRIPS, seed=3).instruments.values() if not i.is_index]
    for names in (
        [i.symbol for i in scrips],
        [i.id for i in scrips],
        [i.isin for i in scrips],
        [i.name for i in scrips],
    ):
        assert len(set(names)) == MOST_SCRIPS
    assert all(len(i.id) <= 12 and len(i.symbol) == 6 for i in scrips)


def test_every_scrip_is_found_by_code_id_and_isin(built):
    directory = Directory(built.instruments.values(), built.indices)
    for instrument in built.instruments.values():
        for name in filter(None, (instrument.symbol, "" if instrument.is_index else instrument.id, instrument.isin)):
            assert directory.resolve(name) is instrument


def test_every_isin_has_the_right_check_digit(built):
    assert isin_check_digit("INE002A0101") == 8
    for instrument in built.instruments.values():
        assert not instrument.isin or isin_check_digit(instrument.isin[:-1]) == int(instrument.isin[-1])


def test_every_close_is_a_plausible_price_on_the_tick(built):
    for symbol, close in built.closes.items():
        instrument = built.instruments[symbol]
        assert close % instrument.tick == 0
        assert instrument.is_index or 1_00 <= close <= 50_000_00
        assert instrument.is_index or instrument.kind == "MF" or instrument.tick == (1 if close < 100_00 else 5)


def test_the_groups_are_those_of_the_exchange_in_its_proportions(built):
    count = Counter(i.group for i in built.instruments.values())
    assert set(count) == {"A", "B", "X", "XT", "M", "T", "P", "Z", "E", "MT", "ZP", ""}
    assert count["X"] > count["B"] > count["A"] > count["XT"] > count["M"]


def test_small_companies_have_lots_and_shares_sectors(built):
    for instrument in built.instruments.values():
        assert (instrument.lot > 1) == (instrument.group in ("M", "MT"))
        assert bool(instrument.sector) == (instrument.kind == "EQ")


def test_only_the_thirty_have_the_closing_auction_and_no_fixed_band(built):
    thirty = {constituent.code for constituent in SENSEX}
    for instrument in built.instruments.values():
        assert instrument.closing_auction == (instrument.symbol in thirty)
        assert instrument.band is None or instrument.symbol not in thirty


def test_indices_are_at_their_formula(built):
    assert [basis.symbol for basis in built.indices][:3] == ["IDX:SENSEX", "IDX:BANKEX", "IDX:BSE IT"]
    assert set(built.indices[0].members) == {constituent.code for constituent in SENSEX}
    for basis in built.indices:
        assert built.closes[basis.symbol] == basis.value(basis.cap(built.closes))
        assert built.instruments[basis.symbol].kind == "IDX"


def test_an_index_of_fewer_members_keeps_its_level():
    closes = {constituent.code: constituent.close for constituent in SENSEX[:10]}
    sensex = indices(closes)[0]
    assert len(sensex.members) == 10
    assert sensex.value(sensex.cap(closes)) == 84_250_00
    assert indices({}) == []


def test_made_closes_are_of_active_shares_only_and_always_the_same():
    instruments = {i.symbol: i for i in universe(200).instruments.values()}
    closes = made_closes(instruments)
    assert closes == made_closes(dict(reversed(instruments.items())))
    assert closes.keys() == {symbol for symbol, i in instruments.items() if not i.is_index}
    assert all(closes[symbol] % instruments[symbol].tick == 0 for symbol in closes)


def test_the_thirty_are_as_the_real_master_has_them(shared):
    master = parse_master((shared / "scrip_master" / "BSE_EQ_SCRIP_15062023.csv").read_bytes()).instruments
    for constituent in SENSEX:
        ours, theirs = real(constituent), master[constituent.code]
        changed = SINCE_2023.get(constituent.code, set())
        # The master cuts names at thirty characters.
        name = "name" if ours.name[:30].strip() != theirs.name else ""
        differing = {x for x in ("id", "isin", "face_value", "group", "kind") if getattr(ours, x) != getattr(theirs, x)}
        assert differing | set(filter(None, [name])) == changed, constituent.code


def test_invented_codes_and_isins_are_nobodys(shared, built):
    master = parse_master((shared / "scrip_master" / "BSE_EQ_SCRIP_15062023.csv").read_bytes()).instruments
    assert not [code for code in master if code.startswith("6")]
    isins = {instrument.isin for instrument in master.values()}
    invented = [i for i in built.instruments.values() if not i.is_index and int(i.symbol) >= FIRST_INVENTED]
    assert len(invented) == 4970
    assert not [i for i in invented if i.isin in isins]
