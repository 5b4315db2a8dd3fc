"""What whoever follows everything follows."""

import pytest

from bhavcast.board.board import Board
from bhavcast.domain.instrument import CANARY_SYMBOL, Instrument
from bhavcast.hub.everything import Everything

EPOCH = "20261123T0345Z-9f1c03ab77de5a20"


def scrip(symbol: str) -> Instrument:
    return Instrument(symbol=symbol, id=f"ID{symbol}", name=f"Scrip {symbol}")


@pytest.fixture
def board() -> Board:
    board = Board(EPOCH, 100, 1)
    board.add([scrip("500325"), scrip(CANARY_SYMBOL), scrip("500112")])
    return board


def symbols(everything: Everything) -> list[str]:
    assert everything.slots == {row.slot for row in everything.rows}
    return [row.symbol for row in everything.rows]


def test_everything_is_what_is_not_hidden(board):
    assert symbols(Everything(board)) == ["500325", "500112"]


def test_a_scrip_that_is_added_belongs_to_it_at_once_and_a_hidden_one_does_not():
    board = Board(EPOCH, 100, 1)
    everything = Everything(board)
    assert symbols(everything) == []
    board.add([scrip("500325")])
    assert symbols(everything) == ["500325"]
    board.add([scrip(CANARY_SYMBOL)])
    assert symbols(everything) == ["500325"]


def test_of_another_board_it_is_other_rows_even_where_they_are_as_many(board):
    everything = Everything(board)
    before = everything.rows
    other = Board("20261124T0345Z-0000000000000001", 200, 1)
    other.add([scrip("532540"), scrip("500112"), scrip(CANARY_SYMBOL)])
    board.load(other.snapshot(0))
    assert symbols(everything) == ["532540", "500112"]
    assert all(row is board.rows[row.symbol] for row in everything.rows)
    assert [row.symbol for row in before] == ["500325", "500112"], "who holds what it was holds that"


def test_while_the_board_is_the_same_it_is_put_together_once(board):
    everything = Everything(board)
    assert everything.slots is everything.slots
    board.add([scrip("500325")])  # a new description
    assert everything.rows is everything.rows
