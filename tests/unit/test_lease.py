import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bhavcast.domain.errors import NotTheWriter
from bhavcast.journal.lease import DirectoryLease

HOLDER = """
import sys
from pathlib import Path
from bhavcast.journal.lease import DirectoryLease
lease = DirectoryLease(Path(sys.argv[1]))
lease.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def holder(directory: Path, script: str = HOLDER) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_with_the_pid_of_the_first(tmp_path):
    with holder(tmp_path) as process:
        with pytest.raises(NotTheWriter, match=f"written by process {process.pid}$") as caught:
            DirectoryLease(tmp_path).acquire()
        assert str(tmp_path) in caught.value.detail
        process.communicate()
    DirectoryLease(tmp_path).acquire()


def test_the_lease_of_a_killed_process_is_free_at_once(tmp_path):
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        lease = DirectoryLease(tmp_path)
        lease.acquire()
        assert lease.held
        assert re.fullmatch(rf"{os.getpid()}\n", (tmp_path / "writer.lock").read_text())


def test_two_leases_of_one_process_exclude_each_other_too(tmp_path):
    first, second = DirectoryLease(tmp_path), DirectoryLease(tmp_path)
    first.acquire()
    first.acquire()
    with pytest.raises(NotTheWriter):
        second.acquire()
    assert not second.held
    first.release()
    first.release()
    second.acquire()
    second.release()


def test_the_directory_and_the_lock_are_the_owners_alone(tmp_path):
    lease = DirectoryLease(tmp_path / "var")
    lease.acquire()
    assert (tmp_path / "var").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "var" / "writer.lock").stat().st_mode & 0o777 == 0o600
    lease.release()


def test_a_program_that_the_killed_holder_had_started_does_not_keep_it(tmp_path):
    child = "import sys; print('held', flush=True); sys.stdin.read()"
    script = HOLDER.replace(
        'print("held", flush=True)', f"subprocess.Popen([sys.executable, '-c', {child!r}], close_fds=False)"
    )
    with holder(tmp_path, "import subprocess\n" + script) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        lease = DirectoryLease(tmp_path)
        lease.acquire()
        lease.release()
