"""`/ws` over real sockets: the whole conversation, and everything that ends it."""

import asyncio
import contextlib
import json
import socket

import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.typing import Subprotocol

from bhavcast.board import encode
from bhavcast.domain import field
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.shape import Shape, parse_fields
from tests.served import EPOCH, FRIENDLY, LONG, OTHER, Served, Talk


@pytest.fixture
async def served():
    async with Served() as served:
        yield served


@pytest.fixture(params=[False, True], ids=["json", "msgpack"])
async def talk(served, request):
    async with served.talk(binary=request.param) as talk:
        assert (await talk.hear())["t"] == "hello"
        yield talk


async def begun(served, talk: Talk, *symbols: str, **more) -> list[dict]:
    """Subscribe, and return what came up to the sync."""
    await talk.say(t="sub", id=1, symbols=list(symbols), **more)
    return await talk.all_until("sync", id=1)


def quote(served, symbol: str, fields: str | list[str] = "full", depth: int = 0) -> dict:
    row = served.gateway.replica.rows[symbol]
    told: dict = json.loads(encode.encode(encode.full(row, Shape(parse_fields(fields), depth)), binary=False))
    return told


def framed(opcode: Opcode, data: bytes) -> bytes:
    return Frame(opcode, data).serialize(mask=True, extensions=[])


# -- the conversation ---------------------------------------------------------------------------------------------------


async def test_the_service_greets_with_what_a_client_must_know(served):
    async with served.talk() as talk:
        hello = await talk.hear()
    assert (hello["v"], hello["epoch"], hello["link"], hello["heartbeat_ms"]) == (1, EPOCH, "ok", 60_000)
    assert hello["limits"] == {"symbols": 10_000, "symbols_per_message": 500, "max_message_bytes": 65_536}
    assert hello["feeds"] == {"script": "live"}
    assert hello["market"] == {"status": "open"}
    assert hello["clock"] == {"virtual": True, "speed": 1}


async def test_a_subscription_is_acknowledged_shown_and_completed(served, talk):
    ack, snap, sync = await begun(
        served, talk, "RELIANCE", "m&m", "999999", "TWIN", "600001", hz=0, fields="quote", depth=1
    )
    assert ack["ok"] == ["500325", "500520", "600001"]
    assert [(each["symbol"], each["code"]) for each in ack["bad"]] == [
        ("999999", "unknown_symbol"),
        ("TWIN", "ambiguous_symbol"),
    ]
    assert (ack["active"], ack["hz"]) == (3, 0.0)
    assert snap["q"] == [quote(served, symbol, "quote", 1) for symbol in ("500325", "500520", "600001")]
    assert "pos" not in snap
    assert (sync["count"], sync["pos"]) == (3, served.position)


async def test_changes_come_as_changed_fields_with_a_position_and_cleared_ones_as_null(served, talk):
    await begun(served, talk, "500325", hz=0, depth=5)
    await served.tick("500325", {field.VOLUME: 9, field.BID_PRICE: None, field.BIDS: None})
    update = await talk.until("u")
    assert update["pos"] == served.position
    (row,) = update["q"]
    assert row.pop("timestamp").startswith("2026-11-23T09:15:00")
    assert row == {"symbol": "500325", "volume": 9, "bid_price": None, "depth": {"bids": None}, "rev": served.board.rev}


async def test_a_snapshot_comes_in_pieces_of_at_most_200(served, talk):
    messages = await begun(served, talk, *LONG[:450], fields="ltp")
    assert [len(each["q"]) for each in messages if each["t"] == "snap"] == [200, 200, 50]
    assert messages[-1]["count"] == 450


async def test_the_whole_market_is_everything_but_the_canary(served, talk):
    messages = await begun(served, talk, "*", hz=0)
    assert messages[0]["active"] == len(served.board.order) - 1
    shown = [row["symbol"] for each in messages if each["t"] == "snap" for row in each["q"]]
    assert sorted(shown) == sorted(set(served.board.rows) - {"000000"})
    await served.tick("000000", {field.VOLUME: 1})
    await served.tick("500325", {field.VOLUME: 77})
    assert [row["symbol"] for row in (await talk.until("u"))["q"]] == ["500325"]


