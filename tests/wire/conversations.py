"""The conversations of which the vectors are made: `python -m tests.docs.refresh` writes them down again."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import msgspec

from bhavcast.access.doorkeeper import Doorkeeper
from bhavcast.access.keyring import Keyring
from bhavcast.app.config import Limits
from bhavcast.domain import field
from bhavcast.domain.access import Key, digest
from bhavcast.domain.tick import Tick
from bhavcast.gateway.session import AHEAD_WAIT_S
from tests.docs.stage import NEXT_EPOCH, NOW, SIM, WALL, Stage, Still, Talk
from tests.wire.reader import read

Conversation = Callable[[], Awaitable[list[dict[str, Any]]]]


@contextlib.asynccontextmanager
async def _talk(
    *, binary: bool = False, limits: Limits | None = None, keeper: Doorkeeper | None = None
) -> AsyncIterator[tuple[Stage, Talk]]:
    async with Stage(limits=limits, keeper=keeper) as stage, stage.talk(binary=binary) as talk:
        await talk.until("hello")
        yield stage, talk


async def subscribe() -> list[dict[str, Any]]:
    """Subscribe two scrips and one that does not exist; prices move; one is let go."""
    async with _talk() as (stage, talk):
        await talk.say({"t": "sub", "id": 1, "symbols": ["RELIANCE", "532540", "999999"], "hz": 10, "fields": "ltp"})
        await talk.until("sync")
        await stage.tick("500325", {field.CURRENT_PRICE: 153310, field.VOLUME: 241}, after_ms=180)
        await talk.until("u")
        await stage.tick("500325", {field.CURRENT_PRICE: 153310, field.VOLUME: 250}, after_ms=460)
        await stage.tick("532540", {field.CURRENT_PRICE: 310050, field.VOLUME: 86}, after_ms=470)
        await talk.until("u")
        await talk.say({"t": "unsub", "id": 2, "symbols": ["532540"]})
        await talk.until("ack")
    return talk.lines


async def whole_quotes() -> list[dict[str, Any]]:
    """The default: every field of a quote, without depth; a scrip that has said nothing yet, and an index."""
    async with _talk() as (_, talk):
        await talk.say({"t": "sub", "id": 1, "symbols": ["500325", "600001", "IDX:SENSEX"]})
        await talk.until("sync")
    return talk.lines


async def clear() -> list[dict[str, Any]]:
    """A scrip goes to its upper circuit: nobody offers any more, and the ask fields lose their value."""
    async with _talk() as (stage, talk):
        wish = ["current_price", "bid_price", "ask_price", "ask_quantity"]
        await talk.say({"t": "sub", "id": 1, "symbols": ["500325"], "fields": wish, "depth": 1})
        await talk.until("sync")
        locked: field.Values = {field.CURRENT_PRICE: 170310, field.BID_PRICE: 170310, field.BIDS: ((170310, 900, 40),)}
        gone: field.Values = dict.fromkeys((field.ASK_PRICE, field.ASK_QUANTITY, field.ASKS))
        await stage.tick("500325", {**locked, **gone}, after_ms=900)
        await talk.until("u")
    return talk.lines


async def show() -> list[dict[str, Any]]:
    """What a connection shows and how often can be changed, and asked for."""
    async with _talk() as (stage, talk):
        await talk.say({"t": "sub", "id": 1, "symbols": ["500325", "532540"], "fields": "ltp", "hz": 7})
        await talk.until("sync")
        await talk.say({"t": "set", "id": 2, "fields": ["bid_price", "ask_price"], "hz": 1})
        await talk.until("sync")
        await talk.say({"t": "set", "id": 3, "symbols": ["500325"], "hz": 10})
        await talk.until("sync")
        await talk.say({"t": "list", "id": 4})
        await talk.until("list")
        await stage.tick("500325", {field.BID_PRICE: 153270}, after_ms=50)
        await talk.until("u")
    return talk.lines


async def groups() -> list[dict[str, Any]]:
    """A group, an index's members, and the whole market stand for their symbols."""
    async with _talk() as (_, talk):
        await talk.say({"t": "sub", "id": 1, "symbols": ["group:A"], "fields": ["current_price"]})
        await talk.until("sync")
        await talk.say({"t": "sub", "id": 2, "symbols": ["IDX:SENSEX/members", "IDX:SENSEX"]})
        await talk.until("sync")
        await talk.say({"t": "sub", "id": 3, "symbols": "*"})
        await talk.until("sync")
        await talk.say({"t": "list", "id": 4})
        await talk.until("list")
    return talk.lines


