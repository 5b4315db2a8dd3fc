"""The file of a day, in both forms: what is read of it, and what is refused."""

import datetime

import pytest

from bhavcast.domain import field
from bhavcast.domain.errors import BadFile
from bhavcast.domain.universe import Day
from bhavcast.reference.bhavcopy import date_in_name, parse_bhavcopy
from tests.reference_files import LEGACY_COLUMNS, UDIFF_COLUMNS, legacy, legacy_file, udiff, udiff_file

MAY_7 = datetime.date(2021, 5, 7)
SEPTEMBER_11 = datetime.date(2026, 9, 11)
DAY = Day(10100, 10350, 10025, 10210, 10200, 10040, 10812, 110390500, 118)


def test_a_legacy_row_becomes_a_day():
    read = parse_bhavcopy(legacy_file(legacy()), "EQ070521.CSV")
    assert (read.date, read.form, read.days) == (MAY_7, "legacy", {"600001": DAY})
    found = read.instruments["600001"]
    assert (found.id, found.name, found.isin, found.group) == ("EXAMPLE", "EXAMPLE", "", "A")
    assert found.provisional


def test_a_udiff_row_becomes_a_day():
    read = parse_bhavcopy(udiff_file(udiff()))
    assert (read.date, read.form, read.days) == (SEPTEMBER_11, "udiff", {"600001": DAY})
    found = read.instruments["600001"]
    assert (found.id, found.name, found.isin) == ("EXAMPLE", "EXAMPLE INDUSTRIES LTD.", "INEZ00001012")


def test_the_variant_with_isins_and_dates_is_read_too():
    columns = [*LEGACY_COLUMNS, "ISIN_CODE", "TRADING_DATE"]
    row = legacy(ISIN_CODE="INEZ00001012", TRADING_DATE="07-MAY-21")
    read = parse_bhavcopy(legacy_file(row, columns=columns))
    assert read.date == MAY_7
    assert read.instruments["600001"].isin == "INEZ00001012"


@pytest.mark.parametrize(
    ("name", "date"),
    [
        ("EQ070521.CSV", MAY_7),
        ("eq070521_csv.zip", MAY_7),
        ("EQ_ISINCODE_070521.CSV", MAY_7),
        ("BhavCopy_BSE_CM_0_0_0_20260911_F_0000.CSV", SEPTEMBER_11),
        ("BhavCopy_BSE_CM_0_0_0_20260911_F_0000-excerpt.CSV", SEPTEMBER_11),
        ("EQ320521.CSV", None),
        ("prices.csv", None),
    ],
)
def test_the_name_says_the_day(name, date):
    assert date_in_name(name) == date


def test_the_asked_date_serves_where_the_name_says_nothing():
    assert parse_bhavcopy(legacy_file(legacy()), "prices.csv", MAY_7).date == MAY_7


def test_a_day_that_nobody_says_is_refused():
    with pytest.raises(BadFile, match="which day"):
        parse_bhavcopy(legacy_file(legacy()), "prices.csv")


@pytest.mark.parametrize(
    ("content", "name", "asked"),
    [
        (legacy_file(legacy()), "EQ070521.CSV", datetime.date(2021, 5, 6)),
        (udiff_file(udiff()), "BhavCopy_BSE_CM_0_0_0_20260910_F_0000.CSV", None),
        (udiff_file(udiff()), "", MAY_7),
    ],
)
def test_another_day_than_expected_is_refused(content, name, asked):
    with pytest.raises(BadFile, match="another day than expected") as refused:
        parse_bhavcopy(content, name, asked)
    assert refused.value.field == "date"


def test_rows_of_two_days_are_refused():
    with pytest.raises(BadFile, match="row 3: TradDt is 2026-09-10"):
        parse_bhavcopy(udiff_file(udiff(), udiff(600002, TradDt="2026-09-10")))


@pytest.mark.parametrize(("column", "cell"), [("Sgmt", "FO"), ("Src", "NSE")])
def test_the_file_of_another_market_is_refused(column, cell):
    with pytest.raises(BadFile, match="another market"):
        parse_bhavcopy(udiff_file(udiff(**{column: cell})))


BAD_NUMBERS = [
    "",
    "nan",
    "NaN",
    "NaT",
    "null",
    "-",
    "-1",
    "inf",
    "1e5",
    "1,0",
    "abc",
    "0x10",
    "9" * 20,
    "1.234567",
    "\u0661",
]


@pytest.mark.parametrize("column", ["OPEN", "HIGH", "LOW", "CLOSE", "LAST", "PREVCLOSE", "NO_OF_SHRS", "NET_TURNOV"])
@pytest.mark.parametrize("cell", [bad for bad in BAD_NUMBERS if "," not in bad])
def test_what_is_no_number_is_refused_with_row_and_column(column, cell):
    with pytest.raises(BadFile) as refused:
        parse_bhavcopy(legacy_file(legacy(600009), legacy(**{column: cell})), "EQ070521.CSV")
    assert (refused.value.row, refused.value.field) == (3, column)