async def test_groups_and_members_stand_for_their_scrips_and_take_in_new_ones(served, talk):
    messages = await begun(served, talk, "group:b", "IDX:SENSEX/members", "IDX:SENSEX", "group:nothing", hz=0)
    assert messages[0]["ok"] == ["group:B", "IDX:SENSEX/members", "IDX:SENSEX"]
    assert messages[0]["bad"][0]["code"] == "unknown_symbol"
    shown = [row["symbol"] for each in messages if each["t"] == "snap" for row in each["q"]]
    assert sorted(shown) == ["500325", "532540", "600002", "600003", "IDX:SENSEX"]
    await served.list_a_scrip(Instrument(symbol="600009", id="NEW", name="New Ltd.", group="B"))
    snap = await talk.until("snap")
    assert [row["id"] for row in snap["q"]] == ["NEW"]
    await talk.until("sync")
    await served.tick("600009", {field.VOLUME: 1})
    assert (await talk.until("u"))["q"][0]["symbol"] == "600009"


async def test_unsub_ends_it_at_once_and_says_what_was_never_there(served, talk):
    await begun(served, talk, "500325", "TCS", hz=0)
    await talk.say(t="unsub", id=2, symbols=["reliance", "500520"])
    ack = await talk.until("ack", id=2)
    assert (ack["ok"], ack["bad"], ack["active"]) == (["500325"], [{"symbol": "500520", "code": "not_subscribed"}], 1)
    await served.tick("500325", {field.VOLUME: 1})
    await served.tick("532540", {field.VOLUME: 2})
    assert [row["symbol"] for row in (await talk.until("u"))["q"]] == ["532540"]


async def test_set_replaces_the_list_and_what_is_shown(served, talk):
    await begun(served, talk, "500325", "TCS", hz=0)
    await talk.say(t="set", id=2, symbols=["TCS", "500520"])
    messages = await talk.all_until("sync", id=2)
    assert messages[0]["ok"] == ["532540", "500520"]
    assert [row["symbol"] for each in messages if each["t"] == "snap" for row in each["q"]] == ["500520"]
    await talk.say(t="set", id=3, fields=["volume"], hz=20)
    messages = await talk.all_until("sync", id=3)
    assert messages[0]["hz"] == 20
    shown = [row for each in messages if each["t"] == "snap" for row in each["q"]]
    assert [set(row) for row in shown] == [{"symbol", "volume", "rev"}] * 2
    await talk.say(t="list", id=4)
    told = await talk.until("list", id=4)
    assert (told["symbols"], told["active"], told["depth"], told["hz"]) == (["532540", "500520"], 2, 0, 20)


async def test_conflation_lets_the_last_value_arrive(served, talk):
    await begun(served, talk, "500325", hz=4)
    for volume in range(100, 140):
        await served.tick("500325", {field.VOLUME: volume})
        await asyncio.sleep(0)
    updates = [await talk.until("u")]
    while updates[-1]["q"][0]["volume"] != 139:
        updates.append(await talk.until("u"))
    assert len(updates) <= 3


async def test_resume_brings_exactly_what_changed(served, talk):
    sync = (await begun(served, talk, "500325", "TCS", "500520", hz=0))[-1]
    await served.tick("500325", {field.VOLUME: 50})
    await served.tick("532540", {field.VOLUME: 60, field.BID_PRICE: None})
    async with served.talk(binary=talk.binary) as again:
        await again.say(
            t="resume", id=9, pos=sync["pos"], symbols=["500325", "TCS", "500520"], fields="full", depth=0, hz=0
        )
        resumed = await again.until("resumed", id=9)
        assert (resumed["recovered"], resumed["changed"]) == (True, 2)
        update = await again.hear()
        assert update["t"] == "u"
        assert update["pos"] == served.position
        changed = {
            row["symbol"]: {name: value for name, value in row.items() if name not in ("symbol", "rev", "timestamp")}
            for row in update["q"]
        }
        assert changed == {"500325": {"volume": 50}, "532540": {"volume": 60, "bid_price": None}}
        assert [(await again.hear())["t"] for _ in range(2)] == ["market", "feed"]
        await served.tick("500520", {field.VOLUME: 70})
        assert (await again.until("u"))["q"][0]["volume"] == 70


