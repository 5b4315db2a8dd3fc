"""What a gateway says of itself when it is up."""

import asyncio

import pytest

from bhavcast.app.config import Limits
from bhavcast.app.servers import summary
from bhavcast.board.board import Board
from bhavcast.domain import field
from bhavcast.domain.instrument import Instrument
from bhavcast.gateway.gateway import Gateway
from bhavcast.telemetry.clock import MarketClock, SystemClock


@pytest.fixture
def gateway() -> Gateway:
    clock = SystemClock()
    writer = Board()
    writer.add([Instrument(symbol="500325", id="RELIANCE", name="RELIANCE")])
    writer.begin("20261123T0345Z-0000000000000001", 1, 1)
    writer.put(writer.rows["500325"], {field.STATE: "live", field.TIMESTAMP: 1, field.CURRENT_PRICE: 1})
    made = Gateway(replica=Board(), clock=clock, market=MarketClock(clock), limits=Limits(), later=lambda *_: None)
    made.replica.load(writer.snapshot(1))
    made.restart(planned=True)
    return made


async def test_it_waits_for_the_source_of_an_epoch_whose_rows_are_there_already(gateway):
    telling = asyncio.create_task(summary(gateway))
    await asyncio.sleep(0)
    gateway.replica.facts["feeds"] = {"sim": {"state": "live", "mode": "sim"}}
    assert await telling == "1 scrips and indices from sim"
