"""The board: what a writer says of it, and what its replicas make of that."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bhavcast.board.board import LISTED, Board, Row
from bhavcast.domain import field
from bhavcast.domain.change import Change, Folding, Message, RowImage, Snapshot, decode, fold, hear
from bhavcast.domain.errors import BadRecord, BusHole
from bhavcast.domain.field import Values
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.tick import Source, Tick

SIM = Source(name="sim", mode="sim", grade="tick")
POLL = Source(name="poll", mode="delayed", grade="polled", period_ms=5000)
A, B, C = (Instrument(symbol=f"60000{n}", id=f"S{n}", name="EXAMPLE LTD.") for n in (1, 2, 3))
EPOCH = "20261123T0345Z-9f1c03ab77de5a20"
NEXT = "20261123T0400Z-51d0c7be12aa98f3"


def board(*instruments: Instrument) -> Board:
    made = Board()
    made.add(instruments or (A, B))
    made.begin(EPOCH, 1000, 7)
    return made


def tick(symbol: str, time: int, price: int | None = None, **more: field.Value) -> Tick:
    values: Values = {} if price is None else {field.CURRENT_PRICE: price}
    return Tick(symbol, time, values | {field.BY_NAME[name].number: value for name, value in more.items()})


def picture(of: Board) -> dict[str, Any]:
    """Everything that two boards have in common when they are equal."""
    return {
        "position": of.position,
        "rows": {row.symbol: row.image() for row in of.order if row.rev},
        "facts": of.facts,
        "instruments": {row.symbol: row.instrument for row in of.order},
    }


def pictured(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "position": snapshot.position,
        "rows": {row.symbol: row for row in snapshot.rows},
        "facts": snapshot.facts,
        "instruments": {each.symbol: each for each in snapshot.instruments},
    }


def shown(row: Row) -> dict[str, field.Held]:
    return {field.FIELDS[n].name: value for n, value in enumerate(row) if value is not None}


# -- the writer -----------------------------------------------------------------------------------------------------------


def test_each_change_takes_a_revision_of_its_own_and_each_field_remembers_its_last():
    it = board()
    first, second, third = it.apply(SIM, [tick("600001", 1, 100), tick("600002", 1, 200), tick("600001", 2, 101)])
    assert (first.rev, second.rev, third.rev) == (1001, 1002, 1003)
    row = it.rows["600001"]
    assert row.rev == 1003
    assert row.revs[field.CURRENT_PRICE] == row.revs[field.TIMESTAMP] == 1003
    assert row.revs[field.SOURCE] == 1001
    assert third.values == {field.CURRENT_PRICE: 101, field.TIMESTAMP: 2}


def test_a_tick_that_says_nothing_new_takes_no_revision():
    it = board()
    it.apply(SIM, [tick("600001", 1, 100)])
    assert it.apply(SIM, [tick("600001", 1, 100)]) == []
    assert it.rev == 1001
    (moved,) = it.apply(SIM, [tick("600001", 2, 100)])
    assert moved.values == {field.TIMESTAMP: 2}


def test_a_field_that_loses_its_value_is_told_with_a_revision_of_its_own():
    it = board()
    it.apply(SIM, [tick("600001", 1, 100, ask_price=101)])
    (change,) = it.apply(SIM, [tick("600001", 1, ask_price=None)])
    assert change.values == {field.ASK_PRICE: None}
    assert it.rows["600001"].revs[field.ASK_PRICE] == change.rev


def test_another_source_is_told_whole():
    it = board()
    it.apply(SIM, [tick("600001", 1, 100)])
    (change,) = it.apply(POLL, [tick("600001", 1, 100)])
    assert change.values == {
        field.SOURCE: "poll", field.MODE: "delayed", field.GRADE: "polled", field.PERIOD_MS: 5000,
    }  # fmt: skip


def test_put_takes_a_revision_only_where_something_changes():
    it = board()
    row = it.rows["600001"]
    change = it.put(row, {field.STATE: "halted", field.VOLUME: None})
    assert change is not None
    assert (change.rev, change.values) == (1001, {field.STATE: "halted"})
    assert it.put(row, {field.STATE: "halted"}) is None
    assert it.rev == 1001


def test_a_tick_makes_a_scrip_what_its_phase_says():
    it = board()
    it.rows["600001"].tick_state = "halted"
    it.apply(SIM, [tick("600001", 1, 100), tick("600002", 1, 100)])
    assert (shown(it.rows["600001"])["state"], shown(it.rows["600002"])["state"]) == ("halted", "live")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"current_price": 11_000}, (1000, 1000)),
        ({"current_price": 9_000}, (-1000, -1000)),
        ({"current_price": 10_000}, (0, 0)),
        ({"current_price": 11_000, "close_price": 10_500}, (500, 500)),
        ({"close_price": 10_500}, (500, 500)),
        ({}, (None, None)),
        ({"volume": 5}, (None, None)),
    ],
)
def test_change_is_the_close_or_else_the_last_price_against_the_previous_close(said, expected):
    it = board()
    it.apply(SIM, [tick("600001", 1, previous_close=10_000)])
    it.apply(SIM, [tick("600001", 2, **said)])
    row = it.rows["600001"]
    assert (row[field.CHANGE], row[field.PERCENT_CHANGE]) == expected


def test_change_goes_with_what_it_is_made_of():
    it = board()
    it.apply(SIM, [tick("600001", 1, 11_000, previous_close=10_000)])
    (change,) = it.apply(SIM, [tick("600001", 2, current_price=None)])
    assert change.values[field.CHANGE] is None
    assert change.values[field.PERCENT_CHANGE] is None
    (corrected,) = it.apply(SIM, [tick("600001", 3, 11_000)])
    assert corrected.values[field.CHANGE] == 1000
    (again,) = it.apply(SIM, [tick("600001", 4, previous_close=11_000)])
    assert again.values[field.CHANGE] == 0


def test_a_message_carries_everything_since_the_last_and_one_without_changes_takes_a_revision():
    it = board()
    changes = it.apply(SIM, [tick("600001", 1, 100), tick("600002", 1, 200)])
    first = it.seal(5, changes=changes, received=4)
    assert (first.from_rev, first.to_rev, first.published, first.received, first.token) == (1001, 1002, 5, 4, 7)
    empty = it.seal(6, facts={"market": "open"})
    assert (empty.from_rev, empty.to_rev) == (1003, 1003)
    assert it.facts["market"] == "open"
    assert it.position == (EPOCH, 1003)


def test_scrips_listed_within_the_epoch_are_remembered_with_their_revision_until_the_next():
    it = board()
    message = it.seal(1, instruments=[C, A])
    assert message.facts == it.facts == {LISTED: {"600003": 1001}}
    it.begin(NEXT, 0, 8)
    assert it.facts == {}


def test_a_new_epoch_stamps_every_row_and_field_anew_above_all_that_was_known():
    it = board()
    it.apply(SIM, [tick("600001", 1, 100)])
    it.begin(NEXT, 500, 8)
    assert it.position == (NEXT, 1002), "a first revision below the known ones gives way"
    row = it.rows["600001"]
    assert row.rev == row.revs[field.CURRENT_PRICE] == 1002
    assert row.revs[field.VOLUME] == 0
    assert it.rows["600002"].rev == 0
    it.begin(EPOCH, 9000, 9)
    assert it.rev == 9000


def test_a_day_roll_empties_the_day_and_keeps_the_rest():
    it = board()
    it.apply(SIM, [tick("600001", 1, 100, open=90, volume=5, previous_close=95, year_high=200, bids=((99, 1, 1),))])
    it.begin(NEXT, 2000, 8)
    it.roll(lambda row: {field.PREVIOUS_CLOSE: 101} if row.symbol == "600001" else {})
    assert shown(it.rows["600001"]) == {
        "previous_close": 101, "year_high": 200, "source": "sim", "mode": "sim", "grade": "tick", "period_ms": 0,
        "timestamp": 1, "state": "live",
    }  # fmt: skip
    assert it.rows["600001"].rev == it.rev == 2000
    assert it.rows["600002"].rev == 0


def test_a_redefined_scrip_has_its_prices_in_the_new_scale_and_none_that_does_not_fit():
    it = board()
    it.apply(SIM, [tick("600001", 1, 100, volume=100, bids=((99, 1, 2),))])
    it.add([Instrument(symbol="600001", id="S1", name="EXAMPLE LTD.", kind="DB", scale=4)])
    assert it.rows["600001"][field.CURRENT_PRICE] == 10_000
    assert it.rows["600001"][field.VOLUME] == 100
    assert it.rows["600001"][field.BIDS] == ((9_900, 1, 2),)
    it.apply(SIM, [tick("600001", 2, 10_001)])
    it.add([A])
    assert it.rows["600001"][field.CURRENT_PRICE] is None
    assert len(it.order) == 2


# -- replicas -------------------------------------------------------------------------------------------------------------


def test_a_replica_takes_only_the_next_message_of_its_epoch():
    it, replica = board(), Board()
    replica.load(it.snapshot(0))
    first, second = (it.seal(1, changes=it.apply(SIM, [tick("600001", n, n)])) for n in (1, 2))
    with pytest.raises(BusHole):
        replica.follow(second)
    assert [replica.order[slot].symbol for slot in replica.follow(first)] == ["600001"]
    with pytest.raises(BusHole):
        replica.follow(first)
    replica.follow(second)
    it.begin(NEXT, 0, 8)
    with pytest.raises(BusHole):
        replica.follow(it.seal(3))
    assert replica.position == (EPOCH, 1002)


@pytest.mark.parametrize(
    "changes", [[("999999", 1001, {})], [("600001", 1001, {field.COUNT: 1})], [("600001", 1001)]], ids=str
)
@pytest.mark.parametrize("instruments", [[], [C]], ids=["", "with a new scrip"])
def test_a_message_that_speaks_of_what_there_is_not_is_refused_whole(changes, instruments):
    it, replica = board(), Board()
    replica.load(it.snapshot(0))
    before = picture(replica)
    good = Change("600002", 1001, {field.CURRENT_PRICE: 5})
    said = Message(epoch=EPOCH, token=7, from_rev=1001, to_rev=1002, published=1, instruments=instruments)
    encoded = msgspec.msgpack.encode(msgspec.structs.replace(said, changes=[good, *changes]))
    for read in (decode, hear):
        with pytest.raises(BadRecord):
            replica.follow(read(encoded))
        assert picture(replica) == before


def test_catching_up_returns_what_changed_and_keeps_the_slots():
    it, replica = board(A, B), Board()
    replica.load(it.snapshot(0))
    slots = {row.symbol: row for row in replica.order}
    it.seal(1, changes=it.apply(SIM, [tick("600002", 1, 200)]), facts={"x": 1})
    it.seal(2, instruments=[C])
    changed = replica.catch_up(it.snapshot(2))
    assert [it.order[slot].symbol for slot in changed] == ["600002"]
    assert picture(replica) == picture(it)
    assert all(slots[symbol] is replica.rows[symbol] for symbol in slots)
    assert replica.catch_up(it.snapshot(2)) == []


def test_catching_up_with_an_older_snapshot_changes_nothing():
    it, replica = board(), Board()
    older = it.snapshot(0)
    it.seal(1, changes=it.apply(SIM, [tick("600001", 1, 100)]))
    replica.load(it.snapshot(1))
    assert replica.catch_up(older) == []
    assert picture(replica) == picture(it)


def test_a_replica_that_caught_up_follows_the_next_message():
    it, replica = board(), Board()
    replica.load(it.snapshot(0))
    it.seal(1, changes=it.apply(SIM, [tick("600001", 1, 100)]))
    replica.catch_up(it.snapshot(1))
    replica.follow(it.seal(2, changes=it.apply(SIM, [tick("600001", 2, 101)])))
    assert picture(replica) == picture(it)


def test_loading_forgets_what_was_there_before():
    it, other = board(A), board(B, C)
    other.apply(SIM, [tick("600002", 1, 5)])
    other.facts["old"] = 1
    other.load(it.snapshot(0))
    assert picture(other) == picture(it)
    assert list(other.rows) == ["600001"]


def test_a_row_of_an_older_format_has_the_newer_fields_empty():
    row = Board().add([A])[0]
    row.take(RowImage("600001", 9, [100, 5], [9, 8]))
    assert (row.rev, list(row)[:3], len(row), len(row.revs)) == (9, [100, 5, None], field.COUNT, field.COUNT)


# -- whatever is said -------------------------------------------------------------------------------------------------------

PRICES = st.none() | st.integers(1, 50)
LADDERS = st.none() | st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 3)), max_size=5).map(
    tuple
)
VALUES = st.fixed_dictionaries(
    {},
    optional={
        field.CURRENT_PRICE: PRICES,
        field.PREVIOUS_CLOSE: PRICES,
        field.CLOSE_PRICE: PRICES,
        field.VOLUME: PRICES,
        field.ASK_PRICE: PRICES,
        field.BIDS: LADDERS,
    },
)
SYMBOLS = st.sampled_from(["600001", "600002", "600003"])
TICKS = st.lists(st.builds(Tick, SYMBOLS, st.integers(1, 4), VALUES), max_size=4)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ticks"), st.sampled_from([SIM, POLL]), TICKS),
        st.tuples(st.just("put"), SYMBOLS, st.sampled_from(["live", "quiet", "stale"])),
        st.tuples(st.just("fact"), st.sampled_from("ab"), st.integers(0, 2)),
        st.tuples(st.just("list"), st.integers(4, 6), st.none()),
    ),
    max_size=25,
)


def step(writer: Board, what: str, one: Any, two: Any) -> dict[str, Any]:
    """Let the writer do something; return what its message carries."""
    if what == "ticks":
        return {"changes": writer.apply(one, two)}
    if what == "put":
        change = writer.put(writer.rows[one], {field.STATE: two})
        return {"changes": [change] if change else []}
    if what == "fact":
        return {"facts": {one: two}}
    return {"instruments": [Instrument(symbol=f"60000{one}", id=f"S{one}", name="NEW LTD.")]}


@settings(max_examples=80)
@given(STEPS, st.integers(0, 25))
def test_replicas_from_any_beginning_and_the_fold_equal_the_writer(steps, late):
    writer = board(A, B, C)
    early, joined, caught = Board(), Board(), Board()
    begun = writer.snapshot(0)
    early.load(begun)
    caught.load(begun)
    messages = []
    for number, each in enumerate(steps):
        if number == late:
            joined.load(writer.snapshot(number))
        message = writer.seal(number, **step(writer, *each))
        messages.append(message)
        early.follow(message)
        if joined.epoch:
            joined.follow(message)
        if number % 3 == 0:
            caught.catch_up(writer.snapshot(number))
    caught.catch_up(writer.snapshot(99))
    expected = picture(writer)
    assert picture(early) == expected
    assert picture(caught) == expected
    assert not joined.epoch or picture(joined) == expected
    assert pictured(fold(begun, messages)) == expected
    assert pictured(writer.snapshot(0)) == expected


@given(
    known=st.sampled_from([A, B]),
    other=st.fixed_dictionaries(
        {}, optional={"scale": st.just(4), "group": st.just("Z"), "name": st.just("OTHER"), "status": st.just("S")}
    ),
    more=st.booleans(),
)
def test_writer_replica_and_fold_refuse_alike_to_redefine_a_scrip_within_an_epoch(known, other, more):
    writer = board(A, B)
    begun = writer.snapshot(0)
    replica, folding = Board(), Folding(begun)
    replica.load(begun)
    again = msgspec.structs.replace(known, **other)
    said = [C, again] if more else [again]
    rev = writer.rev + 1
    if again == known:
        message = writer.seal(1, instruments=said)
        replica.follow(message)
        folding.apply(message)
    else:
        message = Message(epoch=EPOCH, token=7, from_rev=rev, to_rev=rev, published=1, instruments=said)
        for way in (
            lambda: writer.seal(1, instruments=said),
            lambda: replica.follow(message),
            lambda: folding.apply(message),
        ):
            with pytest.raises(BadRecord, match=known.symbol):
                way()
    states = [pictured(each.snapshot(0)) for each in (writer, replica)]
    assert states[0] == states[1] == pictured(folding.snapshot())
    assert (states[0] == pictured(begun)) == (again != known)