async def beat() -> list[dict[str, Any]]:
    """Nothing moves: after `heartbeat_ms` of silence the service says so, and how far the client is complete."""
    async with _talk() as (_, talk):
        await talk.say({"t": "sub", "id": 1, "symbols": ["532540"], "fields": "ltp"})
        await talk.until("sync")
        await talk.say({"t": "set", "id": 2, "heartbeat_ms": 250})
        await talk.until("hb")
    return talk.lines


async def _left(stage: Stage, symbols: list[str]) -> tuple[list[dict[str, Any]], str]:
    """A client subscribes, and is cut off: what was said, and its position."""
    async with stage.talk() as talk:
        await talk.until("hello")
        await talk.say({"t": "sub", "id": 1, "symbols": symbols, "fields": "ltp"})
        pos: str = (await talk.until("sync"))["pos"]
    return talk.lines, pos


async def _back(stage: Stage, symbols: list[str], pos: str) -> list[dict[str, Any]]:
    """It comes back with that position."""
    async with stage.talk() as talk:
        await talk.until("hello")
        await talk.say({"t": "resume", "id": 1, "pos": pos, "symbols": symbols, "fields": "ltp"})
        await talk.until("feed")
    return talk.lines


async def resume() -> list[dict[str, Any]]:
    """A client comes back with its position: it gets exactly what changed, and only that."""
    async with Stage() as stage:
        first, pos = await _left(stage, ["500325", "532540"])
        await stage.tick("532540", {field.CURRENT_PRICE: 310065, field.VOLUME: 90}, after_ms=3_000)
        second = await _back(stage, ["500325", "532540"], pos)
    return [*first, {"cut": True}, *second]


async def resume_nothing() -> list[dict[str, Any]]:
    """Nothing changed while the client was away: the frame after `resumed` is empty, and moves the position."""
    async with Stage() as stage:
        first, pos = await _left(stage, ["500325"])
        second = await _back(stage, ["500325"], pos)
    return [*first, {"cut": True}, *second]


async def resume_too_late() -> list[dict[str, Any]]:
    """The position is of an epoch that is over: everything comes anew."""
    async with Stage() as stage:
        first, pos = await _left(stage, ["500325"])
        await stage.begin(NEXT_EPOCH)
        while stage.gateway.replica.epoch != NEXT_EPOCH:  # noqa: ASYNC110 - a replica has no event; the bus answers within a few turns
            await asyncio.sleep(0)
        second = await _back(stage, ["500325"], pos)
    return [*first, {"cut": True}, *second]


async def position_lost() -> list[dict[str, Any]]:
    """A client comes to a gateway that is behind it and deaf: it keeps its position, and resumes at another one."""
    async with Stage() as ahead, Stage() as behind:
        async with ahead.talk() as first:
            await first.until("hello")
            await first.say({"t": "sub", "id": 1, "symbols": ["500325"], "fields": "ltp"})
            await first.until("sync")
            await ahead.tick("500325", {field.CURRENT_PRICE: 153310, field.VOLUME: 241}, after_ms=180)
            pos = (await first.until("u"))["pos"]
        _hurry(behind)
        async with behind.talk() as second:
            await second.until("hello")
            await second.say({"t": "resume", "id": 1, "pos": pos, "symbols": ["500325"], "fields": "ltp"})
            await second.closed()
        third = await _back(ahead, ["500325"], pos)
    return [*first.lines, {"cut": True}, *second.lines, {"cut": True}, *third]


def _hurry(stage: Stage) -> None:
    """Let the time for which a gateway keeps a reader waiting be over as soon as it looks."""

    def at_once(_delay: float, look: Callable[[], None]) -> None:
        over = stage.clock.monotonic() + AHEAD_WAIT_S
        stage.clock.monotonic = lambda: over
        asyncio.get_running_loop().call_soon(look)

    stage.gateway.later = at_once


async def reset() -> list[dict[str, Any]]:
    """A new epoch begins while the client is connected."""
    async with _talk() as (stage, talk):
        await talk.say({"t": "sub", "id": 1, "symbols": ["500325"], "fields": "ltp"})
        await talk.until("sync")
        await stage.begin(NEXT_EPOCH)
        await talk.until("sync")
    return talk.lines


