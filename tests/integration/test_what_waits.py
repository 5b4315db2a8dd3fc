"""What waits in the service is bounded, and stands in a metric: docs/explanation/links.md."""

import re
from pathlib import Path
from typing import Any

import pytest

from bhavcast.access.doorkeeper import Whence
from bhavcast.app.control import MOST_ERRANDS, LineControl
from bhavcast.domain.errors import Conflict
from bhavcast.flow import figures
from bhavcast.gateway.session import LINED_UP
from bhavcast.gateway.websocket import WebSocket
from bhavcast.telemetry.metrics import BY_NAME
from tests.docs.stage import EPOCH
from tests.integration.venue import Venue
from tests.scripted_line import Line
from tests.waiting import until


async def figure(venue: Venue, sample: str) -> float:
    """Return what /metrics says now."""
    told = (await venue.read("/metrics")).body.decode()
    return next(float(line.split()[-1]) for line in told.splitlines() if line.startswith(sample + " "))


async def test_messages_behind_a_resume_that_waits_are_counted_until_it_goes_on():
    async with Venue() as venue, venue.talk() as talk:
        await talk.until("hello")
        assert await figure(venue, "bhavcast_messages_waiting") == 0
        pos = f"{EPOCH}:{venue.board.rev + 1}"
        await talk.say({"t": "resume", "id": 1, "pos": pos, "symbols": ["500325"]})
        for number in range(2, 2 + LINED_UP):
            await talk.say({"t": "list", "id": number})
        await until(lambda: sum(each.lined_up for each in venue.gateway.members) == LINED_UP)  # type: ignore[attr-defined]  # sessions
        assert await figure(venue, "bhavcast_messages_waiting") == LINED_UP
        await venue.price("500325", 153_300)
        await talk.until("resumed")
        assert [(await talk.until("list"))["id"] for _ in range(LINED_UP)] == list(range(2, 2 + LINED_UP))
        assert await figure(venue, "bhavcast_messages_waiting") == 0


async def test_frames_that_came_while_the_wire_is_full_are_counted_until_it_is_not():
    async with Venue() as venue, venue.talk() as talk:
        await talk.until("hello")
        open_now: set[Any] = set(venue.server._server.server_state.connections)
        (ours,) = (each for each in open_now if isinstance(each, WebSocket))
        ours.full = True
        for number in range(3):
            await talk.say({"t": "list", "id": number})
        await until(lambda: ours.unread == 3)
        assert await figure(venue, "bhavcast_messages_waiting") == 3
        ours.resume_writing()
        assert [(await talk.until("list"))["id"] for _ in range(3)] == [0, 1, 2]
        assert await figure(venue, "bhavcast_messages_waiting") == 0


async def test_what_is_followed_by_name_is_counted_as_ingest_is_told_of_it():
    async with Venue() as venue, venue.talk() as talk:
        await talk.say({"t": "sub", "id": 1, "symbols": ["500325", "500112"]})
        await talk.until("sync")
        assert len(venue.gateway.interest()) == 2
        assert await figure(venue, "bhavcast_wanted") == 2


async def test_addresses_that_are_counted_are_counted():
    async with Venue() as venue:
        before = await figure(venue, 'bhavcast_accounts{kind="address"}')
        for last in range(1, 4):
            venue.gateway.door.stranger(Whence(f"192.0.2.{last}"))
        assert await figure(venue, 'bhavcast_accounts{kind="address"}') == before + 3
        assert await figure(venue, 'bhavcast_accounts{kind="key"}') == 0


async def test_gaps_and_errands_are_told_as_ingest_says_them(tmp_path: Path):
    line = await Line(tmp_path / "journal", "2026-11-23 09:15:05").start()
    for _ in range(2):
        line.line.errands.append(line.line.feed.close)
    async with Venue() as venue:
        told = {"ingest": figures(line.line), "gaps": [{"kind": "feed"}]}
        await venue.bus.publish(venue.board.seal(venue.board.rev, facts=told))
        await venue.settled()
        assert await figure(venue, "bhavcast_errands_waiting") == 2
        assert await figure(venue, "bhavcast_gaps") == 1


async def test_an_ingest_of_the_version_before_has_no_errands_to_tell_of(tmp_path: Path):
    line = await Line(tmp_path / "journal", "2026-11-23 09:15:05").start()
    said = figures(line.line)
    del said["errands"]
    async with Venue() as venue:
        await venue.bus.publish(venue.board.seal(venue.board.rev, facts={"ingest": said}))
        await venue.settled()
        assert await figure(venue, "bhavcast_errands_waiting") == 0


async def test_more_errands_than_ingest_comes_to_are_refused_at_once(tmp_path: Path):
    line = await Line(tmp_path / "journal", "2026-11-23 09:15:05").start()
    control = LineControl(line.line)
    for _ in range(MOST_ERRANDS):
        line.line.errands.append(line.line.feed.close)
    with pytest.raises(Conflict, match="has not come to them"):
        await control.release(1)
    assert len(line.line.errands) == MOST_ERRANDS


def test_every_row_of_the_table_says_where_it_is_seen(root: Path):
    page = (root / "docs" / "explanation" / "links.md").read_text(encoding="utf-8")
    rows = [line for line in page.partition("## What waits where")[2].splitlines() if line.startswith("|")][2:]
    assert len(rows) > 25
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == 5, row
        assert cells[4], f"seen nowhere: {row}"
        for name in re.findall(r"`(bhavcast_\w+|http_\w+)`", cells[4]):
            assert name in BY_NAME
