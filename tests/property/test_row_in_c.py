"""What the board does in C, held against its Python: values taken over, and deltas written as JSON, byte for byte."""

from array import array

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bhavcast.board import encode
from bhavcast.board.board import Row
from bhavcast.domain import field
from bhavcast.domain.change import Change
from bhavcast.domain.field import Kind
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.shape import Shape

_row = pytest.importorskip("bhavcast.board._row", reason="the wheel was built without a C compiler")

NUMBER = st.integers(-(10**15) + 1, 10**15 - 1)
VALUE = {
    Kind.PRICE: NUMBER,
    Kind.MONEY: NUMBER,
    Kind.PERCENT: NUMBER,
    Kind.COUNT: st.integers(-(2**63), 2**63 - 1),
    Kind.TIME: st.integers(0, 4 * 10**12),
    Kind.SECOND: st.integers(0, 4 * 10**12),
    Kind.TEXT: st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='"\\'), max_size=64),
}
VALUES = st.fixed_dictionaries(
    {}, optional={number: st.none() | VALUE[field.FIELDS[number].kind] for number in field.FULL}
)
LEVELS = st.lists(st.tuples(*[st.integers(-(2**63), 2**63 - 1)] * 3), max_size=20).map(tuple)
CHANGED = st.builds(dict.__or__, VALUES, st.dictionaries(st.sampled_from(field.LADDERS), st.none() | LEVELS))
# Not usual: Python writes these.
ODD = {
    "an escape": {field.SOURCE: 'a"b'},
    "a letter of another script": {field.SOURCE: "सेंसेक्स"},
    "a long text": {field.SOURCE: "x" * 65},
    "a price of sixteen digits": {field.CURRENT_PRICE: 10**15},
    "a count beyond eight bytes": {field.VOLUME: 2**63},
    "a time before 1970": {field.TIMESTAMP: -1},
    "a year of five digits": {field.TIMESTAMP: 253402281000_000},
    "a value of another kind": {field.VOLUME: "many"},
}


def row(scale: int = 2, symbol: str = "500325") -> Row:
    return Row(Instrument(symbol=symbol, id="X", name="X", scale=scale), 0)


def in_c(it: Row, shape: Shape, since: int) -> bytes | None:
    return _row.delta(it.symbol, it.divisor, it.values, it.revs, it.rev, since, encode.columns(shape))


@given(
    st.lists(VALUES, max_size=3), st.sampled_from([2, 4]), st.sampled_from([field.LTP, field.FULL]), st.integers(0, 3)
)
@example([{field.CURRENT_PRICE: -5, field.CHANGE: 0, field.TIMESTAMP: 951_782_399_999}], 2, field.FULL, 0)
@example([{field.CURRENT_PRICE: 1, field.TIMESTAMP: 253402280999_999}], 4, field.FULL, 0)  # the year 9999 ends in India
def test_a_delta_is_the_same(changes, scale, numbers, since):
    it, shape = row(scale), Shape(numbers)
    for rev, values in enumerate(changes, 1):
        it.put(rev, values)
    wire = encode.delta(it, shape, since)
    assert in_c(it, shape, since) == (b"" if wire is None else msgspec.json.encode(wire))


@given(st.lists(VALUES, min_size=1, max_size=4), st.integers(0, 150), st.sampled_from([field.LTP, field.FULL]))
def test_many_deltas_are_those_of_each(values, count, numbers):
    rows = [row() for _ in range(count)]
    for rev, it in enumerate(rows, 1):
        it.put(rev, values[rev % len(values)])
    rows += [row(symbol="₹")]
    shape = Shape(numbers)
    each = [encode.Encoder(shape).delta(it, 20) for it in rows]
    assert encode.Encoder(shape).deltas(rows, 20) == each
    assert [None if it.symbol == "₹" else one for it, one in zip(rows, each, strict=True)] == _row.deltas(
        rows, 20, encode.columns(shape)
    )


def packed(changes: object) -> bytes:
    return msgspec.msgpack.encode(changes)


@given(st.lists(st.tuples(st.integers(0, 5), CHANGED), max_size=200))
def test_a_message_is_taken_over_as_its_changes_one_by_one(changes):
    rows, others = ({str(n): row(symbol=str(n)) for n in range(6)} for _ in range(2))
    told = [Change(str(n), rev, values) for rev, (n, values) in enumerate(changes, 1)]
    assert _row.take(rows, packed(told), field.COUNT) == [rows[each.symbol] for each in told]
    for each in told:
        others[each.symbol].put(each.rev, each.values)
    for symbol, it in rows.items():
        assert it.image() == others[symbol].image()


GOOD = packed(
    [Change("5", 7, {0: 150_000, field.BIDS: ((1, 2, 3), (4, 5, 6)), 9: None, 20: "live"}), Change("5", 8, {})]
)