async def notices() -> list[dict[str, Any]]:
    """What is said without being asked: the market's phase, a feed's state, a scrip that stays silent."""
    async with _talk() as (stage, talk):
        await talk.say({"t": "sub", "id": 1, "symbols": ["600001"], "fields": "ltp"})
        await talk.until("sync")
        await stage.fact("feeds", {"sim": {"state": "stale", "mode": "sim", "grade": "tick", "period_ms": 0}})
        await talk.until("feed")
        await stage.fact("market", {**stage.board.facts["market"], "status": "closing_auction"})
        await talk.until("market")
        await talk.until("status")
    return talk.lines


async def errors() -> list[dict[str, Any]]:
    """Everything that is wrong is answered, with the field that is wrong and what was expected."""
    async with _talk() as (_, talk):
        for message in (
            {"t": "subscribe", "id": 1, "symbols": ["500325"]},
            {"t": "sub", "id": 2},
            {"t": "sub", "id": 3, "symbols": ["500325"], "hz": 99},
            {"t": "sub", "id": 4, "symbols": ["500325"], "fields": ["price"]},
            {"t": "sub", "id": 5, "symbols": ["500325"], "depth": 9},
            {"t": "resume", "id": 6, "symbols": ["500325"], "pos": "yesterday"},
            {"t": "unsub", "id": 7, "symbols": ["532540"]},
            {"t": "sub", "id": 8, "symbols": ["TWIN"]},
        ):
            await talk.say(message)
            await talk.hear()
        await talk.until("sync")
        await talk.say("{nonsense")
        await talk.until("error")
    return talk.lines


async def too_many_flaws() -> list[dict[str, Any]]:
    """Ten malformed messages within a minute, and the connection is closed."""
    async with _talk() as (_, talk):
        for number in range(10):
            await talk.say({"t": "subscribe", "id": number})
        await talk.closed()
    return talk.lines


async def goodbye() -> list[dict[str, Any]]:
    """The service is shutting down: it says when to come again."""
    async with _talk() as (stage, talk):
        await talk.say({"t": "sub", "id": 1, "symbols": ["500325"], "fields": "ltp"})
        await talk.until("sync")
        await stage.server.stop()
        await talk.closed()
    return talk.lines


KEY: Final = "bhk_example-of-a-key"


def _guarded() -> Doorkeeper:
    key = Key(id="k1", name="desk", role="viewer", sha256=digest(KEY), created=0)
    return Doorkeeper(Keyring([key]), Still())


async def auth() -> list[dict[str, Any]]:
    """A key is needed and none came with the handshake: the client shows it as its first message."""
    async with _talk(keeper=_guarded()) as (_, talk):
        await talk.say({"t": "auth", "id": 1, "key": KEY})
        await talk.until("feed")
        await talk.say({"t": "sub", "id": 2, "symbols": ["500325"], "fields": "ltp"})
        await talk.until("sync")
    return talk.lines


async def bad_auth() -> list[dict[str, Any]]:
    """The key is none of this service."""
    async with _talk(keeper=_guarded()) as (_, talk):
        await talk.say({"t": "auth", "id": 1, "key": "bhk_guessed"})
        await talk.closed()
    return talk.lines


async def forbidden() -> list[dict[str, Any]]:
    """Something is asked for where a key is needed, before it was shown."""
    async with _talk(keeper=_guarded()) as (_, talk):
        await talk.say({"t": "sub", "id": 1, "symbols": ["500325"]})
        await talk.closed()
    return talk.lines


async def key_expired() -> list[dict[str, Any]]:
    """The key ends while the client is connected."""
    key = Key(id="k1", name="desk", role="viewer", sha256=digest(KEY), created=0, expires=WALL + 1000)
    keyring = Keyring([key])
    async with _talk(keeper=Doorkeeper(keyring, Still())) as (stage, talk):
        await talk.say({"t": "auth", "id": 1, "key": KEY})
        await talk.until("feed")
        keyring.replace([msgspec.structs.replace(key, expires=WALL)])
        [member] = stage.gateway.members
        member.visitor = member.visitor._replace(  # type: ignore[attr-defined]  # a session
            principal=msgspec.structs.replace(member.visitor.principal, expires=WALL)  # type: ignore[attr-defined]  # a session
        )
        await talk.closed()
    return talk.lines


async def stamps() -> list[dict[str, Any]]:
    """How old is a price? Frames of who asks say when it was traded, received, published and sent."""
    async with _talk() as (stage, talk):
        await talk.say({"t": "sub", "id": 1, "symbols": ["500325"], "fields": "ltp", "stamps": True})
        await talk.until("sync")
        changes = stage.board.apply(SIM, [Tick("500325", NOW - 52, {field.CURRENT_PRICE: 153310})])
        await stage.bus.publish(stage.board.seal(NOW - 3, received=NOW - 9, changes=changes))
        await talk.until("u")
    return talk.lines


