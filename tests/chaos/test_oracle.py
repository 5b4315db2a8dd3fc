"""What would be said of a system that lies: each invariant is broken once, and someone must object."""

from typing import Any

import pytest

from bhavcast.domain import field
from bhavcast.reference import builtin
from tests.chaos.faults import lose_unsynced
from tests.chaos.oracle import Oracle
from tests.chaos.ticks import AT_ONCE, Ticks

STEP = 52_000_001  # not one of those that take the offers away
NEWEST = STEP + 10


@pytest.fixture(scope="module")
def ticks() -> Ticks:
    return Ticks(builtin.universe(40, 1))


def quote(ticks: Ticks, step: int = STEP, **changes: Any) -> dict[str, Any]:
    """Show a tick as a client would hold it."""
    symbol = next(iter(ticks.of(step)))
    told = dict(ticks.told(symbol, step))
    depth = {side: told.pop(side) for side in ("bids", "asks")}
    shown = {"symbol": symbol, "rev": 7, **told, "depth": depth} | changes
    return {name: value for name, value in shown.items() if value is not None}


def objection(ticks: Ticks, held: dict[str, Any]) -> str:
    return ticks.objection(held["symbol"], held, 5, NEWEST) or ""


def test_a_true_quote_meets_no_objection_in_any_shape(ticks):
    held = quote(ticks)
    assert objection(ticks, held) == ""
    assert objection(ticks, {"symbol": held["symbol"], "rev": 7}) == ""
    less = {name: held[name] for name in ("symbol", "volume", "current_price")}
    assert ticks.objection(held["symbol"], less, 0, NEWEST) is None
    without_offers = quote(ticks, STEP - STEP % 5, depth={"bids": quote(ticks, STEP - STEP % 5)["depth"]["bids"]})
    assert "ask_price" not in without_offers
    assert objection(ticks, without_offers) == ""


def test_every_scrip_is_spoken_of_in_turn(ticks):
    steps = range(STEP, STEP + len(ticks.symbols) // AT_ONCE)
    assert {symbol for step in steps for symbol in ticks.of(step)} == set(ticks.symbols)
    for step in steps:
        assert {symbol for symbol in ticks.symbols if ticks.spoke_of(symbol, step)} == ticks.of(step).keys()
        assert all(values[field.VOLUME] == step for values in ticks.of(step).values())


def test_a_price_that_the_feed_did_not_say_is_objected_to(ticks):
    assert "current_price" in objection(ticks, quote(ticks, current_price=quote(ticks)["current_price"] + 0.05))
    assert "never spoke" in objection(ticks, quote(ticks, volume=NEWEST + 1))
    assert "never spoke" in objection(ticks, quote(ticks, volume=STEP + 1))


def test_a_field_that_ticks_seldom_carry_is_of_one_that_did(ticks):
    held = quote(ticks)
    turn = len(ticks.symbols) // AT_ONCE
    seldom = next(at for at in range(STEP, STEP - 100, -turn) if ticks.is_seldom(held["symbol"], at))
    assert objection(ticks, {**held, "total_bid_quantity": seldom}) == ""
    assert "never said" in objection(ticks, {**held, "total_bid_quantity": seldom - turn})


def test_a_quote_of_two_ticks_is_objected_to(ticks):
    later = STEP + len(ticks.symbols) // AT_ONCE
    assert "bid_quantity" in objection(ticks, quote(ticks, bid_quantity=quote(ticks, later)["bid_quantity"] + 1))
    assert "asks" in objection(ticks, quote(ticks, depth={"bids": quote(ticks)["depth"]["bids"]}))
    gone = quote(ticks, STEP - STEP % 5, ask_price=1.0)
    assert "ask_price" in objection(ticks, gone), "what was taken away must be gone"


def test_two_who_saw_the_same_revision_must_have_seen_the_same():
    oracle = Oracle()
    oracle.saw("one", "e", {"symbol": "500325", "rev": 7, "current_price": 1.0, "volume": 3}, "quote", 0)
    oracle.saw("two", "e", {"symbol": "500325", "rev": 7, "current_price": 1.0}, "ltp", 0)
    oracle.saw("one", "e", {"symbol": "500325", "rev": 8, "current_price": 2.0, "volume": 3}, "quote", 0)
    assert oracle.violations == []
    oracle.saw("two", "e", {"symbol": "500325", "rev": 7, "current_price": 1.5}, "ltp", 0)
    assert "current_price 1.5" in oracle.violations.pop()
    oracle.saw("two", "e", {"symbol": "500325", "rev": 8, "current_price": 2.0}, "quote", 0)
    assert "['volume'] more or less" in oracle.violations.pop()


def test_at_rest_whoever_holds_other_than_the_board_is_named():
    oracle, board = Oracle(), {"symbol": "500325", "rev": 7, "current_price": 1.0}
    oracle.at_rest("one", dict(board), board, None)
    assert oracle.violations == []
    oracle.at_rest("one", None, board, None)
    assert "holds nothing of 500325" in oracle.violations.pop()
    oracle.at_rest("one", {**board, "ask_price": 2.0}, board, None)
    assert "'ask_price': (2.0, None)" in oracle.violations.pop()


def test_a_power_cut_takes_what_was_not_synced(tmp_path):
    (tmp_path / "synced").write_text("a.journal 3\na.journal 6\n")
    journal = tmp_path / "a.journal"
    for kept, left in ((0.0, b"synced"), (0.5, b"syncedno"), (1.0, b"syncednope")):
        journal.write_bytes(b"syncednope")
        lose_unsynced(tmp_path / "synced", tmp_path, kept)
        assert journal.read_bytes() == left
    lose_unsynced(tmp_path / "nothing", tmp_path, 0.0)
