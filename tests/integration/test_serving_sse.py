"""The event stream, over real sockets: its events, its ids, and how a browser goes on after a break."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from bhavcast.domain import field
from tests.docs.stage import EPOCH, NEXT_EPOCH, PATIENCE_S
from tests.integration.venue import DESK, Line, Venue, request
from tests.waiting import until

PLACE = "/api/stream?symbols="


class Events:
    """What an EventSource does: it puts chunks together, and remembers the last id that an event carried."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.text = b""
        self.last_id = ""
        self.with_id: list[str] = []

    async def _chunk(self) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            size = int(await self.line.reader.readuntil(b"\r\n"), 16)
            return (await self.line.reader.readexactly(size + 2))[:-2]

    async def block(self) -> list[str]:
        """Return the lines up to the next empty one."""
        while b"\n\n" not in self.text:
            chunk = await self._chunk()
            if not chunk:
                raise EOFError
            self.text += chunk
        raw, _, self.text = self.text.partition(b"\n\n")
        return raw.decode().split("\n")

    async def next(self) -> dict[str, Any]:
        """Return the next event's message."""
        lines = dict(line.split(": ", 1) for line in await self.block())
        assert lines.keys() <= {"id", "data"}
        message: dict[str, Any] = msgspec.json.decode(lines["data"])
        if "id" in lines:
            self.last_id = lines["id"]
            self.with_id.append(message["t"])
        return message

    async def wait(self, kind: str) -> dict[str, Any]:
        """Return the next message of a kind."""
        while (message := await self.next())["t"] != kind:
            pass
        return message


@contextlib.asynccontextmanager
async def events(venue: Venue, query: str, *headers: str) -> AsyncIterator[Events]:
    async with venue.line() as line:
        await line.send(request(PLACE + query, *headers))
        head = await line.head()
        assert head.status == 200, head
        assert head.header("content-type") == "text/event-stream"
        assert head.header("transfer-encoding") == "chunked"
        assert head.header("cache-control") == "no-cache"
        opened = Events(line)
        assert await opened.block() == ["retry: 2000"]
        yield opened


async def test_a_stream_has_a_snapshot_then_what_changes():
    async with Venue() as venue, events(venue, "500325,M%26M,TWIN&hz=0&depth=1") as stream:
        assert (await stream.next())["t"] == "hello"
        ack = await stream.wait("ack")
        assert ack["ok"] == ["500325", "500520"]
        assert [each["code"] for each in ack["bad"]] == ["ambiguous_symbol"]
        snap = await stream.wait("snap")
        assert snap["q"] == (await venue.read("/api/stocks/batch?symbols=500325,M%26M&depth=1")).told
        assert stream.last_id == ""  # a snapshot that breaks off is nothing to resume from
        sync = await stream.wait("sync")
        assert stream.last_id == sync["pos"] == f"{EPOCH}:{venue.board.rev}"
        await venue.tick("500325", {field.CURRENT_PRICE: 153300, field.YEAR_HIGH: None})
        update = await stream.wait("u")
        assert stream.last_id == update["pos"] == f"{EPOCH}:{venue.board.rev}"
        assert update["q"][0]["year_high"] is None
        await venue.fact("market", {"status": "closed"})
        await stream.wait("market")
        assert stream.with_id == ["sync", "u"]


async def test_every_piece_of_a_snapshot_is_without_an_id():
    async with Venue() as venue, events(venue, "*") as stream:
        sync = await stream.wait("sync")
        assert sync["count"] == 10
        assert stream.with_id == ["sync"]


async def test_a_browser_goes_on_where_it_was():
    async with Venue() as venue:
        async with events(venue, "500325,532540&hz=0") as stream:
            await stream.wait("sync")
            last = stream.last_id
        await venue.price("500325", 153300)
        for header, query in ((f"Last-Event-ID: {last}", ""), ("Accept: */*", f"&since={last}")):
            async with events(venue, "500325,532540&hz=0" + query, header) as stream:
                resumed = await stream.wait("resumed")
                assert (resumed["recovered"], resumed["changed"]) == (True, 1)
                update = await stream.next()
                assert [row["symbol"] for row in update["q"]] == ["500325"]
                assert stream.last_id == update["pos"] == f"{EPOCH}:{venue.board.rev}"
                assert stream.with_id == ["u"]
        # The header is the later one: the address stays what it was when the page opened it.
        now = f"{EPOCH}:{venue.board.rev}"
        async with events(venue, f"500325&since={last}", f"Last-Event-ID: {now}") as stream:
            assert (await stream.wait("resumed"))["changed"] == 0