async def states() -> list[dict[str, Any]]:
    """Fields without `state`: what becomes stale or is halted is told as a message, and when it is over."""
    async with _talk() as (stage, talk):
        await talk.say({"t": "sub", "id": 1, "symbols": ["500325"], "fields": ["current_price"]})
        await talk.until("sync")
        for state in ("stale", "live"):
            change = stage.board.put(stage.board.rows["500325"], {field.STATE: state})
            assert change is not None, "another state"
            await stage.bus.publish(stage.board.seal(NOW, changes=[change]))
            await talk.until("status")
    return talk.lines


async def slowed() -> list[dict[str, Any]]:
    """The service has more to do than it can: everyone is slowed down, told so, and told when it is over."""
    async with _talk() as (stage, talk):
        await talk.say({"t": "sub", "id": 1, "symbols": ["500325"], "fields": "ltp"})
        await talk.until("sync")
        stage.gateway.hub.cap = 2.0
        await talk.until("rate")
        stage.gateway.hub.cap = None
        await talk.until("rate")
    return talk.lines


async def resume_long() -> list[dict[str, Any]]:
    """More is held than one message may name: several messages are one `resume`, and the last one is answered."""
    limits = Limits(symbols_per_message=2)
    held = ["500325", "532540", "600001"]
    async with Stage(limits=limits) as stage:
        async with stage.talk() as first:
            await first.until("hello")
            await first.say({"t": "sub", "id": 1, "symbols": held[:2], "fields": "ltp"})
            await first.until("sync")
            await first.say({"t": "sub", "id": 2, "symbols": held[2:]})
            pos = (await first.until("sync"))["pos"]
        async with stage.talk() as second:
            await second.until("hello")
            await second.say({"t": "resume", "id": 1, "pos": pos, "symbols": held[:2], "more": True})
            seen = int(pos.partition(":")[2])
            await second.say({"t": "resume", "id": 2, "pos": pos, "symbols": held[2:], "fields": "ltp", "seen": seen})
            await second.until("feed")
    return [*first.lines, {"cut": True}, *second.lines]


async def too_fast() -> list[dict[str, Any]]:
    """More messages than one connection may send."""
    async with _talk(limits=Limits(messages_per_second=1)) as (stage, talk):
        now = stage.clock.monotonic()
        stage.clock.monotonic = lambda: now
        for number in range(6):
            await talk.say({"t": "list", "id": number})
        await talk.closed()
    return talk.lines


async def too_greedy() -> list[dict[str, Any]]:
    """More symbols than one connection may hold, asked for again and again."""
    async with _talk(limits=Limits(symbols=1)) as (_, talk):
        for number in range(10):
            await talk.say({"t": "sub", "id": number, "symbols": ["500325", "532540"]})
        await talk.closed()
    return talk.lines


async def msgpack() -> list[dict[str, Any]]:
    """The first conversation again, shorter, in MessagePack: rows follow the message as objects of their own."""
    async with _talk(binary=True) as (stage, talk):
        await talk.say({"t": "sub", "id": 1, "symbols": ["500325", "532540"], "fields": "ltp"})
        await talk.until("sync")
        await stage.tick("500325", {field.CURRENT_PRICE: 153310, field.VOLUME: 241}, after_ms=180)
        await talk.until("u")
    return talk.lines


CONVERSATIONS: Final[dict[str, Conversation]] = {
    each.__name__.replace("_", "-"): each
    for each in (
        subscribe,
        whole_quotes,
        clear,
        show,
        groups,
        beat,
        resume,
        resume_nothing,
        resume_too_late,
        position_lost,
        reset,
        notices,
        errors,
        too_many_flaws,
        goodbye,
        auth,
        bad_auth,
        forbidden,
        key_expired,
        stamps,
        states,
        slowed,
        resume_long,
        too_fast,
        too_greedy,
        msgpack,
    )
}


async def vector(name: str) -> list[dict[str, Any]]:
    """Hold a conversation and return the lines of its vector: what it is about, what was said, what is held then."""
    conversation = CONVERSATIONS[name]
    lines = await conversation()
    about = (conversation.__doc__ or "").strip()
    return [{"about": about}, *lines, {"held": read(lines)}]