async def test_resume_without_a_change_still_moves_the_position(served, talk):
    await talk.say(t="resume", id=1, pos=served.position, symbols=["500325"])
    assert (await talk.until("resumed"))["changed"] == 0
    assert await talk.hear() == {"t": "u", "pos": served.position, "q": []}


async def test_resume_from_another_epoch_begins_anew(served, talk):
    await talk.say(t="resume", id=1, pos=f"{OTHER}:1", symbols=["500325"])
    resumed = await talk.until("resumed")
    assert resumed["recovered"] is False
    assert [row["symbol"] for row in (await talk.until("snap"))["q"]] == ["500325"]
    assert (await talk.until("sync"))["pos"] == served.position


async def test_a_reader_that_is_ahead_waits_and_what_it_says_meanwhile_keeps_its_order(served, talk):
    ahead = f"{EPOCH}:{served.board.rev + 2}"
    await talk.say(t="resume", id=1, pos=ahead, symbols=["500325"], hz=0)
    await talk.say(t="sub", id=2, symbols=["TCS"])
    await talk.say(t="list", id=3)
    await served.tick("500325", {field.VOLUME: 50})
    await served.tick("500325", {field.VOLUME: 51})
    await served.tick("500325", {field.VOLUME: 52})
    messages = await talk.all_until("list")
    kinds = [each["t"] for each in messages if each["t"] not in ("market", "feed")]
    assert kinds == ["resumed", "u", "ack", "snap", "sync", "list"]
    assert messages[0]["recovered"] is True
    assert messages[1]["q"][0]["volume"] == 52
    assert messages[-1]["symbols"] == ["500325", "532540"]


async def test_a_reader_whose_history_is_lost_begins_anew_after_two_seconds(served, talk):
    await talk.say(t="resume", id=1, pos=f"{EPOCH}:{served.board.rev + 10}", symbols=["500325"])
    assert (await talk.until("resumed"))["recovered"] is False
    assert (await talk.until("sync"))["pos"] == served.position


async def test_a_new_epoch_reaches_everyone_with_whole_quotes(served, talk):
    await begun(served, talk, "500325", "group:B", hz=0)
    await served.begin(OTHER)
    reset = await talk.until("reset")
    assert reset["epoch"] == OTHER
    messages = await talk.all_until("sync")
    assert [each["t"] for each in messages] == ["market", "feed", "snap", "sync"]
    assert len(messages[2]["q"]) == 3
    assert messages[3]["pos"] == served.position
    await served.tick("500325", {field.VOLUME: 5})
    assert (await talk.until("u"))["pos"] == served.position


async def test_after_a_silence_there_is_a_heartbeat_that_carries_position_and_feeds():
    async with Served(heartbeat_ms=250) as served, served.talk() as talk:
        assert "pos" not in await talk.until("hb"), "without a subscription there is no position"
        await begun(served, talk, "500325")
        beat = await talk.until("hb")
        assert (beat["pos"], beat["feeds"]) == (served.position, {"script": "live"})
        await talk.say(t="set", id=2, heartbeat_ms=60_000)
        await talk.until("ack", id=2)
        with contextlib.suppress(TimeoutError):
            assert (await asyncio.wait_for(talk.wire.recv(), 0.6)) is None


async def test_a_scrip_that_stays_without_data_is_told_after_five_seconds(served, talk, monkeypatch):
    monkeypatch.setattr("bhavcast.gateway.session.NO_DATA_AFTER_S", 0.2)
    await begun(served, talk, "600001", "500325")
    assert await talk.until("status") == {"t": "status", "symbol": "600001", "state": "no_data"}


async def test_market_and_feed_are_told_when_they_change(served, talk):
    await served.fact("market", {"status": "closed"})
    assert await talk.until("market") == {"t": "market", "status": "closed"}
    await served.fact("feeds", {"script": {"state": "stale"}})
    assert await talk.until("feed") == {"t": "feed", "feed": "script", "state": "stale"}