@given(st.integers(0, len(GOOD)), st.integers(0, len(GOOD)), st.binary(max_size=4))
def test_any_bytes_are_changes_that_python_reads_the_same_or_nothing_is_taken_over(cut, put, middle):
    encoded = GOOD[: min(cut, put)] + middle + GOOD[max(cut, put) :]
    it, other = row(symbol="5"), row(symbol="5")
    if _row.take({"5": it}, encoded, field.COUNT) is not None:
        for each in msgspec.msgpack.decode(encoded, type=list[Change]):
            other.put(each.rev, each.values)
    assert it.image() == other.image()


@pytest.mark.parametrize(
    "changes",
    [
        [("5", 1, {0: 1}), ("9", 2, {})],  # no such row
        [("5", 1, {0: 1}), ("5", 2, {field.COUNT: 1})],  # no such field
        [("5", 1, {0: 1}), ("5", 2, {-1: 1})],
        [("5", 1, {0: 1}), ("5", -2, {1: 1})],
        [("5", 1, {0: 1}), ("5", 2, {1: 1.5})],
        [("5", 1, {0: 1}), ("5", 2, {1: True})],
        [("5", 1, {0: 1}), ("5", 2, {1: 2**63})],
        [("5", 1, {0: 1}), ("5", 2, {8: [[1, 2]]})],
        [("5", 1, {0: 1}), ("5", 2, {1: "₹"})],
        [("5", 1, {0: 1}), ("5", 2)],
        {"5": 1},
    ],
    ids=str,
)
def test_what_is_unusual_is_left_to_python_before_anything_is_taken_over(changes):
    it = row(symbol="5")
    assert _row.take({"5": it}, packed(changes), field.COUNT) is None
    assert (it.rev, it.values) == (0, [None] * field.COUNT)


def test_what_is_no_row_is_refused():
    with pytest.raises(AttributeError):
        _row.take({"5": object()}, packed([Change("5", 1, {})]), field.COUNT)
    with pytest.raises(AttributeError):
        _row.deltas([object()], 1, encode.columns(Shape()))
    with pytest.raises(IndexError):
        _row.take({"5": row(symbol="5")}, packed([Change("5", 1, {})]), field.COUNT + 1)


@given(st.lists(VALUES, max_size=4))
def test_values_are_taken_over_the_same(changes):
    it, values, revs = row(), [None] * field.COUNT, array("q", bytes(8 * field.COUNT))
    for rev, changed in enumerate(changes, 10**15):
        it.put(rev, changed)
        for number, value in changed.items():
            values[number], revs[number] = value, rev
    assert (it.values, it.revs) == (values, revs)


@pytest.mark.parametrize("values", ODD.values(), ids=ODD)
def test_what_is_not_usual_is_left_to_python(values):
    it = row()
    it.put(1, values)
    assert in_c(it, Shape(), 0) is None
    if field.TIMESTAMP not in values:  # no date at all
        assert encode.Encoder(Shape()).delta(it, 0) == msgspec.json.encode(encode.delta(it, Shape(), 0))


def test_an_odd_symbol_or_scale_is_left_to_python():
    for it in (row(symbol='5"'), row(symbol="₹")):
        it.put(1, {field.VOLUME: 1})
        assert in_c(it, Shape(), 0) is None
        assert msgspec.json.decode(encode.Encoder(Shape()).delta(it, 0))["symbol"] == it.symbol
    it = row()
    it.put(1, {field.VOLUME: 1})
    assert _row.delta("5", 1000, it.values, it.revs, 1, 0, encode.columns(Shape())) is None


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((), TypeError),
        (([], array("q"), 1, {0: 1}), IndexError),
        (([None], array("q", [0]), 1, {-1: 1}), IndexError),
        (([None], array("q", [0]), 1, {"a": 1}), TypeError),
        (([None], array("i", [0]), 1, {0: 1}), TypeError),
        (([None], [0], 1, {0: 1}), TypeError),
        (([None], array("q", [0]), 2**63, {0: 1}), OverflowError),
    ],
)
def test_put_refuses_what_it_was_not_made_for(arguments, error):
    with pytest.raises(error):
        _row.put(*arguments)


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        (((9, b"x", 0),), IndexError),
        (((-1, b"x", 0),), IndexError),
        (((0, b"x"),), TypeError),
        (((0, "x", 0),), TypeError),
    ],
)
def test_delta_refuses_columns_that_do_not_fit(columns, error):
    with pytest.raises(error):
        _row.delta("5", 100, [None], array("q", [1]), 1, 0, columns)


def test_a_key_longer_than_the_buffer_is_left_to_python():
    assert _row.delta("5", 100, [1], array("q", [1]), 1, 0, ((0, b"x" * 9000, 0),)) is None
