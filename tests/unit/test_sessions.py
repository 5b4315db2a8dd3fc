"""Sessions, kept in memory and in a folder that several processes share: the same of both."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bhavcast.access.sessions import LIFE_S, MOST_PER_KEY, SessionFolder, Sessions
from bhavcast.domain.access import Key
from bhavcast.domain.errors import Unavailable
from bhavcast.telemetry.clock import ManualClock
from tests.small_disk import small_disk

DESK = Key(id="1", name="desk", role="viewer", sha256="0", created=0)
OPS = Key(id="2", name="ops", role="operator", sha256="1", created=0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["memory", "folder"])
def sessions(request, tmp_path, clock) -> Sessions:
    return Sessions(clock, None if request.param == "memory" else SessionFolder(tmp_path / "sessions", "boot"))


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "sessions"


def beside(folder: Path, clock: ManualClock, boot_id: str = "boot") -> Sessions:
    """What another process has."""
    return Sessions(clock, SessionFolder(folder, boot_id))


def test_a_session_is_found_until_it_ends_or_is_over(sessions, clock):
    cookie, session = sessions.begin(DESK)
    assert sessions.find(cookie) == session
    assert sessions.stands(session)
    assert sessions.find("another") is None
    sessions.end(cookie)
    sessions.end(cookie)
    assert sessions.find(cookie) is None
    assert not sessions.stands(session)
    cookie, session = sessions.begin(DESK)
    clock.advance(LIFE_S)
    assert sessions.find(cookie) is None
    assert not sessions.stands(session)
    sessions.begin(DESK)
    assert len(sessions) == 1, "what is over is forgotten"


@pytest.mark.parametrize("hours", [-24, -1, 1, 24])
def test_a_jump_of_the_wall_clock_ends_no_session_and_lengthens_none(sessions, clock, hours):
    cookie, _ = sessions.begin(DESK)
    clock.jump_wall(hours * 3600)
    assert sessions.find(cookie)
    clock.advance(LIFE_S)
    assert sessions.find(cookie) is None


def test_the_oldest_of_a_key_goes_first_and_another_key_keeps_its_own(sessions, clock):
    other, _ = sessions.begin(OPS)
    cookies = []
    for _ in range(MOST_PER_KEY + 2):
        clock.advance(1)
        cookies.append(sessions.begin(DESK)[0])
    assert [sessions.find(cookie) is None for cookie in cookies[:3]] == [True, True, False]
    assert sessions.find(other)
    assert len(sessions) == MOST_PER_KEY + 1


def test_what_one_process_begins_or_ends_holds_for_the_others_at_once(folder, clock):
    one, other = beside(folder, clock), beside(folder, clock)
    cookie, session = one.begin(DESK)
    assert other.find(cookie) == session
    assert other.find(cookie) == session, "also where it was read before"
    one.end(cookie)
    assert other.find(cookie) is None
    assert not other.stands(session)
    assert len(other) == 0


def test_a_session_of_an_earlier_start_of_the_machine_is_none(folder, clock):
    cookie, _ = beside(folder, clock, "before").begin(DESK)
    now = beside(folder, clock)
    assert now.find(cookie) is None
    now.begin(DESK)
    assert len(now) == 1, "nor does it stay"


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"v":2,"boot_id":"boot","key_id":"1","csrf":"x","until":9e9}', b"\xff"]
)
def test_what_is_no_session_of_ours_opens_nothing(folder, clock, content):
    sessions = beside(folder, clock)
    cookie, session = sessions.begin(DESK)
    (folder / session.id).write_bytes(content)
    assert beside(folder, clock).find(cookie) is None


def test_neither_the_cookie_nor_the_key_stands_in_a_file_and_others_cannot_read_it(folder, clock):
    before = os.umask(0)
    try:
        cookie, session = beside(folder, clock).begin(DESK)
    finally:
        os.umask(before)
    path = folder / session.id
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert cookie.encode() not in path.read_bytes()
    assert cookie not in path.name


def test_where_nothing_can_be_kept_that_is_said_and_nothing_is_left(tmp_path, clock):
    with small_disk(tmp_path, "64k"):
        sessions = beside(tmp_path / "sessions", clock)
        sessions.end(sessions.begin(DESK)[0])
        with contextlib.suppress(OSError), (tmp_path / "other").open("wb", buffering=0) as other:
            while True:
                other.write(b"x")
        with pytest.raises(Unavailable, match="No space left"):
            sessions.begin(DESK)
        assert list((tmp_path / "sessions").iterdir()) == []


def test_monotonic_time_is_the_same_for_all_processes_of_this_machine():
    """What sharing stands on."""
    import time

    program = "import time; print(time.monotonic())"
    before = time.monotonic()
    there = float(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout)
    assert before < there < time.monotonic()
