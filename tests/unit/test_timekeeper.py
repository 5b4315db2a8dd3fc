"""The market time of a gateway in a process of its own: what it hears, also of a market that began anew."""

from collections.abc import Callable

import pytest

from bhavcast.board.board import Board
from bhavcast.bus.port import Link
from bhavcast.domain.change import Message
from bhavcast.domain.field import LAST_TRADE_TIME, STATE
from bhavcast.domain.instrument import CANARY_SYMBOL, Instrument
from bhavcast.gateway.timekeeper import Timekeeper
from bhavcast.telemetry.clock import ManualClock, MarketClock

ELEVEN = 1_795_757_400_000
CLOCK = {"virtual": True, "speed": 1.0}


class Nobody:
    """An audience that wants nothing."""

    def restart(self, *, planned: bool) -> None: ...
    def hear(self, slots: list[int], message: Message | None) -> None: ...
    def linked(self, link: Link) -> None: ...
    def interest(self) -> frozenset[str]:
        return frozenset()


@pytest.fixture
def market() -> MarketClock:
    return MarketClock(ManualClock())


@pytest.fixture
def epoch(market) -> Callable[[int, int | None], Timekeeper]:
    """Return what begins an epoch, whose canary has beaten at a time or not yet, for a gateway that keeps `market`."""
    replica = Board()
    keeper = Timekeeper(Nobody(), replica, market)

    def begin(number: int, beat: int | None) -> Timekeeper:
        writer = Board()
        writer.add([Instrument(symbol=CANARY_SYMBOL, id="CANARY", name="canary")])
        writer.begin(f"20261123T0345Z-{number:016x}", number * 1000, 1)
        writer.put(writer.rows[CANARY_SYMBOL], {STATE: "live", LAST_TRADE_TIME: beat})
        writer.facts["clock"] = CLOCK
        replica.load(writer.snapshot(0))
        keeper.restart(planned=True)
        return keeper

    return begin


def said(at: int) -> Message:
    return Message(epoch="", token=1, from_rev=1, to_rev=1, published=at)


def test_an_epoch_that_begins_earlier_sets_the_time_back(epoch, market):
    epoch(1, ELEVEN)
    epoch(2, ELEVEN - 60_000)
    assert market.now_ms() == ELEVEN - 60_000


def test_where_its_first_board_tells_no_time_the_next_message_sets_it_back(epoch, market):
    epoch(1, ELEVEN)
    keeper = epoch(2, None)
    keeper.hear([], said(ELEVEN - 60_000))
    assert market.now_ms() == ELEVEN - 60_000


def test_within_an_epoch_a_message_that_was_late_sets_nothing_back(epoch, market):
    keeper = epoch(1, ELEVEN)
    keeper.hear([], said(ELEVEN + 500))
    keeper.hear([], said(ELEVEN + 200))
    assert market.now_ms() == ELEVEN + 500
