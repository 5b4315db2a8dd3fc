"""The scrip master: what is read of it, and what is refused."""

from collections import Counter

import pytest

from bhavcast.domain.errors import BadFile
from bhavcast.domain.instrument import Instrument
from bhavcast.reference.master import CLOSING_AUCTION, parse_master
from tests.reference_files import MASTER_COLUMNS, master_file, scrip

NEW_COLUMNS = [CLOSING_AUCTION if column == "ElgbltyRETDBTMkt" else column for column in MASTER_COLUMNS]


def one(**cells):
    return parse_master(master_file(scrip(**cells))).instruments[cells.get("code", "600001")]


def test_a_row_becomes_an_instrument():
    assert one() == Instrument(
        symbol="600001",
        id="EXAMPLE",
        name="EXAMPLE INDUSTRIES LTD.",
        isin="INEZ00001012",
        group="A",
        tick=5,
        face_value=1000,
        band=20,
    )


def test_the_type_may_have_trailing_blanks():
    assert one(SctyTpFlg="MF   ").kind == "MF"


@pytest.mark.parametrize(
    ("group", "form", "kind"),
    [("X", "E", "EQ"), ("F", "D", "DB"), ("F", "E", "DB"), ("B", "C", "DB"), ("G", "D", "GS"), ("GC", "C", "GS")],
)
def test_a_missing_type_follows_from_group_and_price_form(group, form, kind):
    assert one(SctyTpFlg="", SctySrs=group, FinInstrmTp=form).kind == kind


@pytest.mark.parametrize(
    ("bid", "tick", "form", "scale", "units", "face"),
    [
        ("0.01", "0.01", "D", 2, 1, 1000),
        ("0.05", "0.05", "D", 2, 5, 1000),
        ("0.01", "0.01", "C", 4, 100, 100_000),
        ("0.0001", "0.01", "C", 4, 1, 100_000),
        ("0.0025", "0.25", "C", 4, 25, 100_000),
    ],
)
def test_clean_prices_have_four_decimals_and_the_finer_tick(bid, tick, form, scale, units, face):
    bond = one(SctyTpFlg="DB", SctySrs="FC", BidIntrvl=bid, TickSz=tick, FinInstrmTp=form)
    assert (bond.scale, bond.tick, bond.face_value, bond.band) == (scale, units, face, None)


def test_a_share_has_the_tick_of_its_own_column():
    assert one(BidIntrvl="0.01", TickSz="0.05").tick == 5


@pytest.mark.parametrize(
    ("code", "name"), [("0", "none"), ("1", "ipo"), ("2", "relist"), ("3", "periodic"), ("90", "pre_open")]
)
def test_call_auction_codes_have_names(code, name):
    assert one(CallAuctnInd=code).call_auction == name


def test_an_unknown_call_auction_or_settlement_is_a_warning_not_a_refusal():
    master = parse_master(master_file(scrip(600001, CallAuctnInd="7", SttlmTp="9"), scrip(600002, CallAuctnInd="7")))
    assert master.instruments["600001"].call_auction == "none"
    assert master.instruments["600001"].settlement == 1
    assert any("'7'" in warning and "2 rows" in warning for warning in master.warnings)
    assert any("'9'" in warning for warning in master.warnings)


@pytest.mark.parametrize(("given", "stage"), [("100", None), ("", None), ("0", 0), ("4", 4), ("6", 6)])
def test_a_scrip_under_graded_surveillance_has_its_stage(given, stage):
    assert one(TrckgInd=given).gsm_stage == stage


def test_a_surveillance_stage_that_is_not_known_is_a_warning_not_a_refusal():
    master = parse_master(master_file(scrip(600001, TrckgInd="7")))
    assert master.instruments["600001"].gsm_stage is None
    assert any("'7'" in warning for warning in master.warnings)


def test_a_code_that_settles_on_the_same_day_is_known_by_its_id():
    assert one(TckrSymb="EXAMPLE#").settlement == 0
    assert one(SttlmTp="2").settlement == 2


@pytest.mark.parametrize("status", ["A", "S", "I"])
def test_the_status_is_kept(status):
    assert one(Sts=status).status == status


def test_exclusive_scrips_are_marked():
    assert one(Rsvd01="Y").exclusive
    assert not one(Rsvd01="N").exclusive


def test_the_header_of_2026_says_who_has_the_closing_auction():
    rows = scrip(600001, **{CLOSING_AUCTION: "Y"}), scrip(500325, **{CLOSING_AUCTION: "N"})
    master = parse_master(master_file(*rows, columns=NEW_COLUMNS))
    assert master.instruments["600001"].closing_auction
    assert master.instruments["600001"].band is None
    assert not master.instruments["500325"].closing_auction
    assert not any("closing auction" in warning for warning in master.warnings)


def test_the_header_of_2023_does_not_so_the_thirty_are_assumed():
    master = parse_master(master_file(scrip(600001), scrip(500325)))
    assert master.instruments["500325"].closing_auction
    assert master.instruments["500325"].sector == "Oil & Gas"
    assert not master.instruments["600001"].closing_auction
    assert any("closing auction" in warning for warning in master.warnings)


def test_the_order_of_the_columns_does_not_matter():
    row = scrip()
    assert (
        parse_master(master_file(row, columns=MASTER_COLUMNS[::-1])).instruments
        == parse_master(master_file(row)).instruments
    )


def test_ids_and_isins_may_repeat():
    assert len(parse_master(master_file(scrip(600001), scrip(600002))).instruments) == 2


