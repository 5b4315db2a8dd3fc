"""A checkpoint that was made in slices is the snapshot, byte for byte, whatever changed between them."""

from hypothesis import given
from hypothesis import strategies as st

from bhavcast.board.board import Board
from bhavcast.board.checkpoint import Checkpoint
from bhavcast.domain import field
from bhavcast.domain.change import encode
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.tick import Source, Tick

SOURCE = Source(name="script", mode="sim", grade="tick")
SYMBOLS = [f"5000{n:02}" for n in range(12)]


def instruments(symbols: list[str]) -> list[Instrument]:
    return [Instrument(symbol=symbol, id=symbol, name=symbol) for symbol in symbols]


@given(
    st.lists(st.tuples(st.integers(0, 5), st.lists(st.tuples(st.sampled_from(SYMBOLS), st.integers(1, 9)))), max_size=8)
)
def test_it_is_the_snapshot_whatever_ticks_between_its_slices(steps):
    board = Board("e", 100, 7)
    board.add(instruments(SYMBOLS))
    board.facts["day"] = "2026-11-23"
    making = Checkpoint(board)
    for number, (count, ticks) in enumerate(steps):
        making.ahead(count)
        board.apply(SOURCE, [Tick(symbol, number, {field.CURRENT_PRICE: price}) for symbol, price in ticks])
        board.seal(number)
    assert encode(making.finish(5)) == encode(board.snapshot(5))


def test_it_tells_when_every_row_was_encoded_and_takes_rows_that_came_meanwhile():
    board = Board("e", 100, 7)
    board.add(instruments(SYMBOLS[:5]))
    making = Checkpoint(board)
    assert not making.ahead(4)
    board.add(instruments(SYMBOLS[5:6]))
    assert not making.ahead(1)
    assert making.ahead(4)
    assert encode(making.finish(5)) == encode(board.snapshot(5))
