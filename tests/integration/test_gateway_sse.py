"""Server-Sent Events over real sockets: the same frames, resumed by `Last-Event-ID`."""

import asyncio
import json
import socket

import pytest

from bhavcast.domain import field
from tests.served import EPOCH, LONG, OTHER, PATIENCE_S, Raw, Served


@pytest.fixture(params=["hot", "cold"])
async def served(request):
    async with Served(hot_path=request.param == "hot") as served:
        yield served


class Events:
    """An event stream as a browser reads it: `last_id` is what it would come back with."""

    def __init__(self, raw: Raw) -> None:
        self.raw = raw
        self.last_id: str | None = None
        self.head = b""
        self._text = ""

    async def open(self, served: Served, query: str, **headers: str) -> "Events":
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        await self.raw.send(f"GET /api/stream?{query} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode())
        self.head = await self.raw.reader.readuntil(b"\r\n\r\n")
        assert b" 200 OK" in self.head, self.head
        assert b"text/event-stream" in self.head
        return self

    async def event(self) -> dict:
        """Return the message of the next event."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                event, found, rest = self._text.partition("\n\n")
                if not found:
                    size = int(await self.raw.reader.readuntil(b"\r\n"), 16)
                    self._text += (await self.raw.reader.readexactly(size)).decode()
                    await self.raw.reader.readexactly(2)
                    if size == 0:
                        raise EOFError
                    continue
                self._text = rest
                lines = dict(line.split(": ", 1) for line in event.splitlines())
                if "data" in lines:
                    message: dict = json.loads(lines["data"])
                    assert lines.get("id") == message.get("pos"), "an id is for the event that completes a position"
                    self.last_id = lines.get("id", self.last_id)
                    return message

    async def until(self, kind: str) -> dict:
        while (message := await self.event())["t"] != kind:
            pass
        return message


async def test_a_stream_shows_completes_and_moves(served):
    async with served.raw() as raw:
        events = await Events(raw).open(served, "symbols=RELIANCE,999999,M%26M&hz=0&fields=ltp")
        assert (await events.event())["t"] == "hello"
        ack = await events.event()
        assert (ack["ok"], ack["bad"][0]["code"]) == (["500325", "500520"], "unknown_symbol")
        assert [row["symbol"] for row in (await events.event())["q"]] == ["500325", "500520"]
        assert events.last_id is None
        await events.until("sync")
        assert events.last_id == served.position
        await served.tick("500325", {field.VOLUME: 9})
        assert (await events.until("u"))["q"][0]["volume"] == 9
        assert events.last_id == served.position


async def test_a_reader_that_comes_back_gets_exactly_what_changed(served):
    async with served.raw() as raw:
        events = await Events(raw).open(served, "symbols=500325,TCS&hz=0")
        await events.until("sync")
    await served.tick("500325", {field.VOLUME: 9})
    async with served.raw() as raw:
        again = await Events(raw).open(served, "symbols=500325,TCS&hz=0", Last_Event_ID=str(events.last_id))
        resumed = await again.until("resumed")
        assert (resumed["recovered"], resumed["changed"]) == (True, 1)
        (row,) = (await again.event())["q"]
        assert {name for name in row if name != "timestamp"} == {"symbol", "volume", "rev"}
        assert again.last_id == served.position


async def test_a_position_of_another_epoch_begins_anew_and_a_query_may_carry_it(served):
    async with served.raw() as raw:
        events = await Events(raw).open(served, f"symbols=500325&since={OTHER}:5")
        assert (await events.until("resumed"))["recovered"] is False
        assert (await events.until("snap"))["q"][0]["id"] == "RELIANCE"


async def test_a_reset_reaches_event_streams(served):
    async with served.raw() as raw:
        events = await Events(raw).open(served, "symbols=500325&hz=0")
        await events.until("sync")
        await served.begin(OTHER)
        assert (await events.until("reset"))["epoch"] == OTHER
        await events.until("sync")
        assert events.last_id == served.position


@pytest.mark.parametrize(
    ("query", "headers", "status", "code", "name"),
    [
        ("", [], 400, "bad_request", "symbols"),
        ("symbols=", [], 400, "bad_request", "symbols"),
        ("symbols=500325&fields=nonsense", [], 400, "bad_request", "fields"),
        ("symbols=500325&depth=9", [], 400, "bad_request", "depth"),
        ("symbols=500325&depth=x", [], 400, "bad_request", "depth"),
        ("symbols=500325&hz=99", [], 400, "bad_request", "hz"),
        ("symbols=500325&hz=nan", [], 400, "bad_request", "hz"),
        ("symbols=500325&hz=inf", [], 400, "bad_request", "hz"),
        ("symbols=500325&hz=x", [], 400, "bad_request", "hz"),
        ("symbols=500325&colour=red", [], 400, "bad_request", "colour"),
        ("symbols=" + ",".join(LONG[:501]), [], 400, "too_many_symbols", "symbols"),
        ("symbols=500325", [("Last-Event-ID", "yesterday")], 400, "bad_request", "Last-Event-ID"),
    ],
)
async def test_what_is_wrong_is_refused_before_a_stream_begins(served, query, headers, status, code, name):
    reply = await served.get(f"/api/stream?{query}", headers=headers)
    assert (reply.status, reply.json()["code"], reply.json()["field"]) == (status, code, name)
    assert reply.header("content-type") == "application/problem+json"
    assert not served.gateway.members


async def test_only_get_opens_a_stream(served):
    for method in ("POST", "HEAD", "DELETE"):
        reply = await served.get("/api/stream?symbols=TCS", method)
        assert (reply.status, reply.header("allow")) == (405, "GET")


async def test_who_leaves_is_forgotten(served):
    async with served.raw() as raw:
        events = await Events(raw).open(served, "symbols=500325")
        await events.until("sync")
        assert len(served.gateway.members) == 1
    while served.gateway.members:  # noqa: ASYNC110 - the server notices a moment later
        await asyncio.sleep(0.01)


async def test_a_stop_ends_the_streams_properly(served):
    async with served.raw() as raw:
        events = await Events(raw).open(served, "symbols=500325")
        await events.until("sync")
        stopping = asyncio.create_task(served.stop())
        assert (await events.until("error"))["code"] == "draining"
        with pytest.raises(EOFError):
            await events.event()
        await stopping


async def test_a_reader_that_never_reads_is_cut_off(monkeypatch):
    monkeypatch.setattr("bhavcast.hub.hub.SLOW_AFTER_S", 0.5)
    async with Served() as served, served.raw() as deaf:
        deaf.writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await Events(deaf).open(served, f"symbols={','.join(LONG[:500])}&hz=0&depth=5")
        deaf.reader._transport.pause_reading()
        seen = 0
        async with asyncio.timeout(PATIENCE_S):
            while served.gateway.members or served.server._server.server_state.connections:
                bids = tuple((seen + 1, level + 1, 1) for level in range(5))
                await served.tick_all(LONG[:500], {field.VOLUME: seen + 10, field.BIDS: bids})
                seen += 1
                await asyncio.sleep(0.01)
        assert served.position.startswith(EPOCH)
