"""The WebSocket, over real sockets: every message, every way a connection ends, in both encodings."""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from bhavcast.app.config import Limits
from bhavcast.client.stream import Client
from bhavcast.domain import field
from bhavcast.gateway.session import FLAWS, LINED_UP, NO_DATA_AFTER_S
from tests.docs.stage import EPOCH, NEXT_EPOCH, PATIENCE_S, Talk, unpack
from tests.integration.venue import DESK, Venue, request
from tests.waiting import until

BOTH = pytest.mark.parametrize("binary", [False, True], ids=["json", "msgpack"])
KEY = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def still() -> AsyncIterator[Venue]:
    """One for all who change nothing."""
    async with Venue() as venue:
        yield venue


class Ear(Talk):
    """A conversation whose frames are taken one message at a time, whatever the encoding."""

    def __init__(self, wire: ClientConnection, protocol: str) -> None:
        super().__init__(wire, protocol)
        self.heard: list[dict[str, Any]] = []
        self.held: dict[str, dict[str, Any]] = {}
        self.pos = ""

    async def next(self) -> dict[str, Any]:
        """Return the next message as it came, and keep what it says."""
        while not self.heard:
            frame = await asyncio.wait_for(self.wire.recv(), PATIENCE_S)
            self.heard += [msgspec.json.decode(frame)] if isinstance(frame, str) else joined(unpack(frame))
        message = self.heard.pop(0)
        for row in message.get("q", ()):
            held = self.held.setdefault(row["symbol"], {}) if message["t"] == "u" else {}
            held |= row
            self.held[row["symbol"]] = {name: value for name, value in held.items() if value is not None}
        self.pos = message.get("pos", self.pos)
        return message

    async def wait(self, kind: str) -> dict[str, Any]:
        """Return the next message of a kind."""
        while (message := await self.next())["t"] != kind:
            pass
        return message

    async def sub(self, *symbols: str, **more: Any) -> dict[str, Any]:
        """Subscribe, at every batch unless told otherwise, and wait for the end of the snapshot."""
        await self.say({"t": "sub", "id": 1, "symbols": list(symbols), "hz": 0, **more})
        ack = await self.wait("ack")
        if ack["ok"]:
            await self.wait("sync")
        return ack

    async def end(self) -> tuple[int, str]:
        """Read to the end; return how it was closed."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self.next()
        assert self.wire.close_code is not None
        return self.wire.close_code, self.wire.close_reason or ""


def joined(objects: list[Any]) -> list[dict[str, Any]]:
    """Put the consecutive objects of a MessagePack frame together: a message and the rows that belong to it."""
    head, *rows = objects
    return [{**head, "q": rows} if head["t"] in ("snap", "u") else head]


@contextlib.asynccontextmanager
async def ear(venue: Venue, *, binary: bool = False, **more: Any) -> AsyncIterator[Ear]:
    protocol = "bhavcast.v1.msgpack" if binary else "bhavcast.v1.json"
    address = f"ws://127.0.0.1:{venue.port}/ws"
    async with connect(address, subprotocols=[Subprotocol(protocol)], proxy=None, **more) as wire:
        assert wire.subprotocol == protocol
        yield Ear(wire, protocol)


# -- what is said -----------------------------------------------------------------------------------------------------------


@BOTH
async def test_a_client_subscribes_follows_and_leaves(binary: bool):
    async with Venue() as venue, ear(venue, binary=binary) as talk:
        hello = await talk.next()
        assert (hello["t"], hello["v"], hello["epoch"], hello["link"]) == ("hello", 1, EPOCH, "ok")
        assert hello["limits"] == {"symbols": 10_000, "symbols_per_message": 500, "max_message_bytes": 65_536}
        assert hello["feeds"] == {"sim": "live"}
        assert hello["market"]["status"] == "open"
        assert re.fullmatch("[0-9a-f]{16}", hello["sid"])

        ack = await talk.sub("500325", "M&M", "tcs", "TWIN", "999999")
        assert ack["id"] == 1
        assert ack["ok"] == ["500325", "500520", "532540"]
        assert [(each["symbol"], each["code"]) for each in ack["bad"]] == [
            ("TWIN", "ambiguous_symbol"),
            ("999999", "unknown_symbol"),
        ]
        assert ack["active"] == 3
        assert talk.pos == f"{EPOCH}:{venue.board.rev}"
        asked = (await venue.read("/api/stocks/batch?symbols=500325,M%26M,TCS")).told
        assert [talk.held[each["symbol"]] for each in asked] == asked

        await venue.tick("500325", {field.CURRENT_PRICE: 153300, field.YEAR_HIGH: None}, after_ms=7)
        update = await talk.wait("u")
        [row] = update["q"]
        assert update["pos"] == f"{EPOCH}:{venue.board.rev}"
        assert (row["current_price"], row["year_high"], row["rev"]) == (1533.0, None, venue.board.rev)
        assert "open" not in row
        assert talk.held["500325"] == (await venue.read("/api/stock/500325")).told

        await talk.say({"t": "list", "id": 2})
        told = await talk.wait("list")
        assert told == {
            "t": "list",
            "id": 2,
            "symbols": ["500325", "500520", "532540"],
            "hz": 0,
            "depth": 0,
            "active": 3,
        }
        await talk.say({"t": "unsub", "id": 3, "symbols": ["RELIANCE", "600001"]})
        left = await talk.wait("ack")
        assert (left["ok"], left["bad"]) == (["500325"], [{"symbol": "600001", "code": "not_subscribed"}])
        await venue.price("500325", 153400)  # not its any more
        await venue.price("532540", 310020)
        assert [each["symbol"] for each in (await talk.wait("u"))["q"]] == ["532540"]

        await talk.say({"t": "set", "id": 4, "symbols": ["500325"], "fields": "ltp", "depth": 1, "hz": 20})
        await talk.wait("sync")
        await talk.say({"t": "list", "id": 5})
        told = await talk.wait("list")
        assert (told["symbols"], told["hz"], told["depth"]) == (["500325"], 20, 1)
        assert talk.held["500325"]["depth"]["asks"]
        assert "open" not in talk.held["500325"]


NAMES = ("RELIANCE", "500325", "ine002a01018")


async def test_a_scrip_goes_with_any_of_its_names(still: Venue):
    async with ear(still) as talk:
        for gone in (*NAMES, "reliance"):
            await talk.wait("hello") if gone == NAMES[0] else None
            assert (await talk.sub(*NAMES))["active"] == 1
            await talk.say({"t": "unsub", "id": 2, "symbols": [gone, "TCS"]})
            left = await talk.wait("ack")
            assert (left["ok"], left["active"]) == (["500325"], 0)
            assert left["bad"] == [{"symbol": "TCS", "code": "not_subscribed"}]
        await talk.sub("RELIANCE")
        await talk.say({"t": "unsub", "id": 3, "symbols": [*NAMES]})
        left = await talk.wait("ack")
        assert (left["ok"], left["bad"], left["active"]) == (["500325"], [], 0), "several of its names are no flaw"


@pytest.mark.parametrize("answered", [True, False], ids=["answered", "under way"])
@pytest.mark.parametrize("at_once", [True, False], ids=["in one message", "in two"])
@pytest.mark.parametrize("gone", NAMES)
async def test_what_was_let_go_of_by_one_name_does_not_come_back_by_another(
    still: Venue, gone: str, at_once: bool, answered: bool
):
    async with Client(still.url.replace("http", "ws", 1) + "/ws", hz=0, sleep=at_once_again) as client:

        async def until_synced() -> None:
            async with asyncio.timeout(PATIENCE_S):
                while not (client.state.complete and client.connected):
                    await client.receive()

        await client.subscribe("TCS")
        await until_synced()
        for names in [NAMES] if at_once else [[name] for name in NAMES]:
            await client.subscribe(*names)
        if answered:
            await until_synced()
        await client.unsubscribe(gone)
        await client.subscribe("M&M")  # whose answer comes after all the others
        await until_synced()
        (outbox,) = still.gateway.hub.outboxes
        # What both think is subscribed is the same, and stays so.
        assert client.state.subscribed == ["532540", "500520"]
        assert {still.gateway.replica.order[slot].symbol for slot in outbox.slots} == {"532540", "500520"}
        assert client._socket is not None
        client._socket.transport.abort()
        await client.receive()
        await until_synced()
        assert client.state.subscribed == ["532540", "500520"]
        await client.subscribe(gone)
        await until_synced()
        assert client.quotes["500325"]["id"] == "RELIANCE"
    await until(lambda: not still.gateway.members)


async def at_once_again(_: float) -> None:
    """Wait for no time."""


async def test_groups_indices_and_everything_are_followed():
    async with Venue() as venue, ear(venue) as talk:
        ack = await talk.sub("group:a", "IDX:SENSEX", "idx:sensex/members", "group:none", "IDX:NONE/members")
        assert ack["ok"] == ["group:A", "IDX:SENSEX", "IDX:SENSEX/members"]
        assert [each["code"] for each in ack["bad"]] == ["unknown_symbol", "unknown_symbol"]
        assert talk.held.keys() == {"500325", "532540", "500520", "500112", "IDX:SENSEX"}
        await talk.say({"t": "set", "id": 2, "symbols": "*"})
        sync = await talk.wait("sync")
        assert sync["count"] == 10
        assert "000000" not in talk.held


async def test_sub_twice_is_as_once():
    async with Venue() as venue, ear(venue) as talk:
        assert (await talk.sub("500325"))["active"] == 1
        assert (await talk.sub("RELIANCE", "500325"))["active"] == 1
        await venue.price("500325", 153300)
        assert len((await talk.wait("u"))["q"]) == 1


@BOTH
async def test_a_reader_resumes_from_its_position(binary: bool):
    async with Venue() as venue:
        async with ear(venue, binary=binary) as talk:
            await talk.sub("500325", "532540", "600001")
            pos, held = talk.pos, talk.held
        await venue.tick("500325", {field.CURRENT_PRICE: 153300, field.YEAR_LOW: None})
        await venue.price("500520", 10_001)  # none of its
        async with ear(venue, binary=binary) as talk:
            talk.held = held
            await talk.say({"t": "resume", "id": 6, "pos": pos, "symbols": ["500325", "532540", "600001"], "hz": 0})
            resumed = await talk.wait("resumed")
            assert (resumed["id"], resumed["recovered"], resumed["changed"]) == (6, True, 1)
            update = await talk.next()
            assert update["t"] == "u"
            assert [row["symbol"] for row in update["q"]] == ["500325"]
            assert talk.held["500325"] == (await venue.read("/api/stock/500325")).told
            await talk.say({"t": "resume", "id": 7, "pos": pos, "symbols": ["500325"]})
            assert (await talk.wait("error"))["code"] == "bad_request"  # only before any subscription
        async with ear(venue, binary=binary) as talk:  # nothing has changed: an empty update says so
            await talk.say({"t": "resume", "id": 8, "pos": update["pos"], "symbols": ["500325"]})
            assert (await talk.wait("resumed"))["changed"] == 0
            assert (await talk.next())["q"] == []


async def test_a_reader_of_another_epoch_begins_anew():
    async with Venue() as venue, ear(venue) as talk:
        pos = f"{NEXT_EPOCH}:{venue.board.rev}"
        await talk.say({"t": "resume", "id": 1, "pos": pos, "symbols": ["500325"]})
        assert (await talk.wait("resumed"))["recovered"] is False
        await talk.wait("sync")
        assert talk.pos == f"{EPOCH}:{venue.board.rev}"


async def test_a_reader_that_is_ahead_waits_for_the_gateway_and_keeps_its_order():
    async with Venue() as venue, ear(venue) as talk:
        pos = f"{EPOCH}:{venue.board.rev + 1}"
        await talk.say({"t": "resume", "id": 1, "pos": pos, "symbols": ["500325"], "hz": 0})
        for number in range(2, 2 + LINED_UP + 1):  # they line up, and one too many is refused
            await talk.say({"t": "list", "id": number})
        assert (await talk.wait("error"))["id"] == 2 + LINED_UP
        await venue.price("500325", 153300)
        resumed = await talk.wait("resumed")
        assert (resumed["recovered"], resumed["changed"]) == (True, 0)
        assert [(await talk.wait("list"))["id"] for _ in range(LINED_UP)] == list(range(2, 2 + LINED_UP))


@pytest.mark.parametrize("waits", [True, False], ids=["it waits meanwhile", "it was still on its way"])
async def test_a_reader_of_the_epoch_that_a_gateway_comes_to_begins_anew_once_it_is_told_of_the_reset(waits: bool):
    """It lets go of its position when it hears of the reset, wherever that position was from."""
    async with Venue() as venue, ear(venue) as talk:
        ahead = {"t": "resume", "id": 1, "pos": f"{NEXT_EPOCH}:{venue.board.rev + 1000}", "symbols": ["500325"]}
        if waits:
            await talk.say(ahead)
            await until(lambda: any(each._waiting for each in venue.gateway.members))  # type: ignore[attr-defined]  # they are sessions
        await venue.begin(NEXT_EPOCH)
        assert (await talk.wait("reset"))["epoch"] == NEXT_EPOCH
        if not waits:
            await talk.say(ahead)
        assert (await talk.wait("resumed"))["recovered"] is False
        await talk.wait("sync")
        assert talk.pos.startswith(NEXT_EPOCH)


@BOTH
async def test_a_new_epoch_resets_and_begins_anew(binary: bool):
    async with Venue() as venue, ear(venue, binary=binary) as talk:
        await talk.sub("500325", "group:A")
        await venue.begin(NEXT_EPOCH)
        assert (await talk.wait("reset"))["epoch"] == NEXT_EPOCH
        talk.held.clear()
        await talk.wait("sync")
        assert talk.pos.startswith(NEXT_EPOCH)
        await venue.price("500325", 153300)
        while talk.held["500325"]["current_price"] != 1533.0:
            await talk.next()
        assert talk.held["500325"] == (await venue.read("/api/stock/500325")).told


async def test_silence_is_broken_by_heartbeats_that_carry_the_position():
    async with Venue() as venue, ear(venue) as talk:
        await talk.wait("hello")
        later = asyncio.get_running_loop().time() + 61
        [member] = venue.gateway.members
        member.beat(later)
        beat = await talk.wait("hb")
        assert beat["feeds"] == {"sim": "live"}
        assert "pos" not in beat  # it holds nothing
        await talk.sub("500325")
        member.beat(later + 1)
        assert (await talk.wait("hb"))["pos"] == f"{EPOCH}:{venue.board.rev}"
        await talk.say({"t": "set", "id": 2, "heartbeat_ms": 250})
        await talk.wait("ack")
        member.beat(asyncio.get_running_loop().time() + 0.3)
        await talk.wait("hb")


async def test_a_scrip_that_stays_without_data_is_told_of_once():
    async with Venue() as venue, ear(venue) as talk:
        await talk.sub("500325", "600001")
        [member] = venue.gateway.members
        now = asyncio.get_running_loop().time() + NO_DATA_AFTER_S + 0.1
        member.beat(now)
        member.beat(now)
        status = await talk.wait("status")
        assert status == {"t": "status", "symbol": "600001", "state": "no_data"}
        await venue.price("600001", 500)
        assert (await talk.next())["t"] == "u"


async def test_what_is_said_of_the_market_and_its_feeds_is_passed_on():
    async with Venue() as venue, ear(venue) as talk:
        await talk.wait("hello")
        await venue.fact("feeds", {"sim": {"state": "stale", "mode": "sim", "grade": "tick", "period_ms": 0}})
        told = await talk.wait("feed")
        assert (told["feed"], told["state"]) == ("sim", "stale")
        await venue.fact("market", {"status": "closed"})
        assert (await talk.wait("market"))["status"] == "closed"


async def test_both_encodings_say_the_same():
    async with Venue() as venue, ear(venue) as text, ear(venue, binary=True) as packed:
        for talk in (text, packed):
            await talk.sub("*", depth=5)
        for price in (153300, 153400, 153500):
            await venue.tick("500325", {field.CURRENT_PRICE: price, field.BIDS: ((price, 1, 1),), field.YEAR_LOW: None})
            await venue.tick("532540", {field.CURRENT_PRICE: price})
        await venue.settled()
        last = f"{EPOCH}:{venue.board.rev}"
        for talk in (text, packed):
            while talk.pos != last:
                await talk.next()
        assert text.held == packed.held
        assert text.held["500325"]["depth"]["bids"] == [{"price": 1535.0, "quantity": 1, "orders": 1}]


# -- what is wrong -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "named", "number"),
    [
        ("junk", None, None),
        ("[]", None, None),
        ("{}", None, None),
        ('{"t":"dance","id":4}', "t", 4),
        ('{"t":"sub","id":5}', None, 5),
        ('{"t":"sub","id":5,"symbols":7}', "symbols", 5),
        ('{"t":"sub","id":5,"symbols":[7]}', "symbols", 5),
        ('{"t":"sub","id":5,"symbols":["500325"],"hz":"fast"}', "hz", 5),
        ('{"t":"sub","id":5,"symbols":["500325"],"hz":51}', "hz", 5),
        ('{"t":"sub","id":5,"symbols":["500325"],"hz":-1}', "hz", 5),
        ('{"t":"sub","id":5,"symbols":["500325"],"depth":6}', "depth", 5),
        ('{"t":"sub","id":5,"symbols":["500325"],"fields":["price"]}', "fields", 5),
        ('{"t":"sub","id":5,"symbols":["500325"],"colour":1}', None, 5),
        ('{"t":"sub","id":5,"symbols":[]}', "symbols", 5),
        ('{"t":"sub","id":-5,"symbols":["500325"]}', "id", -5),
        ('{"t":"set","id":6,"heartbeat_ms":1}', "heartbeat_ms", 6),
        ('{"t":"resume","id":7,"pos":"yesterday","symbols":["500325"]}', "pos", 7),
        ('{"t":"list","id":true}', "id", None),
        ("[" * 5000, None, None),
    ],
)
async def test_a_wrong_message_is_answered_and_the_connection_stays(
    still: Venue, said: str, named: str | None, number: int | None
):
    async with ear(still) as talk:
        await talk.say(said)
        error = await talk.wait("error")
        assert (error["id"], error["temporary"]) == (number, False)
        assert error["code"] in ("bad_request", "too_many_symbols")
        assert error["message"]
        if named is not None:
            assert error["field"] == named
        assert (await talk.sub("500325"))["ok"] == ["500325"]


@BOTH
async def test_ten_wrong_messages_end_the_connection(binary: bool):
    async with Venue() as venue, ear(venue, binary=binary) as talk:
        for number in range(FLAWS):
            await talk.say({"t": "dance", "id": number})
        for number in range(FLAWS):
            assert (await talk.wait("error"))["id"] == number
        assert await talk.end() == (4503, "too many malformed messages")
        await until(lambda: not venue.gateway.members)


async def test_symbols_have_their_limits():
    async with Venue(limits=Limits(symbols=2)) as venue, ear(venue) as talk:
        assert (await talk.sub("500325", "532540"))["active"] == 2
        await talk.say({"t": "sub", "id": 2, "symbols": ["500520"]})
        error = await talk.wait("error")
        assert (error["id"], error["code"]) == (2, "too_many_symbols")
        await talk.say({"t": "sub", "id": 3, "symbols": ["500325"] * 500})
        assert (await talk.wait("ack"))["ok"] == ["500325"]
        await talk.say({"t": "sub", "id": 4, "symbols": ["500325"] * 501})
        assert (await talk.wait("error"))["code"] == "too_many_symbols"


async def test_a_message_has_its_limit():
    async with Venue() as venue, ear(venue) as talk:
        most = venue.gateway.limits.message_bytes
        await talk.say('{"t":"list","id":1}'.ljust(most))
        assert (await talk.wait("list"))["id"] == 1
        await talk.say('{"t":"list","id":2}'.ljust(most + 1))
        assert (await talk.end())[0] == 1009
    async with Venue() as venue, ear(venue) as talk:  # in pieces as well
        await talk.wire.send(" " * 1000 for _ in range(100))
        assert (await talk.end())[0] == 1009


@BOTH
async def test_the_other_kind_of_frame_ends_the_connection(binary: bool):
    async with Venue() as venue, ear(venue, binary=binary) as talk:
        await talk.wire.send('{"t":"list","id":1}' if binary else b'{"t":"list","id":1}')
        assert (await talk.end())[0] == 1003


async def test_text_that_is_not_utf_8_ends_the_connection():
    async with Venue() as venue, ear(venue) as talk:
        await talk.wire.send(b'{"t":"\xff"}', text=True)
        assert (await talk.end())[0] == 1007


async def test_a_ping_is_answered_and_a_message_may_come_in_pieces():
    async with Venue() as venue, ear(venue) as talk:
        await asyncio.wait_for(await talk.wire.ping(), PATIENCE_S)
        await talk.wire.send(iter(['{"t":"li', 'st","i', 'd":9}']))
        assert (await talk.wait("list"))["id"] == 9


# -- who is let in, and who has to go ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        (("Upgrade: websocket", "Connection: Upgrade"), 400, "bad_handshake"),
        ((*KEY[:2], "Sec-WebSocket-Version: 12", KEY[3]), 400, "bad_handshake"),
        ((*KEY, "Sec-WebSocket-Protocol: soap"), 400, "bad_handshake"),
        ((*KEY, "Host: localhost"), 421, "foreign_host"),
    ],
)
async def test_a_wrong_handshake_is_refused_in_the_one_shape(
    still: Venue, headers: tuple[str, ...], status: int, code: str
):
    async with still.line() as line:
        answer = await line.ask(request("/ws", *headers))
        answer.refused(status, code)
        if code == "bad_handshake":
            assert answer.header("sec-websocket-version") == "13"
        assert await line.ended() == b""
    (await still.read("/ws/else", *KEY)).refused(404, "not_found")
    (await still.read("/ws")).refused(426, "bad_handshake")
    await until(lambda: not still.gateway.members)


async def test_an_allowed_page_is_let_in():
    async with Venue() as venue, ear(venue, origin=DESK) as talk:
        assert (await talk.next())["t"] == "hello"


async def test_no_more_clients_are_taken_than_the_limit():
    async with Venue(limits=Limits(connections=1)) as venue:
        async with ear(venue) as talk:
            await talk.sub("500325")
            told = (await venue.read("/ws", *KEY)).refused(503, "too_many_connections")
            assert told["retry_after"] == 10
            (await venue.read("/api/stream?symbols=500325")).refused(503, "too_many_connections")
            assert (await venue.read("/api/stock/500325")).status == 200
        await until(lambda: not venue.gateway.members)
        async with ear(venue) as talk:
            assert (await talk.next())["t"] == "hello"


async def test_who_is_drained_is_told_when_to_come_again():
    async with Venue() as venue, ear(venue) as text, ear(venue, binary=True) as packed:
        for talk in (text, packed):
            await talk.sub("500325")
        await venue.server.stop()
        for talk in (text, packed):
            error = await talk.wait("error")
            assert (error["code"], error["temporary"]) == ("draining", True)
            assert 0 < error["retry_ms"] <= 5000
            assert await talk.end() == (4001, f"draining: retry_ms={error['retry_ms']}")


async def test_nobody_is_let_in_while_it_drains():
    async with Venue() as venue:
        venue.gateway.drain()
        with pytest.raises(InvalidStatus) as refused:
            async with ear(venue):
                raise AssertionError("it was let in")
        assert refused.value.response.status_code == 503


async def test_a_client_that_never_reads_is_closed_and_no_other_notices():
    async with Venue() as venue, ear(venue) as other:
        await other.sub("500325")
        bare = socket.socket()
        bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        bare.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(bare, ("127.0.0.1", venue.port))
        reader, writer = await asyncio.open_connection(sock=bare, limit=1024)
        writer.write(request("/ws", *KEY))
        await reader.readuntil(b"\r\n\r\n")
        mask = b"\0\0\0\0"
        asked = msgspec.json.encode({"t": "sub", "id": 1, "symbols": [f"unknown {n}" for n in range(499)] + ["500325"]})
        writer.write((b"\x81\xfe" + len(asked).to_bytes(2, "big") + mask + asked) * 20)
        await until(lambda: any(each.full for each in venue.gateway.hub.outboxes))
        [slow] = [each for each in venue.gateway.hub.outboxes if each.full]
        held = slow.sink.buffered()

        for price in range(153300, 153400):  # nothing of it waits for the one who does not read
            await venue.price("500325", price)
            while other.held["500325"]["current_price"] * 100 != pytest.approx(price):
                await other.wait("u")
        assert slow.sink.buffered() <= held + 1024

        venue.gateway.hub.sweep(loop.time())
        assert slow in venue.gateway.hub.outboxes  # ten seconds have not passed
        venue.gateway.hub.sweep(loop.time() + 10.5)
        assert slow not in venue.gateway.hub.outboxes
        async with asyncio.timeout(PATIENCE_S):
            said = await reader.read()
        assert (4008).to_bytes(2, "big") + b"slow" in said[-200:]
        writer.close()
        await until(lambda: len(venue.gateway.members) == 1)
        await venue.price("500325", 153500)
        assert (await other.wait("u"))["q"][0]["current_price"] == 1535.0
