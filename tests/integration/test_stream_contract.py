"""What a stream does besides quotes: keys as messages, limits, stamps, statuses, overload, and readers that know more."""

import asyncio
import socket
from typing import Any

import msgspec
import pytest

from bhavcast.access.allowance import Allowance
from bhavcast.access.doorkeeper import Doorkeeper
from bhavcast.access.keyring import Keyring
from bhavcast.app.config import Limits
from bhavcast.domain import field
from bhavcast.domain.access import Key, digest
from bhavcast.domain.instrument import CANARY_SYMBOL
from bhavcast.domain.tick import Tick
from bhavcast.gateway.doorstep import AUTH_WITHIN_S
from bhavcast.gateway.gateway import BURST_S
from bhavcast.gateway.session import AHEAD_WAIT_S, FLAWS
from tests.docs.stage import EPOCH, NEXT_EPOCH, NOW, PATIENCE_S, SIM, Still
from tests.integration.test_serving_stream import BOTH, KEY, ear
from tests.integration.venue import Venue, request
from tests.waiting import until

pytestmark = pytest.mark.slow

GOOD, OLD = "bhk_good", "bhk_old"


def guarded(allowance: Allowance | None = None) -> tuple[Keyring, Doorkeeper]:
    keyring = Keyring(
        Key(id=text, name=text, role="viewer", sha256=digest(text), created=0, revoked=revoked)
        for text, revoked in ((GOOD, None), (OLD, 1))
    )
    return keyring, Doorkeeper(keyring, Still(), allowance=allowance)


# -- keys -----------------------------------------------------------------------------------------------------------------


@BOTH
async def test_who_came_without_a_key_shows_it_as_a_message_and_is_served(binary: bool):
    keyring, keeper = guarded()
    async with Venue(keeper=keeper) as venue, ear(venue, binary=binary) as talk:
        hello = await talk.next()
        assert (hello["t"], hello["auth"], hello["market"], hello["feeds"]) == ("hello", "required", {}, {})
        await venue.fact("market", {"status": "closed"})
        await venue.begin(NEXT_EPOCH)
        await venue.price("500325", 153300)  # nothing of all that is for a stranger
        [stranger] = venue.gateway.members
        stranger.beat(asyncio.get_running_loop().time() + AUTH_WITHIN_S / 2)
        await talk.say({"t": "auth", "id": 1, "key": GOOD})
        await talk.say({"t": "sub", "id": 2, "symbols": ["500325"], "hz": 0})
        ack = await talk.next()
        assert (ack["t"], ack["id"], ack["active"]) == ("ack", 1, 0)
        assert [(await talk.next())["t"] for _ in range(2)] == ["market", "feed"]
        await talk.wait("sync")
        await venue.price("500325", 153400)
        assert (await talk.wait("u"))["q"][0]["current_price"] == 1534.0
        await talk.say({"t": "auth", "id": 3, "key": GOOD})
        assert (await talk.wait("error"))["id"] == 3  # once is enough
        keyring.replace([])
        [member] = venue.gateway.members
        member.beat(asyncio.get_running_loop().time())
        assert (await talk.end())[0] == 4500
        await until(lambda: not venue.gateway.members)


@pytest.mark.parametrize(
    ("said", "code", "close"),
    [
        ({"t": "auth", "id": 1, "key": "bhk_wrong"}, "unauthenticated", 4500),
        ({"t": "auth", "id": 1, "key": OLD}, "key_expired", 4500),
        ({"t": "auth", "id": 1, "key": "k" * 60_000}, "unauthenticated", 4500),
        ({"t": "auth", "id": 1, "key": ""}, "unauthenticated", 4500),
        ({"t": "auth", "id": 1, "key": 7}, "bad_request", 4503),
        ({"t": "auth", "id": 1}, "bad_request", 4503),
        ("ключ", "bad_request", 4503),
        ({"t": "sub", "id": 1, "symbols": ["500325"]}, "forbidden", 4501),
        ({"t": "list", "id": 1}, "forbidden", 4501),
    ],
)
async def test_whoever_shows_no_good_key_first_has_to_go(said: Any, code: str, close: int):
    async with Venue(keeper=guarded()[1]) as venue, ear(venue) as talk:
        await talk.say(said)
        error = await talk.wait("error")
        assert (error["code"], error["temporary"]) == (code, False)
        assert (await talk.end())[0] == close
        assert talk.held == {}
        await until(lambda: not venue.gateway.members)


