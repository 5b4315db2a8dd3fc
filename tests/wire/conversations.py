"""The conversations of which the vectors are made: `python -m tests.docs.refresh` writes them down again."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from bhavcast.app.config import Limits
from bhavcast.domain import field
from tests.docs.stage import NEXT_EPOCH, Stage, Talk
from tests.wire.reader import read

Conversation = Callable[[], Awaitable[list[dict[str, Any]]]]


@contextlib.asynccontextmanager
async def _talk(*, binary: bool = False, limits: Limits | None = None) -> AsyncIterator[tuple[Stage, Talk]]:
    async with Stage(limits=limits) as stage, stage.talk(binary=binary) as talk:
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


async def resume() -> list[dict[str, Any]]:
    """A client comes back with its position: it gets exactly what changed, and only that."""
    async with Stage() as stage:
        async with stage.talk() as first:
            await first.until("hello")
            await first.say({"t": "sub", "id": 1, "symbols": ["500325", "532540"], "fields": "ltp"})
            pos = (await first.until("sync"))["pos"]
        await stage.tick("532540", {field.CURRENT_PRICE: 310065, field.VOLUME: 90}, after_ms=3_000)
        async with stage.talk() as second:
            await second.until("hello")
            again = {"symbols": ["500325", "532540"], "fields": "ltp"}
            await second.say({"t": "resume", "id": 1, "pos": pos, **again})
            await second.until("feed")
    return [*first.lines, {"cut": True}, *second.lines]


async def resume_nothing() -> list[dict[str, Any]]:
    """Nothing changed while the client was away: the frame after `resumed` is empty, and moves the position."""
    async with Stage() as stage:
        async with stage.talk() as first:
            await first.until("hello")
            await first.say({"t": "sub", "id": 1, "symbols": ["500325"], "fields": "ltp"})
            pos = (await first.until("sync"))["pos"]
        async with stage.talk() as second:
            await second.until("hello")
            await second.say({"t": "resume", "id": 1, "pos": pos, "symbols": ["500325"], "fields": "ltp"})
            await second.until("feed")
    return [*first.lines, {"cut": True}, *second.lines]


async def resume_too_late() -> list[dict[str, Any]]:
    """The position is of an epoch that is over: everything comes anew."""
    async with Stage() as stage:
        async with stage.talk() as first:
            await first.until("hello")
            await first.say({"t": "sub", "id": 1, "symbols": ["500325"], "fields": "ltp"})
            pos = (await first.until("sync"))["pos"]
        await stage.begin(NEXT_EPOCH)
        while stage.gateway.replica.epoch != NEXT_EPOCH:  # noqa: ASYNC110 - a replica has no event; the bus answers within a few turns
            await asyncio.sleep(0)
        async with stage.talk() as second:
            await second.until("hello")
            await second.say({"t": "resume", "id": 1, "pos": pos, "symbols": ["500325"], "fields": "ltp"})
            await second.until("feed")
    return [*first.lines, {"cut": True}, *second.lines]


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
        reset,
        notices,
        errors,
        too_many_flaws,
        goodbye,
        msgpack,
    )
}


async def vector(name: str) -> list[dict[str, Any]]:
    """Hold a conversation and return the lines of its vector: what it is about, what was said, what is held then."""
    conversation = CONVERSATIONS[name]
    lines = await conversation()
    about = (conversation.__doc__ or "").strip()
    return [{"about": about}, *lines, {"held": read(lines)}]