@pytest.mark.parametrize("column", UDIFF_COLUMNS)
def test_an_empty_required_cell_of_a_udiff_row_is_refused(column):
    needed = {"TradDt", "Sgmt", "Src", "FinInstrmId", "TckrSymb", "SctySrs", "FinInstrmNm", "OpnPric", "HghPric"}
    needed |= {"LwPric", "ClsPric", "LastPric", "PrvsClsgPric", "TtlTradgVol", "TtlTrfVal", "TtlNbOfTxsExctd"}
    content = udiff_file(udiff(**{column: ""}))
    if column in needed:
        with pytest.raises(BadFile, match=column):
            parse_bhavcopy(content)
    else:
        assert parse_bhavcopy(content).date == SEPTEMBER_11


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"LOW": "104.00"}, "LOW is above HIGH"),
        ({"OPEN": "99.00"}, "OPEN is outside"),
        ({"LAST": "103.55"}, "LAST is outside"),
        ({"LOW": "0.00"}, "LOW is 0.00, expected more than zero"),
        ({"NO_TRADES": "10813"}, "NO_TRADES is more"),
        ({"NO_TRADES": "0"}, "NO_OF_SHRS is 10812, but NO_TRADES is 0"),
        ({"NO_OF_SHRS": "9999999999999"}, "plausible"),
        ({"NET_TURNOV": "9" * 17}, "decimal number"),
        ({"HIGH": "1000000001"}, "plausible"),
        ({"OPEN": "101.005"}, "at most 2 decimals"),
    ],
)
def test_an_impossible_day_is_refused(cells, reason):
    with pytest.raises(BadFile, match=reason):
        parse_bhavcopy(legacy_file(legacy(**cells)), "EQ070521.CSV")


def test_the_official_close_may_lie_outside_the_day_and_a_first_day_has_no_previous_close():
    read = parse_bhavcopy(legacy_file(legacy(CLOSE="99.00", PREVCLOSE="0.00", NET_TURNOV="0.00")), "EQ070521.CSV")
    assert read.days["600001"].close == 9900
    assert read.days["600001"].values()[field.PREVIOUS_CLOSE] is None


def test_a_code_given_twice_is_refused():
    with pytest.raises(BadFile, match="row 3: SC_CODE 600001 is in row 2 already"):
        parse_bhavcopy(legacy_file(legacy(), legacy()), "EQ070521.CSV")


def test_the_page_that_stands_for_a_missing_file_is_recognised():
    page = b'<!doctype html>\n<html lang="en">\n<head><title>Exchange</title></head><body></body></html>\n'
    with pytest.raises(BadFile, match="status 200"):
        parse_bhavcopy(page, "EQ070521.CSV")


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_truncated_file_is_refused(cut):
    with pytest.raises(BadFile):
        parse_bhavcopy(legacy_file(legacy(), legacy(600002))[:-cut], "EQ070521.CSV")


@pytest.mark.parametrize(
    ("group", "scale", "close"), [("F", 2, 9850), ("G", 2, 9850), ("FC", 4, 985000), ("GC", 4, 985000)]
)
def test_clean_priced_debt_has_four_decimals(group, scale, close):
    prices = dict.fromkeys(("OPEN", "HIGH", "LOW", "CLOSE", "LAST"), "98.50")
    read = parse_bhavcopy(legacy_file(legacy(SC_GROUP=group, SC_TYPE="D", **prices)), "EQ070521.CSV")
    assert (read.instruments["600001"].scale, read.days["600001"].close) == (scale, close)


def test_other_debt_has_them_when_its_prices_do():
    prices = dict.fromkeys(("OPEN", "HIGH", "LOW", "CLOSE", "LAST"), "98.5025")
    read = parse_bhavcopy(legacy_file(legacy(SC_GROUP="F", SC_TYPE="D", **prices)), "EQ070521.CSV")
    assert (read.instruments["600001"].scale, read.days["600001"].last) == (4, 985025)


def test_the_average_price_is_in_the_scale_of_the_scrip():
    thirds = Day(3300, 3400, 3300, 3300, 3300, 3300, 3, 100_00, 2)
    assert thirds.values()[field.AVERAGE_PRICE] == 3333
    assert thirds.values(4)[field.AVERAGE_PRICE] == 333333
    assert thirds.values()[field.VALUE] == thirds.values(4)[field.VALUE] == 100_00


def test_a_day_without_trades_has_neither_prices_nor_an_average():
    still = Day(0, 0, 0, 10210, 0, 10210, 0, 0, 0)
    assert still.values() == {field.PREVIOUS_CLOSE: 10210, field.CLOSE_PRICE: 10210}


def test_the_real_legacy_day_has_its_known_figures(shared):
    path = shared / "bhavcopy" / "EQ070521.CSV"
    read = parse_bhavcopy(path.read_bytes(), path.name)
    assert (read.date, read.form, len(read.days)) == (MAY_7, "legacy", 3438)
    assert read.days["500325"] == Day(194000, 195545, 192590, 193130, 193130, 192990, 178669, 34675020700, 11329)
    assert read.days["500209"].last == 135240
    assert read.days["532540"].last == 313200
    assert sum(day.close != day.last for day in read.days.values()) == 1204


def test_the_real_udiff_excerpt_has_its_known_figures(shared):
    path = shared / "bhavcopy" / "BhavCopy_BSE_CM_0_0_0_20260911_F_0000-excerpt.CSV"
    read = parse_bhavcopy(path.read_bytes(), path.name)
    assert (read.date, read.form, len(read.days)) == (SEPTEMBER_11, "udiff", 5)
    assert (read.days["500325"].trades, read.days["500325"].volume) == (34198, 774793)
