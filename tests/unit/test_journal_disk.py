"""The file journal on a disk that takes no more, and where its writer is killed."""

import errno
import os
import random
import signal
import subprocess
import sys
import textwrap
from itertools import pairwise
from pathlib import Path

from bhavcast.domain.change import fold
from bhavcast.journal.port import Journal
from bhavcast.journal.reader import messages, recover
from tests.journals import BOOT, journal, message, snapshot, state, written
from tests.small_disk import small_disk

# ------------------------------------------------------------------------------- a disk that does not take any more

ROOT = Path(__file__).parents[2]
# In processes of their own: what one does to itself must not happen to the tests.
BEGIN = """
import itertools, os, resource, sys
from pathlib import Path

from bhavcast.domain.change import Message
from bhavcast.journal.reader import recover
from tests.journals import *

directory = Path(sys.argv[1])
writer = journal(directory)

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
"""


def command(script: str, directory: Path) -> list[str]:
    return [sys.executable, "-c", BEGIN + textwrap.dedent(script), str(directory)]


def in_process(script: str, directory: Path) -> None:
    subprocess.run(command(script, directory), check=True, timeout=60, cwd=ROOT)


def test_a_full_disk_is_told_and_the_epoch_does_not_go_on_from_it(tmp_path):
    in_process(
        """
        writer.begin(snapshot())
        writer.append(message(101))
        limit(writer.size + 20)
        writer.append(message(103))
        assert writer.failing == "write: File too large", writer.failing
        assert writer.path.stat().st_size == writer.size
        writer.append(message(105))
        assert writer.lost == 2
        """,
        tmp_path,
    )
    recovery = recover(tmp_path, BOOT)
    assert recovery.snapshot == fold(snapshot(), [message(101)])
    assert (recovery.continues, recovery.reason) == (False, "a write failed since the last checkpoint")


def test_once_there_is_room_a_checkpoint_makes_the_journal_whole_again(tmp_path):
    in_process(
        """
        writer.begin(snapshot())
        limit(writer.size + 20)
        writer.append(message(101))
        writer.checkpoint(snapshot(102))
        assert writer.failing == "checkpoint: File too large", writer.failing
        limit(resource.RLIM_INFINITY)
        writer.append(message(103))
        assert writer.lost == 2
        writer.checkpoint(snapshot(104))
        assert writer.failing is None
        writer.append(message(105))
        """,
        tmp_path,
    )
    recovery = recover(tmp_path, BOOT)
    assert recovery.continues
    assert recovery.snapshot == fold(snapshot(104), [message(105)])


def test_a_disk_that_cannot_sync_is_failing_until_a_checkpoint_is_safely_on_it(tmp_path, monkeypatch):
    writer = journal(tmp_path)
    writer.begin(snapshot())

    def broken(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        writer.sync()
        assert writer.failing == "fsync: Input/output error"
        writer.append(message(101))
        writer.checkpoint(snapshot(102))
        assert writer.failing == "checkpoint: Input/output error"
        assert not recover(tmp_path, BOOT).continues
    writer.checkpoint(snapshot(104))
    healed: Journal = writer
    assert healed.failing is None
    assert writer.lost == 1
    recovery = recover(tmp_path, BOOT)
    assert recovery.continues
    assert recovery.snapshot == snapshot(104)


def test_an_epoch_that_could_not_be_opened_ends_the_one_before(tmp_path):
    in_process(
        """
        writer.begin(snapshot())
        writer.append(message(101))
        limit(100)
        writer.begin(snapshot(5000, epoch=LATER))
        assert writer.failing == "open: File too large", writer.failing
        assert not list(directory.glob("*.unfinished"))
        """,
        tmp_path,
    )
    recovery = recover(tmp_path, BOOT)
    assert recovery.snapshot == fold(snapshot(), [message(101)])
    assert not recovery.continues


def test_an_epoch_that_could_not_be_opened_is_opened_by_a_later_checkpoint(tmp_path):
    in_process(
        """
        limit(100)
        writer.begin(snapshot())
        writer.append(message(101))
        limit(resource.RLIM_INFINITY)
        writer.checkpoint(snapshot(102))
        assert (writer.failing, writer.lost) == (None, 1)
        """,
        tmp_path,
    )
    recovery = recover(tmp_path, BOOT)
    assert recovery.continues
    assert recovery.snapshot == snapshot(102)


def test_an_epoch_that_could_not_be_gone_on_with_is_retried_in_its_own_file(tmp_path):
    path, sent = written(tmp_path)
    in_process(
        """
        recovery = recover(directory, BOOT)
        limit(recovery.end + 10)
        writer.resume(recovery)
        assert writer.failing == "open: File too large", writer.failing
        assert not recover(directory, BOOT).continues
        limit(resource.RLIM_INFINITY)
        writer.checkpoint(snapshot(110))
        assert writer.failing is None
        """,
        tmp_path,
    )
    recovery = recover(tmp_path, BOOT)
    assert recovery.continues
    assert recovery.path == path
    assert list(messages(path)) == sent


def test_on_a_really_full_file_system_the_failure_is_known_to_the_next_start(tmp_path):
    with small_disk(tmp_path, "256k"):
        writer = journal(tmp_path)
        writer.begin(snapshot())
        first = 101
        while writer.failing is None:
            writer.append(message(first))
            first += 2
        assert writer.failing == "write: No space left on device"
        kept = first - 2 - 1
        recovery = recover(tmp_path, BOOT)
        assert not recovery.continues
        assert recovery.snapshot is not None
        assert recovery.snapshot.rev == kept
        writer.close()


# ------------------------------------------------------------------------------------------------------ killed writers

KILLED = """
recovery = recover(directory, BOOT)
if recovery.snapshot is None:
    writer.begin(snapshot())
else:
    writer.resume(recovery)
rev = 100 if recovery.snapshot is None else recovery.snapshot.rev
for number in itertools.count():
    writer.append(message(rev + 1, 200))
    rev += 200
    if number % 50 == 49:
        writer.checkpoint(state(rev))
    os.write(1, b"%d\\n" % rev)
"""


def test_a_killed_writer_loses_nothing_that_it_had_written(tmp_path):
    moments = random.Random(7)
    known = 100
    for _ in range(6):
        with subprocess.Popen(command(KILLED, tmp_path), stdout=subprocess.PIPE, cwd=ROOT) as process:
            assert process.stdout is not None
            for _ in range(moments.randrange(1, 400)):
                assert process.stdout.readline()
            process.send_signal(signal.SIGKILL)
            acknowledged = [
                int(line) for line in process.stdout.read().splitlines(keepends=True) if line.endswith(b"\n")
            ]
        recovery = recover(tmp_path, BOOT)
        assert recovery.continues, recovery.reason
        assert recovery.snapshot is not None
        assert recovery.snapshot.rev >= max(acknowledged, default=known)
        assert recovery.snapshot.rows == state(recovery.snapshot.rev).rows
        known = recovery.snapshot.rev
    assert known > 1000
    (path,) = tmp_path.glob("*.journal")
    revs = [(one.from_rev, one.to_rev) for one in messages(path)]
    assert all(after[0] == before[1] + 1 for before, after in pairwise(revs))