async def test_another_epoch_begins_anew():
    async with Venue() as venue, events(venue, "500325&hz=0", f"Last-Event-ID: {NEXT_EPOCH}:1") as stream:
        assert (await stream.wait("resumed"))["recovered"] is False
        assert (await stream.wait("sync"))["pos"] == stream.last_id == f"{EPOCH}:{venue.board.rev}"
        await venue.begin(NEXT_EPOCH)
        assert (await stream.wait("reset"))["epoch"] == NEXT_EPOCH
        assert stream.last_id.startswith(EPOCH)
        assert (await stream.wait("sync"))["pos"] == stream.last_id
        assert stream.last_id.startswith(NEXT_EPOCH)


async def test_heartbeats_carry_the_position_once_there_is_one():
    async with Venue() as venue, events(venue, "500325") as stream:
        await stream.wait("sync")
        [member] = venue.gateway.members
        member.beat(asyncio.get_running_loop().time() + 61)
        assert (await stream.wait("hb"))["pos"] == stream.last_id
        assert stream.with_id == ["sync", "hb"]


async def test_what_is_wrong_is_refused_before_anything_streams():
    async with Venue() as venue, venue.line() as line:
        for query, headers, code, named in (
            ("", (), "bad_request", "symbols"),
            (",", (), "bad_request", "symbols"),
            ("500325,,532540", (), "bad_request", "symbols"),
            ("500325,", (), "bad_request", "symbols"),
            ("500325&hz=fast", (), "bad_request", "hz"),
            ("500325&hz=51", (), "bad_request", "hz"),
            ("500325&hz=nan", (), "bad_request", "hz"),
            ("500325&hz=inf", (), "bad_request", "hz"),
            ("500325&depth=1.5", (), "bad_request", "depth"),
            ("500325&depth=6", (), "bad_request", "depth"),
            ("500325&fields=price", (), "bad_request", "fields"),
            ("500325&colour=red", (), "bad_request", "colour"),
            ("500325&symbols=532540", (), "bad_request", "symbols"),
            ("500325&since=yesterday", (), "bad_request", "Last-Event-ID"),
            ("500325", ("Last-Event-ID: 7",), "bad_request", "Last-Event-ID"),
            ("500325", (f"Last-Event-ID: {EPOCH}:-1",), "bad_request", "Last-Event-ID"),
            ("500325", (f"Last-Event-ID: {EPOCH}:99999999999999999999",), "bad_request", "Last-Event-ID"),
            (",".join(["500325"] * 501), (), "too_many_symbols", "symbols"),
        ):
            answer = await line.ask(request(PLACE + query, *headers))
            assert answer.refused(400, code).get("field") == named, query
        for method in ("POST", "PUT"):
            (await line.ask(request(PLACE + "500325", method=method))).refused(405, "method_not_allowed")
        assert not venue.gateway.members


async def test_an_allowed_page_may_read_the_stream():
    async with Venue() as venue, venue.line() as line:
        await line.send(request(PLACE + "500325", f"Origin: {DESK}"))
        head = await line.head()
        assert (head.status, head.header("access-control-allow-origin")) == (200, DESK)


async def test_a_client_that_leaves_is_forgotten():
    async with Venue() as venue:
        async with events(venue, "500325") as stream:
            await stream.wait("sync")
            assert len(venue.gateway.members) == 1
        await until(lambda: not venue.gateway.members)
        assert not venue.gateway.hub.outboxes


async def test_a_stream_ends_when_the_service_does():
    async with Venue() as venue, events(venue, "500325") as stream:
        await stream.wait("sync")
        await venue.server.stop()
        assert (await stream.wait("error"))["code"] == "draining"
        with pytest.raises(EOFError):
            await stream.next()