async def test_ten_seconds_without_a_key_are_enough():
    async with Venue(keeper=guarded()[1]) as venue, ear(venue) as talk:
        await talk.wait("hello")
        [stranger] = venue.gateway.members
        stranger.beat(asyncio.get_running_loop().time() + AUTH_WITHIN_S + 0.1)
        assert (await talk.wait("error"))["code"] == "bad_auth"
        assert (await talk.end())[0] == 4500


async def test_who_tries_keys_has_to_wait():
    async with Venue(keeper=guarded(Allowance(failures_per_minute=2))[1]) as venue:
        closed = []
        for _ in range(3):
            async with ear(venue) as talk:
                await talk.say({"t": "auth", "id": 1, "key": "bhk_wrong"})
                closed.append((await talk.end())[0])
        assert closed == [4500, 4500, 4013]


async def test_a_key_has_no_more_streams_than_it_may_and_leaves_none_behind():
    async with Venue(keeper=guarded(Allowance(streams_per_key=1))[1]) as venue:
        async with ear(venue) as first, ear(venue) as second:
            await first.say({"t": "auth", "id": 1, "key": GOOD})
            await first.wait("ack")
            await second.say({"t": "auth", "id": 1, "key": GOOD})
            assert (await second.wait("error"))["code"] == "too_many_streams"
            assert (await second.end())[0] == 4013
        await until(lambda: not venue.gateway.members)
        async with ear(venue) as again:
            await again.say({"t": "auth", "id": 1, "key": GOOD})
            await again.wait("ack")


async def test_a_stranger_is_drained_like_everyone():
    async with Venue(keeper=guarded()[1]) as venue, ear(venue) as talk:
        await talk.wait("hello")
        await venue.server.stop()
        assert (await talk.wait("error"))["retry_ms"] > 0
        assert (await talk.end())[0] == 4001


# -- limits ---------------------------------------------------------------------------------------------------------------


async def test_too_many_messages_end_the_connection():
    async with Venue(limits=Limits(messages_per_second=2)) as venue, ear(venue) as talk:
        now = venue.clock.monotonic()
        venue.clock.monotonic = lambda: now
        for number in range(2 * BURST_S + 1):
            await talk.say({"t": "list", "id": number})
        for number in range(2 * BURST_S):
            assert (await talk.wait("list"))["id"] == number
        error = await talk.wait("error")
        assert (error["code"], error["temporary"]) == ("too_many_requests", True)
        assert error["retry_ms"] > 0
        assert (await talk.end())[0] == 4013
        await until(lambda: not venue.gateway.members)


async def test_who_asks_for_too_much_again_and_again_is_closed_for_that():
    async with Venue(limits=Limits(symbols=1)) as venue, ear(venue) as talk:
        for number in range(FLAWS):
            await talk.say({"t": "sub", "id": number, "symbols": ["500325", "532540"]})
            assert (await talk.wait("error"))["code"] == "too_many_symbols"
        assert (await talk.end())[0] == 4504


async def test_a_group_that_outgrows_the_connection_ends_it():
    async with Venue(limits=Limits(symbols=4)) as venue, ear(venue) as talk:
        assert (await talk.sub("group:A"))["active"] == 4
        new = msgspec.structs.replace(venue.board.rows["500325"].instrument, symbol="599999", id="NEW", isin="")
        await venue.bus.publish(venue.board.seal(NOW, instruments=[new]))
        assert (await talk.wait("error"))["code"] == "too_many_subscriptions"
        assert (await talk.end())[0] == 4504


# -- what is said -----------------------------------------------------------------------------------------------------------


@BOTH
async def test_stamps_are_for_those_who_ask(binary: bool):
    async with Venue() as venue, ear(venue, binary=binary) as asks, ear(venue, binary=binary) as other:
        await asks.sub("500325", stamps=True)
        await other.sub("500325")
        changes = venue.board.apply(SIM, [Tick("500325", NOW + 10, {field.CURRENT_PRICE: 153300})])
        await venue.bus.publish(venue.board.seal(NOW + 30, received=NOW + 20, changes=changes))
        told = (await asks.wait("u"))["stamps"]
        assert told == {"exchange": NOW + 10, "received": NOW + 20, "published": NOW + 30, "flushed": NOW}
        assert "stamps" not in await other.wait("u")
        assert len(venue.gateway.hub.cohorts) == 2  # neither pays for the other
        await asks.say({"t": "set", "id": 2, "stamps": False})
        await asks.wait("sync")
        await venue.price("500325", 153500)
        assert "stamps" not in await asks.wait("u")


