"""The sheet in C, held against its Python: values put and taken over, and deltas written as JSON, byte for byte."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bhavcast.board import encode, sheet
from bhavcast.board.board import Board, Row
from bhavcast.domain import field
from bhavcast.domain.change import Change
from bhavcast.domain.field import Kind
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.shape import Shape

_sheet = pytest.importorskip("bhavcast.board._sheet", reason="the wheel was built without a C compiler")

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
    return Board().add([Instrument(symbol=symbol, id="X", name="X", scale=scale)])[0]


def board(*symbols: str) -> Board:
    made = Board()
    made.add(Instrument(symbol=symbol, id="X", name="X") for symbol in symbols)
    return made


def in_c(it: Row, shape: Shape, since: int) -> bytes | None:
    return _sheet.deltas([it], since, encode.columns(shape))[0]


# -- deltas ---------------------------------------------------------------------------------------------------------------


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
    rows = board(*map(str, range(count)), "₹").order
    for rev, it in enumerate(rows[:-1], 1):
        it.put(rev, values[rev % len(values)])
    shape = Shape(numbers)
    each = [encode.Encoder(shape).delta(it, 20) for it in rows]
    assert encode.Encoder(shape).deltas(rows, 20) == each
    assert [None if it.symbol == "₹" else one for it, one in zip(rows, each, strict=True)] == _sheet.deltas(
        rows, 20, encode.columns(shape)
    )


@pytest.mark.parametrize("values", ODD.values(), ids=ODD)
def test_what_is_not_usual_is_left_to_python(values):
    it = row()
    it.put(1, values)
    assert in_c(it, Shape(), 0) is None
    if field.TIMESTAMP not in values:  # no date at all
        assert encode.Encoder(Shape()).delta(it, 0) == msgspec.json.encode(encode.delta(it, Shape(), 0))


@pytest.mark.parametrize("symbol", ['5"', "₹", "5" * 37, "5" * 200])
def test_an_odd_symbol_is_left_to_python(symbol):
    it = row(symbol=symbol)
    it.put(1, {field.VOLUME: 1})
    assert in_c(it, Shape(), 0) is None
    assert msgspec.json.decode(encode.Encoder(Shape()).delta(it, 0))["symbol"] == symbol


def test_an_odd_scale_is_left_to_python():
    it = row()
    it.put(1, {field.VOLUME: 1})
    it.scale = 3
    assert in_c(it, Shape(), 0) is None


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        (((field.COUNT, b"x", 0),), IndexError),
        (((-1, b"x", 0),), IndexError),
        (((0, b"x"),), TypeError),
        (((0, "x", 0),), TypeError),
        ([], TypeError),
        (((0, b"x", 0),) * 65, TypeError),
    ],
)
def test_columns_that_do_not_fit_are_refused(columns, error):
    with pytest.raises(error):
        _sheet.deltas([row()], 0, columns)


def test_a_key_longer_than_the_buffer_is_left_to_python():
    it = row()
    it.put(1, {0: 1})
    assert _sheet.deltas([it], 0, ((0, b"x" * 9000, 0),)) == [None]


# -- messages -------------------------------------------------------------------------------------------------------------


def packed(changes: object) -> bytes:
    return msgspec.msgpack.encode(changes)


def images(it: Board) -> list[object]:
    return [each.image() for each in it.order]


@given(st.lists(st.tuples(st.integers(0, 70), CHANGED), max_size=200))
def test_a_message_is_taken_over_as_its_changes_one_by_one(changes):
    it, other = (board(*map(str, range(71))) for _ in range(2))
    told = [Change(str(n), rev, values) for rev, (n, values) in enumerate(changes, 1)]
    assert it.sheet.take(packed(told)) == [it.rows[each.symbol].slot for each in told]
    for each in told:
        other.rows[each.symbol].put(each.rev, each.values)
    assert images(it) == images(other)


GOOD = packed(
    [Change("5", 7, {0: 150_000, field.BIDS: ((1, 2, 3), (4, 5, 6)), 9: None, 20: "live"}), Change("5", 8, {})]
)


@given(st.integers(0, len(GOOD)), st.integers(0, len(GOOD)), st.binary(max_size=4))
def test_any_bytes_are_changes_that_python_reads_the_same_or_nothing_is_taken_over(cut, put, middle):
    encoded = GOOD[: min(cut, put)] + middle + GOOD[max(cut, put) :]
    it, other = board("5"), board("5")
    if it.sheet.take(encoded) is not None:
        for each in msgspec.msgpack.decode(encoded, type=list[Change]):
            other.rows["5"].put(each.rev, each.values)
    assert images(it) == images(other)


@pytest.mark.parametrize(
    "changes",
    [
        [("5", 1, {0: 1}), ("9", 2, {})],  # no such row
        [("5", 1, {0: 1}), ("", 2, {})],
        [("5", 1, {0: 1}), ("5", 2, {field.COUNT: 1})],  # no such field
        [("5", 1, {0: 1}), ("5", 2, {-1: 1})],
        [("5", 1, {0: 1}), ("5", -2, {1: 1})],
        [("5", 1, {0: 1}), ("5", 2, {1: 1.5})],
        [("5", 1, {0: 1}), ("5", 2, {1: True})],
        [("5", 1, {0: 1}), ("5", 2, {1: 2**63})],
        [("5", 1, {0: 1}), ("5", 2, {8: [[1, 2]]})],
        [("5", 1, {0: 1}), ("5", 2, {1: "₹"})],
        [("5", 1, {0: 1}), ("₹", 2, {1: 1})],
        [("5", 1, {0: 1}), ("5", 2)],
        {"5": 1},
    ],
    ids=str,
)
def test_what_is_unusual_is_left_to_python_before_anything_is_taken_over(changes):
    it = board("5", "₹")
    assert it.sheet.take(packed(changes)) is None
    assert (it.rows["5"].rev, list(it.rows["5"])) == (0, [None] * field.COUNT)
    assert board().sheet.take(packed([Change("5", 1, {})])) is None, "an empty sheet has no rows"


# -- one row --------------------------------------------------------------------------------------------------------------

ANYTHING = st.none() | st.integers() | st.text(max_size=3) | st.booleans() | LEVELS | st.binary(max_size=3)
STEPS = st.one_of(
    st.tuples(st.just("put"), st.dictionaries(st.integers(0, field.COUNT - 1), ANYTHING)),
    st.tuples(st.just("differing"), st.dictionaries(st.integers(0, field.COUNT - 1), ANYTHING)),
    st.tuples(st.just("set"), st.tuples(st.integers(0, field.COUNT - 1), ANYTHING)),
    st.tuples(st.just("load"), st.lists(st.tuples(ANYTHING, st.integers(0, 2**63 - 1)), max_size=field.COUNT)),
    st.tuples(st.just("stamp"), st.none()),
)


def told(it: sheet.Cells) -> object:
    types = [type(each) for each in it]
    return (it.slot, it.rev, it.scale, list(it), types, it.revs, [it.changed(n) for n in range(len(it))], list(it)[-1])


@given(st.lists(STEPS, max_size=8))
def test_a_row_does_the_same_in_both(steps):
    both = [kind.Cells(kind.Sheet(field.COUNT), "500325", 2) for kind in (_sheet, sheet)]
    for rev, (step, what) in enumerate(steps, 2**62):
        if step == "differing":
            assert (
                both[0].differing(what)
                == both[1].differing(what)
                == {n: value for n, value in what.items() if both[0][n] != value}
            )
        for it in both:
            match step:
                case "put":
                    it.put(rev, what)
                case "set":
                    it[what[0]] = what[1]
                case "load":
                    it.load(rev, [value for value, _ in what], [changed for _, changed in what])
                case "stamp":
                    it.stamp(rev)
        assert told(both[0]) == told(both[1])


def test_rows_stand_where_they_stood_when_the_sheet_grows():
    it = board(*map(str, range(1000)))
    for each in it.order:
        each.put(each.slot + 1, {field.VOLUME: each.slot, field.SOURCE: each.symbol})
    it.add(Instrument(symbol=str(n), id="X", name="X") for n in range(1000, 3000))
    assert len(it.sheet) == 3000
    assert [(each[field.VOLUME], each[field.SOURCE]) for each in it.order[:1000]] == [(n, str(n)) for n in range(1000)]
    assert it.sheet.take(packed([Change(each.symbol, 5, {}) for each in it.order])) == [*range(3000)]


def test_a_row_outlives_its_board():
    it = row()
    it.put(1, {field.SOURCE: "a" * 50})
    assert it[field.SOURCE] == "a" * 50


def test_objects_are_let_go_of_with_the_sheet_and_when_others_take_their_place():
    class Value: ...

    cells = _sheet.Cells(_sheet.Sheet(2), "5", 2)
    values = [Value() for _ in range(4)]
    held = [weakref.ref(each) for each in values]
    cells[0], cells[1] = values[0], values[1]
    cells.put(1, {0: values[2]})
    cells.load(2, [7, values[3]], [1, 1])
    del values
    gc.collect()
    assert [each() is None for each in held] == [True, True, True, False]
    del cells
    assert held[3]() is None


class Number:
    """What can be made a whole number, and does something else on the way."""

    def __init__(self, do: Callable[[], object]) -> None:
        self._do = do

    def __index__(self) -> int:
        self._do()
        return 1


@pytest.mark.parametrize(
    "step",
    [
        lambda it, number: setattr(it, "rev", number),
        lambda it, number: setattr(it, "scale", number),
        lambda it, number: it.stamp(number),
        lambda it, number: it.put(number, {0: 1}),
        lambda it, number: it.load(number, [1], [1]),
        lambda it, number: it.load(1, [1], [number]),
    ],
    ids=["rev", "scale", "stamp", "put", "load", "load of a field"],
)
def test_only_a_whole_number_is_taken_for_one_so_that_no_code_runs_while_a_row_is_written(step):
    it, ran = row(), []
    with pytest.raises(TypeError):
        step(it, Number(lambda: ran.append(1)))
    assert not ran
    assert it.image() == row().image()


def test_values_that_empty_the_dict_while_they_are_compared_are_held_until_that_is_done():
    class Value:
        def __eq__(self, other: object) -> bool:
            values.clear()
            gc.collect()
            return False

        __hash__ = None  # type: ignore[assignment]  # so says the language of what defines equality

    values: dict[int, Any] = {number: Value() for number in range(5)}
    ((number, value),) = row().differing(values).items()
    assert number == 0
    assert isinstance(value, Value)


def test_a_value_that_adds_rows_when_it_goes_leaves_those_that_are_there_as_they_are():
    class Value:
        def __del__(self) -> None:
            it.add(Instrument(symbol=f"N{len(it.order)}", id="X", name="X") for _ in range(100))

    it = board("5")
    first: Any = it.order[0]
    first[0], first[1], first[2] = Value(), Value(), Value()
    first.put(1, {0: 1})
    first.load(2, [2, 2], [2, 2])
    assert it.sheet.take(packed([Change("5", 3, {2: "x"}), Change("5", 4, {3: 4})])) == [0, 0]
    assert (first.rev, list(first)[:4], first.revs[:4]) == (4, [2, 2, "x", 4], [2, 2, 3, 4])
    assert len(it.order) == len(it.sheet) > 250


WRONG = {
    "no field": (lambda it: _sheet.Sheet(0), ValueError),
    "too many fields": (lambda it: _sheet.Sheet(65), ValueError),
    "no sheet": (lambda it: _sheet.Cells(None, "5", 2), TypeError),
    "a second place": (lambda it: it.__init__(Instrument(symbol="5", id="X", name="X"), Board().sheet), TypeError),
    "no place: its revision": (lambda it: Row.__new__(Row).rev, TypeError),
    "no place: an item": (lambda it: Row.__new__(Row)[0], IndexError),
    "no place: put": (lambda it: Row.__new__(Row).put(1, {}), TypeError),
    "no such field": (lambda it: it[field.COUNT], IndexError),
    "a name for a field": (lambda it: it["a"], TypeError),
    "changed: no such field": (lambda it: it.changed(-1), IndexError),
    "put: no such field": (lambda it: it.put(1, {-1: 1}), IndexError),
    "put: a name": (lambda it: it.put(1, {"a": 1}), TypeError),
    "put: a revision beyond eight bytes": (lambda it: it.put(2**63, {0: 1}), OverflowError),
    "differing: no values": (lambda it: it.differing([1]), TypeError),
    "differing: no such field": (lambda it: it.differing({field.COUNT: 1}), IndexError),
    "put: no values": (lambda it: it.put(1, [1]), TypeError),
    "load: no revisions": (lambda it: it.load(1, [1], []), TypeError),
    "load: too many": (lambda it: it.load(1, [1] * (field.COUNT + 1), [1] * (field.COUNT + 1)), TypeError),
    "load: no revision": (lambda it: it.load(1, [1], ["a"]), TypeError),
    "stamp: no revision": (lambda it: it.stamp("a"), TypeError),
    "a scale of nineteen": (lambda it: setattr(it, "scale", 19), ValueError),
    "a revision that is none": (lambda it: setattr(it, "rev", "a"), TypeError),
    "a row without a revision": (lambda it: delattr(it, "rev"), TypeError),
    "a row without a scale": (lambda it: delattr(it, "scale"), TypeError),
    "deltas: no row": (lambda it: _sheet.deltas([object()], 1, encode.columns(Shape())), TypeError),
    "deltas: no place": (lambda it: _sheet.deltas([Row.__new__(Row)], 1, encode.columns(Shape())), TypeError),
    "deltas: no list": (lambda it: _sheet.deltas((it,), 1, encode.columns(Shape())), TypeError),
}


@pytest.mark.parametrize(("wrong", "error"), WRONG.values(), ids=WRONG)
def test_what_it_was_not_made_for_is_refused(wrong, error):
    it = row()
    with pytest.raises(error):
        wrong(it)
    assert it.image() == row().image()
