"""What a person reads on a terminal: numbers with their decimals, and no column cut to pieces."""

import pytest

from bhavcast.cli.output import fitting, written

COLUMNS = ("symbol", "price", "bid", "ask")
CELLS = [["500325", "1556.10", "1556.10", "1556.55"], ["IDX:SENSEX", "84432.93", "", ""]]


@pytest.mark.parametrize(
    ("value", "text"),
    [(1556.1, "1556.10"), (7.0, "7.00"), (101.2345, "101.2345"), (1792, "1792"), ("live", "live"), (None, "")],
)
def test_a_price_has_its_decimals(value, text):
    assert written(value) == text


def test_thousands_are_divided_where_asked_for():
    assert written(84432.9, thousands=",") == "84,432.90"
    assert written(1234567, thousands=",") == "1,234,567"


@pytest.mark.parametrize(
    ("width", "kept"),
    [
        (80, "symbol price bid ask"),
        (38, "symbol price bid ask"),
        (37, "symbol price ask"),
        (28, "symbol price"),
        (5, "symbol price"),
    ],
)
def test_columns_that_can_be_spared_give_way_one_after_the_other(width, kept):
    assert [COLUMNS[at] for at in fitting(COLUMNS, CELLS, width, ("bid", "ask"))] == kept.split()
