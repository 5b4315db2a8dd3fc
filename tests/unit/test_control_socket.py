"""An operator's word between processes: a real socket, and a real ingest behind it."""

import asyncio
import contextlib
import socket
import stat
from pathlib import Path

import pytest
import structlog
from msgspec import json

from bhavcast.app.control import LineControl
from bhavcast.app.control_socket import AT_ONCE, LINE_BYTES, SocketControl, listening, socket_of
from bhavcast.domain.errors import (
    AmbiguousSymbol,
    BadRequest,
    BhavcastError,
    Conflict,
    NoKey,
    TooManyStreams,
    Unauthenticated,
    UnknownSource,
    again,
)
from bhavcast.telemetry import log as logs
from tests.scripted_line import Line

SOON_S = 0.05
PATIENCE_S = 10.0


@pytest.fixture
async def line(tmp_path: Path) -> Line:
    """An ingest whose feed can be paused."""
    return (await Line(tmp_path / "journal", "2026-11-23 09:15:05").start()).supervised()


async def say(data: Path, line: bytes) -> dict:
    """What is answered to a line."""
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_unix_connection(socket_of(data))
        with contextlib.closing(writer):
            writer.write(line)
            answer = await reader.readuntil()
            assert await reader.read() == b""
    return json.decode(answer)


@contextlib.asynccontextmanager
async def peer(data: Path, answer: bytes | None):
    """Somebody else at the socket: one that answers so, or (None) never."""
    done = asyncio.Event()

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answer is None:
            await done.wait()
        else:
            writer.write(answer)
        writer.close()

    async with await asyncio.start_unix_server(serve, socket_of(data)):
        yield
        done.set()


async def test_a_feed_is_paused_and_resumed_from_another_process(tmp_path, line):
    control = SocketControl(tmp_path)
    async with listening(tmp_path, LineControl(line.line)):
        await control.pause("script")
        assert line.line.feed.state == "paused"
        await control.resume("script")
        assert line.line.feed.state != "paused"


async def test_what_the_ingest_refuses_is_refused_in_the_same_words(tmp_path, line):
    ours, control = LineControl(line.line), SocketControl(tmp_path)
    async with listening(tmp_path, ours):
        for act, kind in (("pause", UnknownSource), ("resume", UnknownSource), ("prefer", UnknownSource)):
            with pytest.raises(kind) as there:
                await getattr(ours, act)("nse")
            with pytest.raises(kind) as here:
                await getattr(control, act)("nse")
            assert (here.value.detail, here.value.field) == (there.value.detail, there.value.field)
            assert here.value.field == "source"
        with pytest.raises(Conflict, match="the only one"):
            await control.prefer("script")


async def test_an_ingest_that_lost_its_lease_is_not_the_one_to_ask(tmp_path, line):
    line.line.orphan = "b has the lease"
    control = SocketControl(tmp_path)
    async with listening(tmp_path, LineControl(line.line)):
        for asked in (control.pause("script"), control.prefer("script"), control.release(1)):
            with pytest.raises(Conflict, match="b has the lease"):
                await asked
        assert line.line.feed.state != "paused"


async def test_a_tick_that_is_not_in_quarantine_is_not_released(tmp_path, line):
    async with listening(tmp_path, LineControl(line.line)):
        asked = asyncio.create_task(SocketControl(tmp_path).release(10**19 - 1))
        async with asyncio.timeout(PATIENCE_S):
            while not line.line.errands:  # noqa: ASYNC110 - it comes through a socket, and a deque tells nobody
                await asyncio.sleep(0)
        await line.line.errands.popleft()()
        with pytest.raises(BadRequest) as refused:
            await asked
        assert refused.value.field == "id"


async def test_what_is_released_is_told(tmp_path, line):
    class Releasing(LineControl):
        async def release(self, entry_id):
            return {"id": entry_id, "symbol": "500325"}

    async with listening(tmp_path, Releasing(line.line)):
        assert await SocketControl(tmp_path).release(17) == {"id": 17, "symbol": "500325"}


async def test_the_level_of_the_log_is_passed_on(tmp_path, line):
    before = logs.set_level("info")
    try:
        async with listening(tmp_path, LineControl(line.line)):
            await SocketControl(tmp_path).log_level("error")
            assert logs.set_level("info") == "error"
    finally:
        logs.set_level(before)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"x" * (LINE_BYTES + 1), "at most"),
        (b'{"act":"pause","source":"' + b"x" * (2 * LINE_BYTES) + b'"}\n', "at most"),
        (b"\xff\x00garbage\n", "expected a request"),
        (b"\n", "expected a request"),
        (b'{"act":"explode"}\n', "expected a request"),
        (b'{"act":"pause"}\n', "source"),
        (b'{"act":"pause","source":"sim","more":1}\n', "more"),
        (b'{"act":"release","entry_id":"x"}\n', "entry_id"),
        (b'{"act":"log_level","level":"loud"}\n', "level"),
    ],
    ids=["endless", "oversize", "garbage", "empty", "unknown", "no-source", "too-much", "no-number", "no-level"],
)
async def test_what_is_no_request_is_refused_and_the_next_one_is_heard(tmp_path, line, said, why):
    async with listening(tmp_path, LineControl(line.line)):
        error = (await say(tmp_path, said))["error"]
        assert error["code"] == "bad_request"
        assert why in error["detail"]
        await SocketControl(tmp_path).pause("script")
        assert line.line.feed.state == "paused"