# -- refusals -----------------------------------------------------------------------------------------------------------

WRONG: list[tuple[dict, str, str | None]] = [
    ({"t": "sub", "id": 7}, "bad_request", None),
    ({"t": "sub", "id": 7, "symbols": 5}, "bad_request", "symbols"),
    ({"t": "sub", "id": 7, "symbols": []}, "too_many_symbols", "symbols"),
    ({"t": "sub", "id": 7, "symbols": ["1"] * 501}, "too_many_symbols", "symbols"),
    ({"t": "sub", "id": 7, "symbols": ["500325"], "hz": "fast"}, "bad_request", "hz"),
    ({"t": "sub", "id": 7, "symbols": ["500325"], "hz": -1}, "bad_request", "hz"),
    ({"t": "sub", "id": 7, "symbols": ["500325"], "hz": 51}, "bad_request", "hz"),
    ({"t": "sub", "id": 7, "symbols": ["500325"], "fields": "everything"}, "bad_request", "fields"),
    ({"t": "sub", "id": 7, "symbols": ["500325"], "fields": ["bids"]}, "bad_request", "fields"),
    ({"t": "sub", "id": 7, "symbols": ["500325"], "depth": 6}, "bad_request", "depth"),
    ({"t": "sub", "id": 7, "symbols": ["500325"], "colour": "red"}, "bad_request", None),
    ({"t": "dance", "id": 7}, "bad_request", "t"),
    ({"id": 7}, "bad_request", None),
    ({"t": "set", "id": 7, "heartbeat_ms": 1}, "bad_request", "heartbeat_ms"),
    ({"t": "unsub", "id": 7, "symbols": []}, "too_many_symbols", "symbols"),
]


@pytest.mark.parametrize(("message", "code", "name"), WRONG)
async def test_what_is_wrong_is_answered_by_name_and_changes_nothing(served, talk, message, code, name):
    await begun(served, talk, "500325")
    await talk.say(**message)
    error = await talk.until("error")
    assert (error["id"], error["code"], error["temporary"]) == (7, code, False)
    assert error.get("field") == name
    await talk.say(t="list", id=8)
    assert (await talk.until("list"))["symbols"] == ["500325"]


async def test_a_position_that_is_none_is_refused(served, talk):
    await talk.say(t="resume", id=7, pos="yesterday", symbols=["500325"])
    error = await talk.until("error", id=7)
    assert (error["code"], error["field"]) == ("bad_request", "pos")


async def test_resume_after_a_subscription_is_refused(served, talk):
    await begun(served, talk, "500325")
    await talk.say(t="resume", id=2, pos=served.position, symbols=["TCS"])
    assert (await talk.until("error", id=2))["code"] == "bad_request"


async def test_ten_flaws_within_a_minute_end_the_connection_for_good(served, talk):
    for _ in range(10):
        await talk.say(t="dance")
    assert (await talk.closed())[0] == 4503
    assert not served.gateway.members


@pytest.mark.parametrize(
    "payload", ["", "null", "[]", "{", '{"t":1}', "\ud7ff", '{"t":"sub","symbols":["\\ud800"]}', "1" * 500, "[" * 5000]
)
async def test_whatever_text_comes_is_answered(served, payload):
    async with served.talk() as talk:
        await talk.wire.send(payload)
        messages = await talk.all_until("error") if "ud800" not in payload else [await talk.hear(), await talk.hear()]
        assert messages[-1]["t"] in ("error", "ack")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"\x90",
        b"\x81\x80\x01",  # a map as the key of a map
        b"\x82\xa1t\xa3sub\xa7symbols\xd6\xff\x00\x00\x00\x00",  # a time where symbols should be
        b"\x81\xa1t\xd9\xff",
        b"\x81\xa1t\xa1\xff",
        b"\x83\xa1t\xa4list\xa2id\x01\xa1x\xc7\x05\x01hello",
        b"\xdd\xff\xff\xff\xff",
        msgspec.msgpack.encode({"t": "list", "id": 2**63}),
        msgspec.msgpack.encode({"t": "list", "id": 1.5}),
    ],
)
async def test_whatever_bytes_come_are_answered(served, payload):
    async with served.talk(binary=True) as talk:
        await talk.wire.send(payload)
        assert (await talk.until("error"))["code"] == "bad_request"
        await talk.say(t="list", id=3)
        await talk.until("list", id=3)


