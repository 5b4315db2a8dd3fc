"""What a quote looks like on the wire, and that deltas add up to it."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bhavcast.board.board import Board, Row
from bhavcast.board.encode import Encoder, delta, encode, full, iso_ms, iso_second
from bhavcast.domain import field
from bhavcast.domain.field import Values
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.shape import Shape
from bhavcast.domain.tick import Source, Tick

SIM = Source(name="sim", mode="sim", grade="tick")
SCRIP = Instrument(symbol="600001", id="EXAMPLE", name="EXAMPLE LTD.", isin="INEZ00001012", group="A")
BOND = Instrument(symbol="600002", id="BOND", name="BOND", kind="DB", scale=4)
NOON = 1_795_415_931_143  # 2026-11-23 12:08:51.143 IST


def board(**values: field.Value) -> Board:
    made = Board()
    made.add([SCRIP, BOND])
    made.begin("20261123T0345Z-9f1c03ab77de5a20", 1000, 1)
    if values:
        say(made, "600001", NOON, **values)
    return made


def say(to: Board, symbol: str = "600001", at: int = NOON, /, **values: field.Value) -> Row:
    said: Values = {field.BY_NAME[name].number: value for name, value in values.items()}
    to.apply(SIM, [Tick(symbol, at, said)])
    return to.rows[symbol]


def test_times_are_written_in_ist():
    assert iso_ms(NOON) == "2026-11-23T12:08:51.143+05:30"
    assert iso_ms(NOON - 143) == "2026-11-23T12:08:51.000+05:30"
    assert iso_second(NOON) == "2026-11-23T12:08:51+05:30"


def test_a_whole_quote_has_its_description_and_every_value_in_its_unit():
    row = board(
        current_price=153_265, previous_close=150_000, volume=7, value=12_345, last_trade_time=NOON, bids=((1, 2, 3),)
    ).rows["600001"]
    assert full(row, Shape()) == {
        "symbol": "600001", "id": "EXAMPLE", "company_name": "EXAMPLE LTD.", "isin": "INEZ00001012", "group": "A",
        "current_price": 1532.65, "change": 32.65, "percent_change": 2.18, "previous_close": 1500.0, "volume": 7,
        "value": 123.45, "last_trade_time": "2026-11-23T12:08:51+05:30", "state": "live", "mode": "sim",
        "source": "sim", "grade": "tick", "period_ms": 0, "timestamp": "2026-11-23T12:08:51.143+05:30", "rev": 1001,
    }  # fmt: skip


def test_debt_has_four_decimals():
    row = say(board(), "600002", current_price=1_012_345, bids=((1_012_300, 2, 3),))
    wire = full(row, Shape(depth=1))
    assert wire["current_price"] == 101.2345
    assert wire["depth"] == {"bids": [{"price": 101.23, "quantity": 2, "orders": 3}]}


def test_a_preset_shows_its_fields_and_no_description():
    row = board(current_price=100, open=90, volume=3).rows["600001"]
    assert full(row, Shape(field.LTP)).keys() == {"symbol", "current_price", "volume", "state", "timestamp", "rev"}
    assert "open" in full(row, Shape(field.QUOTE))


def test_depth_is_cut_to_its_levels_side_by_side():
    ladder = tuple((100 - n, n + 1, 1) for n in range(5))
    row = board(bids=ladder, asks=()).rows["600001"]
    for depth in range(1, 6):
        shown = full(row, Shape(field.LTP, depth))["depth"]
        assert [level["quantity"] for level in shown["bids"]] == list(range(1, depth + 1))
        assert shown["asks"] == []
    assert "depth" not in full(row, Shape(field.LTP))


def test_a_delta_has_what_is_newer_and_null_for_what_has_no_value_now():
    it = board(current_price=100, ask_price=101, asks=((101, 1, 1),))
    since = it.rev
    row = say(it, volume=5, ask_price=None, asks=None)
    assert delta(row, Shape(depth=5), since) == {
        "symbol": "600001", "volume": 5, "ask_price": None, "depth": {"asks": None}, "rev": since + 1,
    }  # fmt: skip
    assert delta(row, Shape(field.LTP), since) == {"symbol": "600001", "volume": 5, "rev": since + 1}
    assert "ask_price" not in full(row, Shape(depth=5))
    assert full(row, Shape(depth=5))["depth"] == {}


def test_a_delta_without_anything_in_its_shape_is_nothing():
    it = board(current_price=100)
    since = it.rev
    row = say(it, open=5)
    assert delta(row, Shape(field.LTP), since) is None
    assert Encoder(Shape(field.LTP)).delta(row, since) == b""
    assert delta(row, Shape(), it.rev) is None


@pytest.mark.parametrize("binary", [False, True])
def test_a_whole_quote_is_encoded_once_until_its_row_changes_or_all_is_forgotten(binary):
    it = board(current_price=100)
    encoder = Encoder(Shape(binary=binary))
    row = it.rows["600001"]
    first = encoder.full(row)
    assert encoder.full(row) is first
    say(it, volume=1)
    second = encoder.full(row)
    assert second != first
    encoder.forget()
    assert encoder.full(row) is not second
    assert encoder.full(row) == second == encode(full(row, encoder.shape), binary=binary)


# -- whatever happens -------------------------------------------------------------------------------------------------------

VALUE = st.none() | st.integers(1, 40)
LADDER = st.none() | st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 3)), max_size=5).map(tuple)
PLAIN = [each.number for each in field.FIELDS if each.kind not in (field.Kind.TEXT, field.Kind.LADDER)]
DERIVED = (field.CHANGE, field.PERCENT_CHANGE, field.TIMESTAMP, field.PERIOD_MS)
TICK = st.tuples(
    st.dictionaries(st.sampled_from([n for n in PLAIN if n not in DERIVED]), VALUE, max_size=5),
    st.dictionaries(st.sampled_from(field.LADDERS), LADDER, max_size=2),
)
SHAPES = st.builds(
    Shape,
    st.sampled_from([*field.PRESETS.values(), (field.VOLUME, field.ASK_PRICE), (field.CHANGE,)]),
    st.integers(0, 5),
    st.booleans(),
)


def read(encoded: bytes, shape: Shape) -> dict[str, Any]:
    decoded = msgspec.msgpack.decode(encoded) if shape.binary else msgspec.json.decode(encoded)
    assert isinstance(decoded, dict)
    return decoded


def merged(held: dict[str, Any], news: dict[str, Any]) -> dict[str, Any]:
    """What a reader makes of a delta: values replaced, null deletes, depth side by side."""
    result = {**held, **{name: value for name, value in news.items() if name != "depth"}}
    if "depth" in news:
        sides = {**held.get("depth", {}), **news["depth"]}
        result["depth"] = {side: levels for side, levels in sides.items() if levels is not None}
    return {name: value for name, value in result.items() if value is not None}


@settings(max_examples=80)
@given(st.lists(TICK, min_size=1, max_size=12), SHAPES, st.sampled_from(["600001", "600002"]), st.data())
def test_a_delta_since_any_position_merged_into_the_state_there_is_the_whole(ticks, shape, symbol, data):
    it, encoder = board(), Encoder(shape)
    row, at = it.rows[symbol], NOON
    states = [(it.rev, read(encoder.full(row), shape))]
    for values, ladders in ticks:
        at += data.draw(st.integers(0, 1))
        it.apply(SIM, [Tick(symbol, at, {**values, **ladders})])
        states.append((it.rev, read(encoder.full(row), shape)))
    whole = states[-1][1]
    assert None not in whole.values()
    for since, held in states:
        news = encoder.delta(row, since)
        got = merged(held, read(news, shape)) if news else {**held, "rev": row.rev}
        assert got == whole


@settings(max_examples=60)
@given(st.lists(TICK, min_size=2, max_size=12), SHAPES)
def test_deltas_from_flush_to_flush_add_up_to_the_whole(ticks, shape):
    it, encoder = board(), Encoder(shape)
    row = it.rows["600001"]
    held, since = read(encoder.full(row), shape), it.rev
    for time, (values, ladders) in enumerate(ticks):
        it.apply(SIM, [Tick("600001", NOON + time, {**values, **ladders})])
        if time % 3 != 1:  # a flush that was left out
            news, since = encoder.delta(row, since), it.rev
            held = merged(held, read(news, shape)) if news else held
    news = encoder.delta(row, since)
    held = merged(held, read(news, shape)) if news else held
    assert {**held, "rev": row.rev} == read(encoder.full(row), shape)
