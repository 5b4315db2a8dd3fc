"""Whatever bytes come, a parser of reference data gives a value or its own error."""

import datetime
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bhavcast.domain.directory import Directory
from bhavcast.domain.errors import AmbiguousSymbol, BadFile, UnknownSymbol
from bhavcast.reference.bhavcopy import DayFile, parse_bhavcopy
from bhavcast.reference.builtin import universe
from bhavcast.reference.master import parse_master
from tests.reference_files import legacy, legacy_file, master_file, scrip, udiff, udiff_file

CODES = range(600001, 600006)
FILES = {
    "master": master_file(*(scrip(code) for code in CODES)),
    "legacy": legacy_file(*(legacy(code) for code in CODES)),
    "udiff": udiff_file(*(udiff(code) for code in CODES)),
}
DATE = datetime.date(2021, 5, 7)
PIECES = [
    b",",
    b"\n",
    b"\r",
    b'"',
    b"\x00",
    b"\xff",
    b"\xe2\x82",
    b"nan",
    b"-",
    b"9" * 40,
    b".",
    b" ",
    b"<",
    b"\xef\xbb\xbf",
]
DIRECTORY = Directory(universe(60).instruments.values())


def read(content):
    """Give the file to both parsers; anything but a value or BadFile fails the test."""
    for parse in (
        parse_master,
        lambda some: parse_bhavcopy(some, "EQ070521.CSV"),
        lambda some: parse_bhavcopy(some, "", DATE),
    ):
        value, refused = attempt(parse, content)
        if refused is None:
            check(value)
        else:
            assert refused.row is None or refused.row >= 1
            assert len(str(refused)) < 1000


def attempt(parse, content):
    try:
        return parse(content), None
    except BadFile as refused:
        return None, refused


def check(value):
    if isinstance(value, DayFile):
        for symbol, day in value.days.items():
            assert value.instruments[symbol].symbol == symbol
            assert 0 <= day.low <= day.open <= day.high
            assert day.low <= day.last <= day.high < 2**63
            day.values(value.instruments[symbol].scale)
    else:
        for symbol, instrument in value.instruments.items():
            assert instrument.symbol == symbol
            assert instrument.tick > 0
            assert instrument.lot > 0


def mutate(content, dice):
    data = bytearray(content)
    for _ in range(dice.choice((1, 1, 2, 5))):
        start = dice.randrange(len(data) + 1)
        match dice.randrange(6):
            case 0:
                data[start : start + 1] = bytes([dice.randrange(256)])
            case 1:
                del data[start : start + dice.choice((1, 2, 30, 400))]
            case 2:
                data[start:start] = dice.choice(PIECES)
            case 3:
                del data[start:]
            case 4:
                other = dice.randrange(len(data) + 1)
                data[start:start] = data[other : other + dice.choice((1, 10, 120))]
            case _:
                data[start : start + 8] = dice.choice(PIECES)
    return bytes(data)


@given(st.binary(max_size=400))
@example(b"\n,")
@example(b'"')
@example(b"\xef\xbb\xbf")
def test_any_bytes_give_a_value_or_the_own_error(content):
    read(content)


@given(st.sampled_from(sorted(FILES)), st.lists(st.lists(st.text(max_size=12), max_size=40), max_size=4))
def test_any_cells_under_a_right_header_give_a_value_or_the_own_error(form, rows):
    header = FILES[form].partition(b"\n")[0]
    lines = [",".join(row).encode("utf-8", "surrogatepass") for row in rows]
    read(b"\n".join([header, *lines, b""]))


@given(st.sampled_from(sorted(FILES)), st.data())
def test_any_text_in_any_one_cell_gives_a_value_or_the_own_error(form, data):
    lines = FILES[form].decode().split("\n")
    row = data.draw(st.integers(0, len(lines) - 2))
    cells = lines[row].split(",")
    cells[data.draw(st.integers(0, len(cells) - 1))] = data.draw(
        st.text(max_size=20) | st.decimals(allow_nan=True).map(str) | st.integers().map(str)
    )
    lines[row] = ",".join(cells)
    read("\n".join(lines).encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("form", sorted(FILES))
def test_thousands_of_harmed_files_give_a_value_or_the_own_error(form):
    dice = random.Random(f"reference {form}")
    for _ in range(3000):
        read(mutate(FILES[form], dice))


@pytest.mark.parametrize("form", sorted(FILES))
def test_every_beginning_of_a_file_within_a_line_is_refused(form):
    content = FILES[form]
    parse = (
        parse_master if form == "master" else lambda some: parse_bhavcopy(some, "", None if form == "udiff" else DATE)
    )
    for length in range(len(content)):
        if content[:length].endswith(b"\n") and content[:length].count(b"\n") > 1:
            parse(content[:length])  # whole lines: only the number of rows can tell, and the store looks at it
        else:
            with pytest.raises(BadFile):
                parse(content[:length])


@pytest.mark.parametrize(
    "path",
    [
        "scrip_master/BSE_EQ_SCRIP_15062023.csv",
        "bhavcopy/EQ070521.CSV",
        "bhavcopy/BhavCopy_BSE_CM_0_0_0_20260911_F_0000-excerpt.CSV",
    ],
)
def test_harmed_slices_of_the_real_files_give_a_value_or_the_own_error(shared, path):
    header, _, rest = (shared / path).read_bytes().partition(b"\n")
    lines = rest.split(b"\n")[:-1]
    dice = random.Random(path)
    for _ in range(400):
        start = dice.randrange(len(lines))
        slice_ = b"\n".join([header, *lines[start : start + 12], b""])
        read(mutate(slice_, dice))


def test_the_real_files_harmed_whole_give_a_value_or_the_own_error(shared):
    content = (shared / "bhavcopy" / "EQ070521.CSV").read_bytes()
    dice = random.Random(7)
    for _ in range(12):
        read(mutate(content, dice))


@given(st.text(max_size=80) | st.sampled_from([i.id for i in DIRECTORY]))
def test_any_text_resolves_or_is_unknown(text):
    try:
        found = DIRECTORY.resolve(text)
    except (UnknownSymbol, AmbiguousSymbol):
        return
    assert text.strip().upper() in (found.symbol, found.id.upper(), found.isin)


@given(st.text(max_size=6), st.integers(1, 20))
def test_pages_of_any_search_make_its_whole(query, limit):
    whole, _ = DIRECTORY.search(query, limit=1000)
    page, cursor = DIRECTORY.search(query, limit=limit)
    found = list(page)
    while cursor:
        page, cursor = DIRECTORY.search(query, limit=limit, cursor=cursor)
        found += page
    assert found == whole
