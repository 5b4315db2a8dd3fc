"""What a gateway shows while it does not hear the bus."""

import asyncio

import pytest

from bhavcast.app.config import Limits
from bhavcast.app.roles.gateway import writer_speaks
from bhavcast.board.board import Board
from bhavcast.domain import field
from bhavcast.domain.instrument import Instrument
from bhavcast.gateway import market, quotes
from bhavcast.gateway.gateway import DEAF_S, Gateway
from bhavcast.gateway.session import Session
from bhavcast.telemetry.clock import ManualClock, MarketClock
from tests.integration.venue import Venue
from tests.stream_world import Wire

LIVE, HALTED = "500325", "532540"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def gateway(clock) -> Gateway:
    writer = Board()
    kinds = {LIVE: "live", HALTED: "halted", "IDX:TOP": "quiet"}
    writer.add(
        Instrument(symbol=symbol, id=symbol, name=symbol, kind="IDX" if symbol.startswith("IDX") else "EQ")
        for symbol in kinds
    )
    writer.begin("20261123T0345Z-0000000000000001", 1, 1)
    for symbol, state in kinds.items():
        writer.put(writer.rows[symbol], {field.STATE: state, field.TIMESTAMP: 1, field.CURRENT_PRICE: 1})
    made = Gateway(replica=Board(), clock=clock, market=MarketClock(clock), limits=Limits(), later=lambda *_: None)
    made.replica.load(writer.snapshot(1))
    made.restart(planned=True)
    return made


def shown(gateway: Gateway, symbol: str) -> bytes:
    return quotes.stock(gateway, symbol, "", None).body


def test_full_quotes_do_not_claim_to_be_up_to_date_while_the_bus_is_not_heard(gateway):
    assert b'"state":"live"' in shown(gateway, LIVE)
    gateway.linked("degraded")
    assert b'"state":"stale"' in shown(gateway, LIVE)
    assert b'"state":"halted"' in shown(gateway, HALTED), "what is known to stand still, stands still"
    assert b'"state":"stale"' in quotes.batch(gateway, f"symbols={LIVE}").body
    assert market.indices(gateway)[0]["state"] == "stale"
    gateway.linked("ok")
    assert b'"state":"live"' in shown(gateway, LIVE)


def test_what_is_new_since_a_position_keeps_the_boards_state_and_says_how_the_link_is(gateway):
    gateway.linked("degraded")
    told = quotes.batch(gateway, f"symbols={LIVE}&since={gateway.replica.epoch}:1").body
    assert b'"link":"degraded"' in told
    assert b'"state":"live"' in told


def test_an_etag_is_of_the_link_too_and_ready_answers_are_made_anew(gateway):
    before, generation = quotes.stock(gateway, LIVE, "", None).etag, gateway.generation
    gateway.linked("degraded")
    assert quotes.stock(gateway, LIVE, "", before).status == 200
    assert gateway.generation > generation
    gateway.linked("degraded")
    assert gateway.generation == generation + 1, "once"


@pytest.mark.parametrize(("link", "ready"), [("degraded", True), ("deaf", False)])
def test_only_a_deaf_gateway_is_not_ready_and_not_at_once(gateway, clock, link, ready):
    gateway.linked(link)
    assert gateway.ready
    clock.advance(DEAF_S)
    assert gateway.ready is ready
    gateway.linked("ok")
    assert gateway.ready


def test_what_streams_follow_by_name_is_of_interest(gateway):
    first, second = (Session(gateway, Wire("json", number), binary=False) for number in range(2))
    assert gateway.interest() == frozenset()
    first.receive(b'{"t":"sub","id":1,"symbols":["500325"]}')
    second.receive(b'{"t":"sub","id":1,"symbols":["500325","IDX:TOP"],"hz":1}')
    assert gateway.interest() == {LIVE, "IDX:TOP"}
    second.close()
    assert gateway.interest() == {LIVE}


async def test_a_gateway_is_up_when_the_writer_has_spoken_not_when_there_is_a_board_of_before():
    async with Venue() as venue:
        up = asyncio.create_task(writer_speaks(venue.gateway))
        await venue.read("/api/stock/500325")
        assert not up.done(), "what it has may be of a market that a start is about to end"
        await venue.tick("500325", {field.VOLUME: 1234})
        await asyncio.wait_for(up, 4)  # and not for want of one