async def test_each_side_tells_the_other_that_it_speaks_a_newer_version(tmp_path, line):
    async with listening(tmp_path, LineControl(line.line)):
        error = (await say(tmp_path, b'{"v":2,"act":"explode","more":1}\n'))["error"]
        assert error["code"] == "conflict"
        assert "expected version 1 of its format (control socket), got 2" in error["detail"]
        assert (await say(tmp_path, b'{"act":"pause","source":"script"}\n'))["v"] == 1, "who says none speaks the first"
    async with peer(tmp_path, b'{"v":2,"outcome":"done"}\n'):
        with pytest.raises(Conflict, match="the answer of the ingest — expected version 1"):
            await SocketControl(tmp_path).pause("script")


async def test_who_says_nothing_is_told_so_and_keeps_nobody_waiting(tmp_path, line):
    async with listening(tmp_path, LineControl(line.line), within_s=SOON_S):
        assert "within 0.05 s" in (await say(tmp_path, b"half a li"))["error"]["detail"]


async def test_who_goes_in_the_middle_of_a_line_is_no_fault(tmp_path, line):
    async with listening(tmp_path, LineControl(line.line)):
        reader, writer = await asyncio.open_unix_connection(socket_of(tmp_path))
        with contextlib.closing(writer):
            writer.write(b'{"act":')
            writer.write_eof()
            assert b"got an end" in await reader.read()


async def test_more_at_once_than_are_heard_are_refused(tmp_path, line):
    async with listening(tmp_path, LineControl(line.line), within_s=PATIENCE_S), contextlib.AsyncExitStack() as open_:
        for _ in range(AT_ONCE):
            _, writer = await asyncio.open_unix_connection(socket_of(tmp_path))
            open_.callback(writer.close)
        with pytest.raises(Conflict, match="at most 16"):
            await SocketControl(tmp_path).pause("script")
        assert line.line.feed.state != "paused"


async def test_a_fault_of_the_ingest_is_told_by_a_number_and_logged_in_full(tmp_path, line):
    class Faulty(LineControl):
        async def pause(self, source):
            raise RuntimeError("a bug")

    async with listening(tmp_path, Faulty(line.line)):
        with structlog.testing.capture_logs() as lines, pytest.raises(BhavcastError, match="in its log as") as told:
            await SocketControl(tmp_path).pause("sim")
    assert told.value.code == "internal"
    assert lines[0]["incident"] in told.value.detail
    assert "bug" not in told.value.detail


async def test_an_ingest_that_never_answers_is_waited_for_only_so_long(tmp_path):
    async with peer(tmp_path, None):
        with pytest.raises(Conflict, match=r"answer within 0\.05 s.*whether it was done is not known"):
            await SocketControl(tmp_path, within_s=SOON_S).pause("sim")


@pytest.mark.parametrize("answer", [b"", b"half", b"x" * (LINE_BYTES + 1), b"[]\n"])
async def test_an_answer_that_is_none_is_not_taken_for_one(tmp_path, answer):
    async with peer(tmp_path, answer):
        with pytest.raises(Conflict, match="got none that can be read"):
            await SocketControl(tmp_path).pause("sim")


async def test_where_no_ingest_listens_it_is_said_whom_to_ask(tmp_path, line):
    control, ask = SocketControl(tmp_path), "ask a gateway on the host of the ingest"
    with pytest.raises(Conflict, match=ask):
        await control.pause("script")
    async with listening(tmp_path, LineControl(line.line)):
        await control.pause("script")
    assert not socket_of(tmp_path).exists()
    with pytest.raises(Conflict, match=ask):
        await control.resume("script")
    with pytest.raises(Conflict, match=ask):
        await SocketControl(tmp_path / "nowhere").pause("script")
    assert not (tmp_path / "nowhere").exists()


async def test_a_socket_left_over_from_a_crash_is_nobody_and_is_replaced(tmp_path, line):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(socket_of(tmp_path)))
    with pytest.raises(Conflict, match="there is none now"):
        await SocketControl(tmp_path).pause("script")
    async with listening(tmp_path, LineControl(line.line)):
        await SocketControl(tmp_path).pause("script")
        assert line.line.feed.state == "paused"


async def test_only_this_user_can_connect(tmp_path, line):
    async with listening(tmp_path, LineControl(line.line)):
        assert stat.S_IMODE(socket_of(tmp_path).stat().st_mode) == 0o600
        assert stat.S_IMODE(socket_of(tmp_path).parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("obstacle", ["file", "folder", "system"])
async def test_an_ingest_that_cannot_listen_says_so_and_goes_on(tmp_path, line, monkeypatch, obstacle):
    if obstacle == "file":
        socket_of(tmp_path).write_text("mine")
    elif obstacle == "folder":
        socket_of(tmp_path).parent.chmod(0o755)
    else:
        monkeypatch.delattr(socket, "AF_UNIX")
    with structlog.testing.capture_logs() as lines:
        async with listening(tmp_path, LineControl(line.line)):
            pass
    assert [each["event"] for each in lines] == ["gateways cannot pass on what operators ask for"]
    monkeypatch.undo()
    if obstacle == "file":
        assert socket_of(tmp_path).read_text() == "mine"


def test_an_error_is_the_same_kind_again_where_detail_and_field_are_all_of_it():
    for kind in (BadRequest, Conflict, UnknownSource, Unauthenticated):
        error = again(kind.code, "why", "source")
        assert (type(error), error.detail, error.field) == (kind, "why", "source")
    assert type(again(NoKey.code, "why")) is Unauthenticated
    for code in (AmbiguousSymbol.code, TooManyStreams.code, "of another version"):
        assert type(again(code, "why")) is BhavcastError