async def test_states_are_told_to_those_who_do_not_see_them():
    async with Venue() as venue, ear(venue) as blind, ear(venue) as sees:
        await blind.sub("500325", "532540", "600001", fields=["current_price"])
        await sees.sub("500325")
        member = next(iter(venue.gateway.blind))
        assert len(venue.gateway.blind) == 1
        for state, told in (("halted", "halted"), ("stale", "stale"), ("live", "live"), ("quiet", None)):
            for symbol in ("500325", "500520"):  # one of its and another
                change = venue.board.put(venue.board.rows[symbol], {field.STATE: state})
                assert change is not None
                await venue.bus.publish(venue.board.seal(NOW, changes=[change]))
            await venue.settled()
            member.beat(asyncio.get_running_loop().time())
            if told is not None:
                assert await blind.wait("status") == {"t": "status", "symbol": "500325", "state": told}
            while sees.held["500325"]["state"] != state:
                assert (await sees.next())["t"] != "status"
        # Who comes later is told of what is not well.
        change = venue.board.put(venue.board.rows["532540"], {field.STATE: "stale"})
        assert change is not None
        await venue.bus.publish(venue.board.seal(NOW, changes=[change]))
        await venue.settled()
        async with ear(venue) as late:
            await late.sub("532540", "500325", fields=["volume"])
            next(each for each in venue.gateway.blind if each is not member).beat(asyncio.get_running_loop().time())
            assert (await late.wait("status"))["symbol"] == "532540"
            await late.say({"t": "set", "id": 2, "fields": "ltp"})
            await late.wait("sync")
            assert len(venue.gateway.blind) == 1


async def test_who_is_slowed_down_is_told_and_told_when_it_is_over():
    async with Venue() as venue, ear(venue) as quick, ear(venue) as slow:
        await quick.sub("500325")
        await slow.sub("500325", hz=1)
        now = asyncio.get_running_loop().time()

        def beat() -> None:
            for member in list(venue.gateway.members):
                member.beat(now)

        venue.gateway.hub.cap = 2.0
        beat()
        assert await quick.wait("rate") == {"t": "rate", "hz": 2.0, "why": "overload"}
        beat()  # once
        await venue.price("500325", 153300)
        assert (await quick.next())["t"] == "u"
        venue.gateway.hub.cap = None
        beat()
        assert await quick.wait("rate") == {"t": "rate", "hz": 0.0, "why": "over"}
        assert (await slow.next())["t"] == "u"  # it was never told anything


async def test_who_was_passed_over_is_told_how_far_behind_it_was():
    async with Venue() as venue, ear(venue) as talk:
        await talk.sub("500325")
        [outbox] = venue.gateway.hub.outboxes
        now = asyncio.get_running_loop().time()
        cohort = venue.gateway.hub.cohort(outbox)
        cohort._pass_over(outbox, cohort.flushed, now - 1.8)
        outbox.passed_over = 412
        cohort.catch_up(outbox, now)
        venue.gateway.hub.sweep(now)
        lag = await talk.wait("lag")
        assert lag["conflated"] == 412
        assert lag["ms"] >= 1800


# -- readers that know more --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["pos", "seen", "sub"])
async def test_a_reader_that_saw_more_waits_and_never_goes_back(what: str):
    async with Venue() as venue, ear(venue) as talk:
        rev, base = venue.board.rev, {"symbols": ["500325"], "hz": 0}
        asked: dict[str, Any] = {
            "pos": {"t": "resume", "id": 1, "pos": f"{EPOCH}:{rev + 1}"},
            "seen": {"t": "resume", "id": 1, "pos": f"{EPOCH}:{rev}", "seen": rev + 1},
            "sub": {"t": "sub", "id": 1, "seen": rev + 1},
        }[what]
        await talk.say(asked | base)
        await talk.say({"t": "list", "id": 2})
        await venue.price("500325", 153300)
        answer = await talk.wait("ack" if what == "sub" else "resumed")
        assert answer["id"] == 1
        assert (await talk.wait("list"))["id"] == 2
        assert talk.pos == f"{EPOCH}:{rev + 1}"


