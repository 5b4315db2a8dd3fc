"""Sealed journals are read like others, and are removed only when a start does not need them."""

import os
import random
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from bhavcast.journal import archive, layout
from bhavcast.journal.reader import journals, messages, read, read_opening, recover
from bhavcast.journal.survey import survey
from tests.journals import BOOT, EPOCH, MARKET, journal, message, snapshot, written

DAY_MS = archive.DAY_MS


def epochs(directory: Path, count: int) -> list[Path]:
    """Journals of `count` epochs, the last one being written; each a day older than the next, by its time."""
    writer, paths = journal(directory), []
    for number in range(count):
        first = 1000 * (number + 1)
        writer.begin(snapshot(first, epoch=f"e{number}", market=MARKET + number * DAY_MS))
        writer.append(message(first + 1, epoch=f"e{number}"))
        assert writer.path is not None
        paths.append(writer.path)
    for number, path in enumerate(paths):
        at = (MARKET + number * DAY_MS) / 1000
        os.utime(path, (at, at))
    return paths


def tidy(current: Path, *, now: int = MARKET, days: int = 1000, size: int = 2**40) -> archive.Tidied:
    return archive.tidy(current, now, keep_days=days, keep_bytes=size, stopped=lambda: False)


def test_a_sealed_journal_gives_what_it_gave_before(tmp_path):
    path, sent = written(tmp_path)
    before, content = read(path), path.read_bytes()
    sealed = archive.seal(path)
    assert not path.exists()
    assert sealed.stat().st_mode & 0o777 == 0o600
    assert sealed.stat().st_size < len(content)
    assert journals(tmp_path) == [sealed]
    assert read_opening(sealed).epoch == EPOCH
    assert list(messages(sealed)) == sent
    after = read(sealed)
    assert (after.snapshot, after.end, after.torn, after.whole) == (before.snapshot, before.end, 0, True)


def test_from_a_sealed_journal_the_state_is_recovered_but_no_epoch_goes_on(tmp_path):
    path, _ = written(tmp_path)
    state = recover(tmp_path, BOOT).snapshot
    archive.seal(path)
    recovery = recover(tmp_path, BOOT)
    assert recovery.snapshot == state
    assert not recovery.continues


def test_every_changed_byte_and_every_cut_of_a_sealed_journal_is_found(tmp_path):
    sealed = archive.seal(written(tmp_path)[0])
    content = sealed.read_bytes()
    for place in range(len(content)):
        broken = bytearray(content)
        broken[place] ^= 0x10
        sealed.write_bytes(broken)
        found = survey(sealed)
        assert found.damage is not None or place < 18, place  # the first bytes say how it was packed, not what
        sealed.write_bytes(content[:place])
        assert survey(sealed).damage is not None


def test_all_but_the_current_journal_are_sealed_and_a_second_time_nothing_is_left_to_do(tmp_path):
    paths = epochs(tmp_path, 3)
    leftover = tmp_path / f"x{layout.SEALED_SUFFIX}{layout.UNFINISHED_SUFFIX}"
    leftover.touch()
    assert tidy(paths[-1]) == archive.Tidied(2, 0)
    assert [path.name for path in journals(tmp_path)] == [f"{p.name}.zst" for p in paths[:2]] + [paths[2].name]
    assert not leftover.exists()
    assert tidy(paths[-1]) == archive.Tidied(0, 0)
    assert recover(tmp_path, BOOT).continues


def test_what_is_too_old_goes_but_never_what_a_start_may_need(tmp_path):
    paths = epochs(tmp_path, 4)
    assert tidy(paths[-1], now=MARKET + 3 * DAY_MS, days=2) == archive.Tidied(3, 1)
    assert tidy(paths[-1], now=MARKET + 999 * DAY_MS, days=2) == archive.Tidied(0, 1)
    assert [path.name for path in journals(tmp_path)] == [f"{paths[2].name}.zst", paths[3].name]
    assert len(list(tmp_path.glob("*.pointer"))) == 2
    assert recover(tmp_path, BOOT).continues