@pytest.mark.parametrize(
    ("binary", "frame", "code"),
    [
        (False, framed(Opcode.TEXT, b'{"t":"' + b"x" * 70_000 + b'"}'), 1009),
        (True, framed(Opcode.BINARY, b"x" * 70_000), 1009),
        (False, framed(Opcode.BINARY, b"{}"), 1003),
        (True, framed(Opcode.TEXT, b"{}"), 1003),
        (False, framed(Opcode.TEXT, b"\xff\xfe"), 1007),
        (False, framed(Opcode.CONT, b"{}"), 1002),
        (False, b"\xc1\x82\0\0\0\0{}", 1002),  # a reserved bit
        (False, b"\x81\x02{}", 1002),  # not masked
    ],
    ids=range(8),
)
async def test_a_frame_that_may_not_be_ends_the_connection_with_its_number(served, binary, frame, code):
    async with served.talk(binary=binary) as talk:
        await talk.hear()
        talk.wire.transport.write(frame)
        assert (await talk.closed())[0] == code
    assert not served.gateway.members


async def test_a_message_may_come_in_fragments(served):
    async with served.talk() as talk:
        await talk.wire.send(["{", '"t":"list"', ',"id":', "5}"])
        assert (await talk.until("list"))["id"] == 5


async def test_many_fragments_are_one_message_for_the_limit(served):
    async with served.talk() as talk:
        with contextlib.suppress(Exception):
            await talk.wire.send(["x" * 10_000 for _ in range(8)])
        assert (await talk.closed())[0] == 1009


# -- the handshake ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "origin", "status", "code"),
    [
        ({"Host": "evil.example"}, None, 421, "foreign_host"),
        ({}, "http://evil.example", 403, "foreign_origin"),
        ({}, "null", 403, "foreign_origin"),
        ({}, "http://[", 403, "foreign_origin"),
    ],
)
async def test_who_may_not_come_is_refused_before_the_handshake(served, headers, origin, status, code):
    head = {"Host": "localhost", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    head |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} | headers | ({"Origin": origin} if origin else {})
    reply = await served.get("/ws", headers=list(head.items()))
    assert (reply.status, reply.json()["code"]) == (status, code)
    assert reply.header("content-type") == "application/problem+json"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"Sec-WebSocket-Key": "short"}, 400),
        ({"Sec-WebSocket-Key": None}, 400),
        ({"Sec-WebSocket-Version": "8"}, 400),
        ({"Sec-WebSocket-Protocol": "chat"}, 400),
    ],
)
async def test_a_malformed_handshake_is_refused_in_the_one_shape(served, change, status):
    head: dict[str, str | None] = {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
    }
    head |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} | change
    reply = await served.get("/ws", headers=[(name, value) for name, value in head.items() if value is not None])
    assert (reply.status, reply.json()["code"]) == (status, "bad_handshake")


async def test_websocket_is_only_at_its_path(served):
    with pytest.raises(InvalidStatus) as refused:
        async with connect(served.url.replace("http", "ws") + "/api/stocks", proxy=None):
            pass
    assert refused.value.response.status_code == 404


async def test_pages_of_this_service_and_allowed_ones_may_come(served):
    for origin in (FRIENDLY, f"http://127.0.0.1:{served.port}"):
        async with served.talk(origin=origin) as talk:
            assert (await talk.hear())["t"] == "hello"


async def test_who_offers_no_subprotocol_speaks_json_and_the_first_of_ours_is_taken(served):
    url = served.url.replace("http", "ws") + "/ws"
    async with connect(url, proxy=None) as wire:
        assert wire.subprotocol is None
        assert json.loads(await wire.recv())["t"] == "hello"
    offered = [Subprotocol(name) for name in ("chat", "bhavcast.v1.msgpack", "bhavcast.v1.json")]
    async with connect(url, proxy=None, subprotocols=offered) as wire:
        assert wire.subprotocol == "bhavcast.v1.msgpack"


