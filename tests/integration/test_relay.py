"""From the bus to an audience, where the bus says what no bus should."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from bhavcast.board.board import Board
from bhavcast.bus.memory import MemoryBus
from bhavcast.bus.port import Claim, Link
from bhavcast.domain import field
from bhavcast.domain.change import Change, Message, encode, hear
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.position import Position
from bhavcast.flow import relay

EPOCH = "20261123T0345Z-9f1c03ab77de5a20"
SCRIP = Instrument(symbol="500325", id="RELIANCE", name="RELIANCE")


class Stray(MemoryBus):
    """A bus of whose messages the first is damaged on its way."""

    def __init__(self) -> None:
        super().__init__()
        self.damaged = 0

    async def follow(self, after: Position) -> AsyncIterator[Message]:
        async for message in super().follow(after):
            if self.damaged:
                yield message
            else:
                self.damaged += 1
                stranger = Change("999999", message.to_rev, {})
                yield hear(encode(msgspec.structs.replace(message, changes=[stranger])))


class Audience:
    """Waits for a price."""

    def __init__(self) -> None:
        self.board = Board()
        self.news = asyncio.Event()

    def restart(self, *, planned: bool) -> None:
        self.news.set()

    def hear(self, slots: list[int], message: Message | None) -> None:
        self.news.set()

    def linked(self, link: Link) -> None: ...

    def interest(self) -> frozenset[str]:
        return frozenset()

    async def reaches(self, position: Position) -> None:
        async with asyncio.timeout(20):
            while self.board.position != position:
                self.news.clear()
                await self.news.wait()


async def test_after_a_damaged_message_the_snapshot_is_taken_and_what_follows_is_heard():
    bus, writer, audience = Stray(), Board(), Audience()
    lead = await bus.lead(Claim("one"))
    writer.add([SCRIP])
    writer.begin(EPOCH, 1000, lead.token)
    await bus.begin(writer.snapshot(0))
    following = asyncio.create_task(relay(bus, audience.board, audience))
    await audience.reaches(writer.position)
    for price in (150_000, 150_005):
        change = writer.put(writer.order[0], {field.CURRENT_PRICE: price})
        assert isinstance(change, Change)
        message = writer.seal(1, changes=[change])
        await bus.publish(message, encode(message))
        await audience.reaches(writer.position)
    assert bus.damaged == 1
    assert audience.board.rows["500325"].image() == writer.rows["500325"].image()
    await bus.close()
    await following


class Confused(Audience):
    def interest(self) -> frozenset[str]:
        raise IndexError("a slot of another board")


async def test_what_fails_beside_the_following_is_not_passed_over():
    bus, writer, audience = MemoryBus(), Board(), Confused()
    lead = await bus.lead(Claim("one"))
    writer.begin(EPOCH, 1000, lead.token)
    await bus.begin(writer.snapshot(0))
    with pytest.raises(IndexError):
        await relay(bus, audience.board, audience)