@pytest.mark.parametrize("isin", ["NA", ".", ""])
def test_what_is_no_isin_counts_as_none(isin):
    assert one(ISIN=isin).isin == ""


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("FinInstrmId", ""),
        ("FinInstrmId", "nan"),
        ("FinInstrmId", "60001"),
        ("FinInstrmId", "6000011"),
        ("FinInstrmId", "-60001"),
        ("FinInstrmId", "६००००१"),
        ("TckrSymb", " "),
        ("TckrSymb", "NaN"),
        ("TckrSymb", "X" * 25),
        ("SctySrs", ""),
        ("SctySrs", "nan"),
        ("SctySrs", "A1"),
        ("FinInstrmNm", ""),
        ("FinInstrmNm", "X" * 121),
        ("NewBrdLotQty", "0"),
        ("NewBrdLotQty", "-1"),
        ("NewBrdLotQty", "1.5"),
        ("NewBrdLotQty", "nan"),
        ("NewBrdLotQty", "9" * 12),
        ("ParVal", ""),
        ("ParVal", "1e3"),
        ("ParVal", "-5"),
        ("SctyTpFlg", "XX"),
        ("TickSz", "0"),
        ("TickSz", "-0.05"),
        ("TickSz", "0.00001"),
        ("TickSz", "inf"),
        ("BidIntrvl", ""),
        ("Rsvd01", "maybe"),
        ("Sts", ""),
        ("Sts", "Q"),
    ],
)
def test_a_bad_cell_refuses_the_file_with_row_and_column(column, cell):
    with pytest.raises(BadFile) as refused:
        parse_master(master_file(scrip(600009), scrip(**{column: cell})))
    assert (refused.value.row, refused.value.field) == (3, column)
    assert str(refused.value).startswith("row 3: ")


def test_a_code_given_twice_is_refused_with_both_rows():
    with pytest.raises(BadFile, match="row 4: FinInstrmId 600001 is in row 2 already"):
        parse_master(master_file(scrip(600001), scrip(600002), scrip(600001)))


def test_a_missing_column_is_named():
    with pytest.raises(BadFile, match="no column ISIN"):
        parse_master(master_file(scrip(), columns=[c for c in MASTER_COLUMNS if c != "ISIN"]))


def test_a_required_column_given_twice_is_refused():
    with pytest.raises(BadFile, match="more than once"):
        parse_master(master_file(scrip(), columns=[*MASTER_COLUMNS, "ISIN"]))


def test_a_name_may_be_quoted():
    content = master_file(scrip(FinInstrmNm='"EXAMPLE, SONS & CO."'))
    assert parse_master(content).instruments["600001"].name == "EXAMPLE, SONS & CO."


def test_line_ends_and_a_byte_order_mark_do_not_matter():
    content = master_file(scrip())
    variant = b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n") + b"\r\n"
    assert parse_master(variant) == parse_master(content)


@pytest.mark.parametrize("cut", range(1, 60))
def test_a_file_that_ends_within_a_line_is_truncated(cut):
    with pytest.raises(BadFile):
        parse_master(master_file(scrip(600001), scrip(600002))[:-cut])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b" \n\n", "empty"),
        (b"<!DOCTYPE html><html><body>Not here</body></html>\n", "web page"),
        (b"\xef\xbb\xbf\r\n <html>\n", "web page"),
        (b"PK\x03\x04rest", "archive"),
        (b"\x1f\x8brest", "archive"),
        (master_file(), "without rows"),
        (master_file(scrip()).replace(b"EXAMPLE,", b"EX\x00MPLE,"), "control character"),
        (master_file(scrip()).replace(b"EXAMPLE,", b"EX\xe9MPLE,"), "UTF-8"),
        (master_file(scrip()).replace(b"EXAMPLE,", b"EX\rMPLE,"), "carriage return"),
        (master_file(scrip()).replace(b"EXAMPLE,", b'"EXAMPLE,'), "quotes"),
        (master_file(scrip()) + b"\n" + master_file(scrip(600002)), "columns"),
        (b"a,b\n1,2\n", "no column FinInstrmId"),
    ],
)
def test_what_is_no_such_file_is_refused_with_its_reason(content, reason):
    with pytest.raises(BadFile, match=reason):
        parse_master(content)


def test_the_real_master_is_read_whole(shared):
    instruments = parse_master((shared / "scrip_master" / "BSE_EQ_SCRIP_15062023.csv").read_bytes()).instruments
    active = [i for i in instruments.values() if i.status == "A"]
    assert len(instruments) == 17_125
    assert Counter(i.kind for i in active) == {"DB": 5446, "EQ": 3982, "GS": 821, "MF": 814}
    assert {kind: n for kind, n in Counter(i.group for i in active if i.kind == "EQ").items() if n > 180} == {
        "X": 1073, "B": 990, "A": 688, "XT": 631, "M": 217, "T": 184,
    }  # fmt: skip
    reliance = instruments["500325"]
    assert (reliance.id, reliance.isin, reliance.face_value) == ("RELIANCE", "INE002A01018", 1000)
    assert (reliance.group, reliance.tick, reliance.lot, reliance.call_auction) == ("A", 5, 1, "pre_open")
    stages = Counter(i.gsm_stage for i in instruments.values())
    assert stages == {None: 16_346, 0: 472, 1: 62, 2: 62, 3: 62, 4: 63, 6: 58}
    assert sum(i.scale == 4 for i in instruments.values()) == 179  # 178 clean ones, and one more of their group FC
    assert {i.tick for i in instruments.values() if i.scale == 4} == {1, 25, 500}
