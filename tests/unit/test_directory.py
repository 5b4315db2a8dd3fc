"""Finding scrips by the names people use."""

import pytest

from bhavcast.domain.directory import Directory
from bhavcast.domain.errors import AmbiguousSymbol, BadRequest, UnknownSymbol
from bhavcast.domain.index import IndexBasis
from bhavcast.domain.instrument import Instrument
from bhavcast.reference.master import parse_master

ALPHA = Instrument(symbol="600001", id="ALPHA", name="ALPHA MILLS LTD.", isin="INEZ00001012", group="A")
SAME_DAY = Instrument(
    symbol="100001", id="ALPHA#", name="ALPHA MILLS LTD.", isin="INEZ00001012", group="A", settlement=0
)
BOND = Instrument(symbol="900001", id="8ALPHA30", name="ALPHA-8%-2030", isin="INEZ00007019", group="F", kind="DB")
TWIN = Instrument(symbol="900002", id="8ALPHA-ML", name="ALPHA-8%-2030", isin="INEZ00007019", group="FC", kind="DB")
BETA = Instrument(symbol="600002", id="M&B", name="MEHTA & BETA LTD.", isin="INEZ00101010", group="B")
GONE = Instrument(symbol="600003", id="GAMMA", name="GAMMA ALPHABETA LTD.", isin="INEZ00201018", group="Z", status="S")
INDEX = Instrument(symbol="IDX:SENSEX", id="SENSEX", name="BSE SENSEX", kind="IDX")
ALL = (ALPHA, SAME_DAY, BOND, TWIN, BETA, GONE, INDEX)
BASIS = IndexBasis("IDX:SENSEX", "BSE SENSEX", {"600001": 10, "600002": 20}, 100_00, 1_000)


@pytest.fixture
def directory():
    return Directory(ALL, [BASIS])


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("600001", "600001"),
        ("ALPHA", "600001"),
        ("alpha", "600001"),
        ("inez00001012", "600001"),
        ("ALPHA#", "100001"),
        ("m&b", "600002"),
        ("idx:sensex", "IDX:SENSEX"),
        ("GAMMA", "600003"),
        (" 600001 ", "600001"),
    ],
)
def test_a_name_in_any_case_means_its_scrip(directory, text, symbol):
    assert directory.resolve(text).symbol == symbol


@pytest.mark.parametrize(
    "text", ["", " ", "999999", "SENSEX", "IDX:", "IDX:NIFTY", "ALPH", "A" * 10_000, "\x00", "६००००१"]
)
def test_an_unknown_name_is_said_to_be_unknown(directory, text):
    with pytest.raises(UnknownSymbol) as unknown:
        directory.resolve(text)
    assert len(unknown.value.detail) < 200


def test_an_isin_of_several_bonds_is_ambiguous_and_names_them(directory):
    with pytest.raises(AmbiguousSymbol) as ambiguous:
        directory.resolve("INEZ00007019")
    assert ambiguous.value.candidates == ("900001", "900002")


def test_two_shares_of_one_isin_are_ambiguous(directory):
    directory.add(Instrument(symbol="600009", id="ALPHA2", name="ALPHA BUYBACK", isin="INEZ00001012", group="T"))
    with pytest.raises(AmbiguousSymbol):
        directory.resolve("INEZ00001012")


def test_an_active_scrip_goes_before_suspended_ones_of_its_name(directory):
    directory.add(Instrument(symbol="600010", id="GAMMA", name="GAMMA REBORN LTD.", group="X"))
    assert directory.resolve("GAMMA").symbol == "600010"


def test_a_scrip_of_the_master_goes_before_a_provisional_one(directory):
    directory.add(Instrument(symbol="600011", id="ALPHA", name="ALPHA", provisional=True))
    assert directory.resolve("ALPHA").symbol == "600001"


def test_a_code_goes_before_an_id_that_looks_like_it(directory):
    directory.add(Instrument(symbol="600012", id="600001", name="CONFUSING LTD."))
    assert directory.resolve("600001").symbol == "600001"


def test_a_new_description_replaces_the_old_one(directory):
    directory.add(Instrument(symbol="600001", id="OMEGA", name="OMEGA MILLS LTD.", isin="INEZ00001012", group="B"))
    assert directory.resolve("omega").symbol == "600001"
    with pytest.raises(UnknownSymbol):
        directory.resolve("ALPHA")
    assert directory.group("B") == ["600001", "600002"]
    assert directory.group("A") == ["100001"]
    assert len(directory) == len(ALL)


def test_a_scrip_that_is_suspended_leaves_its_group_but_keeps_its_name(directory):
    directory.add(Instrument(symbol="600002", id="M&B", name="MEHTA & BETA LTD.", group="B", status="S"))
    with pytest.raises(UnknownSymbol):
        directory.group("B")
    assert directory.resolve("M&B").status == "S"


def test_groups_are_listed_with_their_sizes(directory):
    assert directory.groups() == {"A": 2, "B": 1, "F": 1, "FC": 1}
    assert directory.group("a") == ["100001", "600001"]


def test_an_index_has_members_and_a_scrip_has_none(directory):
    assert directory.members("IDX:SENSEX") == ["600001", "600002"]
    for text in ("600001", "IDX:OTHER"):
        with pytest.raises(UnknownSymbol):
            directory.members(text)


def symbols(directory, *args, **kwargs):
    return [i.symbol for i in directory.search(*args, **kwargs)[0]]


def test_a_search_ranks_exact_then_beginning_then_word_then_the_rest(directory):
    assert symbols(directory, "alpha") == ["600001", "100001", "900001", "900002", "600003"]
    assert symbols(directory, "beta") == ["600002", "600003"]
    assert symbols(directory, "00007") == ["900001", "900002"]


def test_a_search_may_be_of_one_group(directory):
    assert symbols(directory, "alpha", group="fc") == ["900002"]
    assert symbols(directory, group="B") == ["600002"]
    assert symbols(directory, "nothing") == []


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_the_pages_together_are_the_whole(directory, limit):
    page, cursor = directory.search("", limit=limit)
    found = [i.symbol for i in page]
    while cursor:
        page, cursor = directory.search("", limit=limit, cursor=cursor)
        assert 0 < len(page) <= limit
        found += [i.symbol for i in page]
    assert found == symbols(directory)
    assert sorted(found) == sorted(i.symbol for i in ALL)


@pytest.mark.parametrize("cursor", ["x", "9", "4060", "0x", "0", "0" * 100])
def test_a_foreign_cursor_is_refused(directory, cursor):
    with pytest.raises(BadRequest) as refused:
        directory.search("", cursor=cursor)
    assert refused.value.field == "cursor"


def test_a_limit_below_one_is_refused(directory):
    with pytest.raises(BadRequest):
        directory.search("", limit=0)


def test_every_instrument_of_the_real_master_is_found_by_its_names(shared):
    instruments = parse_master((shared / "scrip_master" / "BSE_EQ_SCRIP_15062023.csv").read_bytes()).instruments
    directory = Directory(instruments.values())
    ambiguous = set()
    for instrument in instruments.values():
        assert directory.resolve(instrument.symbol) is instrument
        for name in filter(None, (instrument.id, instrument.isin)):
            try:
                found = directory.resolve(name)
                assert name.upper() in (found.id.upper(), found.isin)
            except AmbiguousSymbol:
                ambiguous.add(name)
    assert [directory.resolve(name).symbol for name in ("INFY", "reliance", "TCS")] == ["500209", "500325", "532540"]
    assert len(ambiguous) < 250
