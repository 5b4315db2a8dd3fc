"""The supervisor over real processes: small Python programs that do what a role may do."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest
import structlog

from bhavcast.app import supervise, tether
from bhavcast.app.supervise import LOOP, Role, Supervisor
from bhavcast.telemetry.clock import SystemClock
from tests.waiting import until

pytestmark = pytest.mark.slow

PATIENCE_S = 30.0
READY = "from bhavcast.app.notify import notify; import time, signal, sys; notify(READY='1', STATUS='here'); "
STAY = READY + "signal.pause()"


def role(name: str, program: str, **options) -> Role:
    return Role(name, [sys.executable, "-c", textwrap.dedent(program)], **options)


@contextlib.asynccontextmanager
async def supervised(folder: Path, *roles: Role):
    supervisor = Supervisor(roles, folder, SystemClock(), chance=lambda: 0.0)
    running = asyncio.create_task(supervisor.run())
    try:
        yield supervisor, running
    finally:
        supervisor.stop()
        await asyncio.wait_for(running, PATIENCE_S)


async def test_all_are_up_when_each_has_said_so_and_a_stop_ends_them_all(tmp_path):
    async with supervised(tmp_path, role("one", STAY), role("two", STAY)) as (supervisor, running):
        await asyncio.wait_for(supervisor.whole.wait(), PATIENCE_S)
        one, two = supervisor.children
        assert one.status == "here"
        told = supervise.read(tmp_path)
        assert told == {
            "one": {"state": "up", "pid": one.pid, "restarts": 0},
            "two": {"state": "up", "pid": two.pid, "restarts": 0},
        }
        supervisor.stop()
        assert await asyncio.wait_for(running, PATIENCE_S) == 0
        assert [one.pid, two.pid] == [None, None]
    assert supervise.read(tmp_path) == {}


async def test_one_that_is_killed_is_started_again_alone(tmp_path):
    async with supervised(tmp_path, role("one", STAY), role("two", STAY)) as (supervisor, _):
        await asyncio.wait_for(supervisor.whole.wait(), PATIENCE_S)
        one, two = supervisor.children
        first, other = one.pid, two.pid
        one.send(signal.SIGKILL)
        await until(lambda: one.state == "up" and one.pid != first)
        assert supervise.read(tmp_path)["one"]["restarts"] == 1
        assert two.pid == other


async def test_one_that_ends_over_and_over_is_seen_to(tmp_path, monkeypatch):
    monkeypatch.setattr(supervise, "FIRST_S", 0.001)
    with structlog.testing.capture_logs() as logged:
        async with supervised(tmp_path, role("poor", READY + "time.sleep(0.05); sys.exit(9)")) as (supervisor, _):
            await until(lambda: supervisor.children[0].state == "crash_loop")
            assert supervise.read(tmp_path)["poor"] == {"state": "crash_loop", "pid": None, "restarts": LOOP}
    endings = [line for line in logged if line["event"].startswith("a role ended")]
    assert endings[LOOP - 1]["crash_loop"] is True
    assert endings[0]["crash_loop"] is False
    assert endings[0]["ended"] == "with exit code 9"


async def test_one_that_says_why_it_does_not_start_ends_the_start(tmp_path):
    async with supervised(tmp_path, role("one", STAY), role("two", "import sys; sys.exit(2)")) as (_, running):
        assert await asyncio.wait_for(running, PATIENCE_S) == 2


async def test_a_higher_stage_has_gone_before_the_next_is_asked_to(tmp_path):
    diary = tmp_path / "diary"
    keeps = f"""
        import signal, sys, time
        from bhavcast.app.notify import notify
        def leave(*_):
            with open({str(diary)!r}, "a") as file:
                file.write(f"{{sys.argv[1]}} asked\\n"); file.flush()
                time.sleep(0.1)
                file.write(f"{{sys.argv[1]}} gone\\n")
            sys.exit(0)
        signal.signal(signal.SIGTERM, leave)
        notify(READY="1")
        while True:
            signal.pause()
    """
    roles = [
        Role(name, [sys.executable, "-c", textwrap.dedent(keeps), name], stage=stage)
        for name, stage in (("low", 0), ("high", 2), ("middle", 1))
    ]
    async with supervised(tmp_path, *roles) as (supervisor, _):
        await asyncio.wait_for(supervisor.whole.wait(), PATIENCE_S)
    names = [line.split()[0] for line in diary.read_text().splitlines()]
    assert names == ["high", "high", "middle", "middle", "low", "low"]


async def test_one_that_does_not_stop_is_killed(tmp_path):
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + STAY
    async with supervised(tmp_path, role("deaf", deaf, stops_within=0.2)) as (supervisor, _):
        await asyncio.wait_for(supervisor.whole.wait(), PATIENCE_S)
    assert supervisor.children[0].code == -signal.SIGKILL


async def test_one_that_cannot_say_it_is_ready_is_asked(tmp_path):
    said = iter((False, False, True))

    async def answers() -> bool:
        return next(said)

    async with supervised(tmp_path, role("mute", "import signal; signal.pause()", answers=answers)) as (supervisor, _):
        await asyncio.wait_for(supervisor.whole.wait(), PATIENCE_S)
    assert next(said, None) is None


PARENT = """
import asyncio, sys
from pathlib import Path
from bhavcast.app.supervise import Role, Supervisor
from bhavcast.telemetry import log
from bhavcast.telemetry.clock import SystemClock

