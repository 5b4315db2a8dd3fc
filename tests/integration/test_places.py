"""Connections are places: how many there are, and how many of them one address may have."""

import contextlib

import pytest

from bhavcast.access.doorkeeper import Doorkeeper
from bhavcast.access.keyring import Keyring
from bhavcast.app.config import Limits
from tests.docs.stage import Still
from tests.integration.test_hostile_clients import COLD, HOT, opened
from tests.integration.test_serving_stream import ear
from tests.integration.venue import HANDSHAKE, Line, Venue
from tests.waiting import until


@pytest.mark.parametrize("hot_path", [True, False], ids=["hot", "cold"])
async def test_connections_beyond_the_limit_are_sent_away_and_those_within_are_served(hot_path):
    async with Venue(limits=Limits(sockets=3), hot_path=hot_path) as small, ear(small) as quick, small.line() as line:
        await opened(quick)
        assert (await line.ask(HOT)).status == 200
        connections = small.server._server.server_state.connections
        async with small.line() as third:
            await until(lambda: len(connections) == 3)
            for _ in range(20):
                async with small.line() as refused:
                    (await refused.answer()).refused(503, "too_many_connections")
                    assert await refused.ended() == b""
            await small.price("500325", 193_300)
            assert (await quick.wait("u"))["q"][0]["current_price"] == 1933.0
            assert (await line.ask(HOT)).status == (await third.ask(COLD)).status == 200
        await until(lambda: len(connections) == 2)
        assert (await small.ask(COLD)).status == 200


@pytest.mark.parametrize("hot_path", [True, False], ids=["hot", "cold"])
async def test_one_address_has_half_of_the_connections_and_the_others_find_the_rest(hot_path):
    house = "198.51.100.7"
    keeper = Doorkeeper(Keyring(), Still())
    keeper.house_of = lambda _: house  # type: ignore[method-assign,assignment]  # on loopback nobody is counted
    async with (
        Venue(limits=Limits(sockets=8), keeper=keeper, hot_path=hot_path) as small,
        contextlib.AsyncExitStack() as stack,
    ):

        async def come() -> Line:
            before = len(connections)
            line = await stack.enter_async_context(small.line())
            await until(lambda: len(connections) > before)
            return line

        connections = small.server._server.server_state.connections
        houses = small.server._server.config.http_protocol_class.houses  # type: ignore[attr-defined]  # of our own class
        lines = [await come() for _ in range(4)]
        assert (await lines[0].ask(HOT)).status == (await lines[1].ask(COLD)).status == 200  # and stay, idle
        for _ in range(20):
            async with small.line() as refused:
                (await refused.answer()).refused(503, "too_many_connections")
                assert await refused.ended() == b""
        await until(lambda: len(connections) == 4)
        house = "198.51.100.8"
        assert (await (await come()).ask(COLD)).status == 200
        house = "198.51.100.7"
        assert len(houses) == 2
        await lines[2].send(HANDSHAKE)
        assert (await lines[2].head()).status == 101
        assert (await (await come()).ask(COLD)).status == 200, "a WebSocket has given its place back"
        async with small.line() as refused:
            (await refused.answer()).refused(503, "too_many_connections")
        lines[3].writer.close()
        await until(lambda: len(connections) == 5)
        assert (await (await come()).ask(HOT)).status == 200, "and so has who left"
        await stack.aclose()
        await until(lambda: not connections)
        assert len(houses) == 0
