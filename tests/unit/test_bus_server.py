"""One end's connection to Redis: a call is done once, and can be left."""

import asyncio

import pytest
from redis.exceptions import ConnectionError as Disconnected

from bhavcast.bus.address import Address
from bhavcast.bus.server import Server
from tests.waiting import until


@pytest.fixture
def server() -> Server:
    return Server(Address.parse("unix:///nowhere"), "key")


def answer() -> str:
    return "an answer that came at the same moment"


def failure() -> str:
    raise Disconnected("at the same moment")


@pytest.mark.parametrize("end", [answer, failure])
async def test_a_cancellation_that_the_library_swallows_is_not_lost(server, end):
    async def swallows(_: object) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return end()
        raise AssertionError("nobody sets it")

    call = asyncio.create_task(server.call(swallows))
    await until(lambda: server.connects)
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
