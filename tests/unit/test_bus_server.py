"""One end's connection to Redis: a call is done once, and can be left."""

import asyncio

import pytest
from redis.exceptions import ConnectionError as Disconnected

from bhavcast.bus.address import Address
from bhavcast.bus.server import Server


@pytest.fixture
def server() -> Server:
    return Server(Address.parse("unix:///nowhere"), "key")


async def test_a_cancellation_that_the_library_swallows_is_not_lost(server):
    async def swallows(_: object) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "an answer that came at the same moment"
        raise AssertionError("nobody sets it")

    call = asyncio.create_task(server.call(swallows))
    while server.connects == 0:  # noqa: ASYNC110 - a counter has no events
        await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_nor_is_one_that_meets_a_failure(server):
    async def fails(_: object) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise Disconnected("at the same moment") from None

    call = asyncio.create_task(server.call(fails))
    while server.connects == 0:  # noqa: ASYNC110 - a counter has no events
        await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_whoever_was_cancelled_before_may_still_call_while_it_tidies_up(server):
    async def answers(_: object) -> str:
        return "an answer"

    async def works() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return await server.call(answers)
        raise AssertionError("nobody sets it")

    work = asyncio.create_task(works())
    await asyncio.sleep(0)
    work.cancel()
    assert await work == "an answer"