@pytest.mark.parametrize("hears", [True, False])
async def test_a_reader_that_stays_ahead_begins_anew_or_is_sent_to_another_gateway(hears: bool):
    async with Venue() as venue, ear(venue) as talk:
        await talk.wait("hello")
        calls: list[Any] = []
        venue.gateway.later = lambda _delay, call: calls.append(call)
        pos = f"{EPOCH}:{venue.board.rev + 1000}"
        await talk.say({"t": "resume", "id": 1, "pos": pos, "symbols": ["500325"]})
        await until(lambda: bool(calls))
        if hears:  # a canary that was sent since
            await venue.tick(CANARY_SYMBOL, {field.LAST_TRADE_TIME: NOW})
            await venue.settled()
        later = asyncio.get_running_loop().time() + AHEAD_WAIT_S + 0.1
        venue.clock.monotonic = lambda: later
        calls.pop()()
        if hears:
            assert (await talk.wait("resumed"))["recovered"] is False
            await talk.wait("sync")
        else:
            assert (await talk.wait("error"))["code"] == "position_lost"
            assert (await talk.end())[0] == 4010


async def test_a_resume_may_come_in_several_messages():
    limits = Limits(symbols_per_message=2, symbols=5)
    async with Venue(limits=limits) as venue:
        async with ear(venue) as talk:
            await talk.sub("500325", "532540")
            await talk.sub("600001", "500520")
            pos = talk.pos
        await venue.price("600001", 153300)
        async with ear(venue) as talk:
            await talk.say({"t": "resume", "id": 1, "pos": pos, "symbols": ["500325", "532540"], "more": True})
            await talk.say({"t": "resume", "id": 2, "pos": pos, "symbols": ["600001", "500520"]})
            resumed = await talk.wait("resumed")
            assert (resumed["id"], resumed["recovered"], resumed["changed"]) == (2, True, 1)
            assert [row["symbol"] for row in (await talk.wait("u"))["q"]] == ["600001"]
            await talk.say({"t": "list", "id": 3})
            assert (await talk.wait("list"))["active"] == 4


@pytest.mark.parametrize(
    "wrong",
    [
        {"t": "list", "id": 9},
        {"t": "resume", "id": 9, "pos": "yesterday", "symbols": ["500325"], "more": True},
        {"t": "resume", "id": 9, "pos": f"{EPOCH}:1", "symbols": ["x"] * 3, "more": True},
        {"t": "resume", "id": 9, "pos": f"{EPOCH}:1", "symbols": ["x"] * 2, "more": True},
    ],
)
async def test_a_resume_in_several_messages_holds_or_falls_as_one(wrong: dict[str, Any]):
    limits = Limits(symbols_per_message=2, symbols=3)
    async with Venue(limits=limits) as venue, ear(venue) as talk:
        first = {"t": "resume", "id": 1, "pos": f"{EPOCH}:1", "symbols": ["500325", "532540"], "more": True}
        last = {"t": "resume", "id": 2, "pos": f"{EPOCH}:{venue.board.rev}", "symbols": ["600001"]}
        for message in (first, wrong, last):
            await talk.say(message)
        assert (await talk.wait("error"))["id"] == 9
        assert (await talk.wait("error"))["id"] == 2
        await talk.say(last | {"id": 3})  # and then another
        assert (await talk.wait("resumed"))["id"] == 3


async def test_who_does_not_even_read_the_close_is_reset():
    async with Venue() as venue:
        with socket.socket() as bare:
            bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            bare.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(bare, ("127.0.0.1", venue.port))
            await loop.sock_sendall(bare, request("/ws", *KEY))
            assert b" 101 " in await loop.sock_recv(bare, 64)
            asked = msgspec.json.encode({"t": "sub", "symbols": [f"unknown {n}" for n in range(499)] + ["500325"]})
            framed = b"\x81\xfe" + len(asked).to_bytes(2, "big") + b"\0\0\0\0" + asked
            await loop.sock_sendall(bare, framed * 20)
            hub = venue.gateway.hub
            await until(lambda: any(each.full for each in hub.outboxes))
            hub.sweep(loop.time())
            hub.sweep(loop.time() + 10.5)
            assert not hub.outboxes
            with pytest.raises(ConnectionResetError):
                await ended(bare, venue)


async def ended(bare: socket.socket, venue: Venue) -> None:
    """Read nothing until the service has let go of the connection, then everything."""
    connections = venue.server._server.server_state.connections
    await until(lambda: not connections)
    async with asyncio.timeout(PATIENCE_S):
        while await asyncio.get_running_loop().sock_recv(bare, 65_536):
            pass