async def test_more_streams_than_the_limit_are_turned_away_and_come_in_when_one_leaves():
    async with Served(connections=2) as served, served.talk() as first:
        await first.hear()
        async with served.talk() as second:
            await second.hear()
            with pytest.raises(InvalidStatus) as refused:
                async with served.talk():
                    pass
            assert refused.value.response.status_code == 503
            assert json.loads(refused.value.response.body or b"")["code"] == "too_many_connections"
            assert (await served.get("/api/stream?symbols=TCS")).json()["code"] == "too_many_connections"
        while len(served.gateway.members) > 1:  # noqa: ASYNC110 - the server notices a moment later
            await asyncio.sleep(0.01)
        async with served.talk() as third:
            assert (await third.hear())["t"] == "hello"


# -- the end ------------------------------------------------------------------------------------------------------------


async def test_a_stop_says_goodbye_with_4001_and_when_to_come_again(served, talk):
    await begun(served, talk, "500325")
    stopping = asyncio.create_task(served.stop())
    error = await talk.until("error")
    assert (error["code"], error["temporary"]) == ("draining", True)
    assert 1000 <= error["retry_ms"] <= 5000
    code, reason = await talk.closed()
    assert code == 4001
    assert reason == f"draining: retry_ms={error['retry_ms']}"
    await stopping


async def test_a_client_that_never_reads_is_sent_away_and_no_other_notices(served, monkeypatch):
    monkeypatch.setattr("bhavcast.hub.hub.SLOW_AFTER_S", 0.5)
    async with served.talk() as deaf, served.talk() as quick:
        await begun(served, quick, "500325", hz=0)
        await deaf.hear()
        (outbox,) = [each for each in served.gateway.hub.outboxes if not each.slots]
        deaf.wire.transport.pause_reading()
        deaf.wire.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await deaf.say(t="sub", id=1, symbols=LONG[:500], hz=0, depth=5)
        await asyncio.sleep(0.05)
        seen, most = 0, 0
        while outbox in served.gateway.hub.outboxes:
            bids = tuple((seen + 1, level + 1, 1) for level in range(5))
            await served.tick_all(LONG[:500], {field.VOLUME: seen + 10, field.BIDS: bids})
            await served.tick("500325", {field.VOLUME: 10_000 + seen})
            update = await asyncio.wait_for(quick.until("u"), 5)
            assert update["q"][0]["volume"] == 10_000 + seen
            seen += 1
            most = max(most, outbox.sink.buffered())
        assert seen > 1
        assert most < 3_000_000, "what waits for it is bounded by what it subscribed"
        deaf.wire.transport.resume_reading()
        code, _ = await deaf.closed()
        assert code in (4008, 1006), "told, or cut off when not even that was read"
        await served.tick("500325", {field.VOLUME: 5})
        assert (await quick.until("u"))["q"][0]["volume"] == 5


async def test_a_client_that_asks_and_never_reads_is_not_listened_to(served):
    async with served.talk() as greedy:
        await greedy.hear()
        await greedy.say(t="sub", id=1, symbols=LONG[:500])
        await greedy.until("sync")
        greedy.wire.transport.pause_reading()
        (outbox,) = served.gateway.hub.outboxes
        message = framed(Opcode.TEXT, b'{"t":"list"}')
        for _ in range(60):
            greedy.wire.transport.write(message * 500)
            for _ in range(5):
                await asyncio.sleep(0)
        await asyncio.sleep(0.3)
        assert outbox.sink.buffered() < 1_000_000
        greedy.wire.transport.resume_reading()
        for _ in range(30_000):
            assert (await greedy.until("list"))["active"] == 500


async def test_who_leaves_without_a_word_is_forgotten(served):
    for _ in range(5):
        async with served.talk() as talk:
            await begun(served, talk, "500325")
            talk.wire.transport.abort()
    while served.gateway.members:  # noqa: ASYNC110 - the server notices a moment later
        await asyncio.sleep(0.01)
    assert not served.gateway.hub.outboxes
    assert not served.gateway.hub.cohorts