async def main():
    log.configure("console", "error")
    stay = "import signal; from bhavcast.app.notify import notify; notify(READY='1'); signal.pause()"
    supervisor = Supervisor([Role("one", [sys.executable, "-c", stay])], Path(sys.argv[1]), SystemClock())
    running = asyncio.create_task(supervisor.run())
    await supervisor.whole.wait()
    print(supervisor.children[0].pid, flush=True)
    await running

asyncio.run(main())
"""


def test_nothing_outlives_a_supervisor_that_is_killed(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as supervisor:
        assert supervisor.stdout is not None
        child = psutil.Process(int(supervisor.stdout.readline()))
        supervisor.kill()
        supervisor.wait(PATIENCE_S)
        child.wait(PATIENCE_S)
    assert supervise.read(tmp_path) == {}, "what a dead supervisor wrote is not believed"


@pytest.mark.parametrize("system", ["linux", "other"])
def test_a_tethered_program_dies_with_the_one_that_started_it_on_any_system(tmp_path, system):
    """Where the system cannot be asked, a watcher sees the pipe end."""
    parent = f"""
        import os, subprocess, sys
        reading, writing = os.pipe()
        code = "from bhavcast.app.tether import main; main({{}}, {{}}, ['sleep', '600'], {system!r})"
        program = subprocess.Popen([sys.executable, "-c", code.format(os.getpid(), reading)], pass_fds=[reading])
        os.close(reading)
        print(program.pid, flush=True)
        sys.stdin.read()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(parent)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        program = psutil.Process(int(process.stdout.readline()))
        while program.name() != "sleep":
            os.sched_yield()
        process.kill()
        process.wait(PATIENCE_S)
        program.wait(PATIENCE_S)


def test_a_program_whose_starter_is_gone_already_does_not_run(tmp_path):
    done = subprocess.run(
        [sys.executable, "-I", "-S", tether.__file__, "1", "0", "touch", str(tmp_path / "ran")],
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == tether.CANNOT_RUN
    assert not (tmp_path / "ran").exists()


def test_words_that_are_not_known_are_not_believed(tmp_path):
    assert supervise.read(tmp_path) == {}
    for words in ("{", "[]", json.dumps({"version": 99, "supervisor": os.getpid(), "roles": {"one": {}}})):
        (tmp_path / supervise.FILE_NAME).write_text(words)
        assert supervise.read(tmp_path) == {}