def test_of_too_many_bytes_the_oldest_go(tmp_path):
    paths = epochs(tmp_path, 4)
    tidy(paths[-1])
    newest_two = sum(path.stat().st_size for path in journals(tmp_path)[1:3])
    assert tidy(paths[-1], size=newest_two) == archive.Tidied(0, 1)
    assert tidy(paths[-1], size=1) == archive.Tidied(0, 1)
    assert len(journals(tmp_path)) == 2


def test_a_journal_that_cannot_be_read_does_not_count_as_the_one_a_start_may_need(tmp_path):
    paths = epochs(tmp_path, 3)
    paths[1].write_bytes(b"no journal")
    tidy(paths[-1], size=1)
    assert [path.name for path in journals(tmp_path)] == [f"{paths[0].name}.zst", paths[2].name]


def test_a_stop_leaves_everything_as_it_was(tmp_path):
    path, sent = written(tmp_path)
    for megabytes in range(2):  # while it is packed, and while it is read back
        left = iter([False] * megabytes + [True] * 9)
        done = archive.tidy(tmp_path / "x", 0, keep_days=9, keep_bytes=2**40, stopped=lambda: next(left))  # noqa: B023 - called within the turn
        assert done == archive.Tidied(0, 0)
        assert sorted(tmp_path.iterdir()) == [path, layout.pointer_path(path)]
    assert list(messages(path)) == sent


def test_without_room_a_journal_stays_as_it_is(tmp_path):
    path, _ = written(tmp_path)
    content = path.read_bytes()
    script = f"""
        import resource, signal
        from pathlib import Path
        from bhavcast.journal import archive
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        print(archive.tidy(Path({str(tmp_path / "other")!r}), 0, keep_days=1000, keep_bytes=2**40, stopped=bool).sealed)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "0"
    assert "journal not sealed" in done.stdout
    assert journals(tmp_path) == [path]
    assert path.read_bytes() == content


def test_a_survey_tells_what_a_checkpoint_made_good_from_what_nothing_did(tmp_path):
    writer = journal(tmp_path)
    writer.begin(snapshot())
    writer.append(message(101))
    writer.checkpoint(snapshot(120))
    writer.append(message(121))
    assert writer.path is not None
    found = survey(writer.path)
    assert (found.gaps, found.holes, found.last_rev) == ([(103, 120)], [], 122)


def test_a_survey_names_ranges_and_holes(tmp_path):
    writer = journal(tmp_path)
    writer.begin(snapshot())
    writer.append(message(101))
    writer.append(message(110))
    assert writer.path is not None
    found = survey(writer.path)
    assert (found.messages, found.checkpoints, found.first_rev, found.last_rev) == (2, 1, 100, 111)
    assert (found.holes, found.damage, found.torn, found.closed) == ([(103, 109)], None, 0, False)
    with writer.path.open("ab") as file:
        file.write(b"\x03torn")
    assert survey(writer.path).torn == 5


WRITER = """
    import sys, threading
    from pathlib import Path
    from bhavcast.telemetry.clock import ManualClock
    from tests.journals import journal, message, snapshot
    writer = journal(Path(sys.argv[1]))
    writer.begin(snapshot())
    def sync():
        while True:
            writer.sync()
            print(writer.synced_rev, flush=True)
    threading.Thread(target=sync, daemon=True).start()
    rev = 101
    while True:
        writer.append(message(rev))
        rev += 2
        if rev % 1000 == 1:
            writer.checkpoint(snapshot(rev - 1))
"""


@pytest.mark.parametrize("seed", range(4))
def test_no_revision_that_was_told_to_be_synced_is_lost_by_a_kill(tmp_path, seed, root):
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=root
    )
    assert process.stdout is not None
    try:
        told = [int(process.stdout.readline()) for _ in range(random.Random(seed).randint(2, 60))]
    finally:
        process.kill()
    told += [int(line) for line in process.stdout.read().splitlines() if line]
    process.stdout.close()
    process.wait()
    recovery = recover(tmp_path, BOOT)
    assert recovery.continues
    assert recovery.snapshot is not None
    assert recovery.snapshot.rev >= told[-1] > 100
    assert told == sorted(told)
