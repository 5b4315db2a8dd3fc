import errno
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from itertools import pairwise
from pathlib import Path

import pytest

from bhavcast.domain import field, record
from bhavcast.domain.change import Change, Message, RowImage, Snapshot, encode, fold
from bhavcast.domain.errors import BadRecord
from bhavcast.journal import layout
from bhavcast.journal.port import Journal
from bhavcast.journal.reader import messages, read, read_opening, recover
from bhavcast.journal.writer import FileJournal
from bhavcast.telemetry.clock import ManualClock

EPOCH = "20261123T0345Z-9f1c03ab77de5a20"
LATER = "20261124T0230Z-0123456789abcdef"
MARKET = 1_795_406_100_000  # 23 Nov 2026, 09:25 in India
BOOT = "8f0c7a52-1d7b-4b2e-9d53-3d0f6f1f9a11"


def row(symbol: str, rev: int, price: int) -> RowImage:
    numbers = range(field.COUNT)
    values = [price if number == field.CURRENT_PRICE else None for number in numbers]
    return RowImage(symbol, rev, list(values), [rev if number == field.CURRENT_PRICE else 0 for number in numbers])


def snapshot(rev: int = 100, *, epoch: str = EPOCH, market: int = MARKET) -> Snapshot:
    rows = [row("500325", rev, 193130), row("532540", rev - 1, 313200)]
    return Snapshot(epoch=epoch, rev=rev, token=7, market=market, rows=rows, facts={"phase": "open"}, instruments=[])


def message(from_rev: int, count: int = 2, *, epoch: str = EPOCH) -> Message:
    changes = [Change("500325", from_rev + n, {field.CURRENT_PRICE: from_rev + n}) for n in range(count)]
    to_rev = from_rev + count - 1
    return Message(epoch=epoch, token=7, from_rev=from_rev, to_rev=to_rev, published=MARKET + from_rev, changes=changes)


def journal(directory: Path, *, boot: str = BOOT) -> FileJournal:
    return FileJournal(directory, ManualClock(), boot_id=boot, directory_token="d1", program="0.1.0")


def written(directory: Path, count: int = 5) -> tuple[Path, list[Message]]:
    """Write a checkpoint at 100 and `count` messages after it, and leave as a killed process does: without closing."""
    writer = journal(directory)
    writer.begin(snapshot())
    sent = [message(101 + 2 * n) for n in range(count)]
    for one in sent:
        writer.append(one)
    assert writer.failing is None
    assert writer.path is not None
    return writer.path, sent


def test_the_documented_bytes_of_the_pointer_are_the_real_ones():
    pointer = layout.Pointer(803198, sound=True)
    assert pointer.pack().hex(" ") == "02 00 00 00 00 00 0c 41 7e 01 1a 4a 84 ea"
    assert layout.unpack_pointer(pointer.pack()) == pointer


def test_a_file_journal_is_a_journal(tmp_path):
    port: Journal = journal(tmp_path)
    port.close()


def test_nothing_is_recovered_from_an_empty_directory(tmp_path):
    recovery = recover(tmp_path, BOOT)
    assert (recovery.snapshot, recovery.continues, recovery.reason) == (None, False, "no journal")
    assert recovery.market is None


def test_what_was_written_is_recovered_without_a_close_and_the_epoch_goes_on(tmp_path):
    path, sent = written(tmp_path)
    recovery = recover(tmp_path, BOOT)
    assert recovery.snapshot == fold(snapshot(), sent)
    assert (recovery.continues, recovery.reason, recovery.path) == (True, "the journal is whole", path)
    assert recovery.market == sent[-1].published


def test_bytes_that_the_caller_encoded_are_written_as_they_are(tmp_path):
    writer = journal(tmp_path)
    writer.begin(snapshot())
    writer.append(message(101), encode(message(101)))
    assert list(messages(tmp_path / path_name())) == [message(101)]


def path_name(epoch: str = EPOCH, date: str = "2026-11-23") -> str:
    return f"{date}-{epoch}.journal"


def test_the_file_is_named_by_the_date_in_india_and_the_epoch(tmp_path):
    late = MARKET - MARKET % 86_400_000 + 18 * 3_600_000 + 31 * 60_000  # 18:31 UTC is the next day there
    for market, date in ((MARKET, "2026-11-23"), (late, "2026-11-24")):
        writer = journal(tmp_path)
        writer.begin(snapshot(market=market))
        assert writer.path == tmp_path / path_name(date=date)


def test_the_opening_says_who_writes(tmp_path):
    path, _ = written(tmp_path)
    opening = read_opening(path)
    assert (opening.epoch, opening.rev, opening.token, opening.boot_id) == (EPOCH, 100, 7, BOOT)
    assert (opening.directory_token, opening.program, opening.resumed) == ("d1", "0.1.0", False)
    assert (opening.started, opening.market) == (ManualClock().wall_ms(), MARKET)


def test_only_the_owner_can_read_it(tmp_path):
    before = os.umask(0)
    try:
        path, _ = written(tmp_path / "var" / "journal")
    finally:
        os.umask(before)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert {entry.stat().st_mode & 0o777 for entry in path.parent.iterdir()} == {0o600}


def test_recovery_reads_from_the_last_checkpoint(tmp_path):
    writer = journal(tmp_path)
    writer.begin(snapshot())
    writer.append(message(101))
    writer.checkpoint(snapshot(102))
    tail = writer.tail
    writer.append(message(103))
    assert writer.path is not None
    recovered = read(writer.path)
    assert recovered.snapshot == fold(snapshot(102), [message(103)])
    assert (recovered.messages, recovered.end) == (1, writer.size)
    assert recovered.checkpoint + tail < writer.size
    assert [one.from_rev for one in messages(writer.path)] == [101, 103]


def test_a_checkpoint_whose_pointer_was_not_written_any_more_counts(tmp_path):
    path, _ = written(tmp_path)
    before = layout.pointer_path(path).read_bytes()
    with path.open("ab") as file:
        file.write(record.frame(layout.CHECKPOINT, encode(snapshot(110))))
        file.write(record.frame(layout.MESSAGE, encode(message(111))))
    assert layout.pointer_path(path).read_bytes() == before
    assert recover(tmp_path, BOOT).snapshot == fold(snapshot(110), [message(111)])


@pytest.mark.parametrize("content", [None, b"", b"\0" * 13, b"\xff" * 40, layout.Pointer(60, sound=True).pack()])
def test_without_its_pointer_the_state_is_found_the_long_way(tmp_path, content):
    path, sent = written(tmp_path)
    pointer = layout.pointer_path(path)
    pointer.unlink() if content is None else pointer.write_bytes(content)
    recovery = recover(tmp_path, BOOT)
    assert recovery.snapshot == fold(snapshot(), sent)
    assert recovery.continues is (content == layout.Pointer(60, sound=True).pack())


def test_a_file_cut_at_any_byte_gives_the_messages_before_the_cut(tmp_path):
    path, sent = written(tmp_path)
    data, ends = path.read_bytes(), [item.end for item in records_of(path)]
    for cut in range(len(data)):
        os.truncate(path, cut) if cut < path.stat().st_size else path.write_bytes(data[:cut])
        whole = sum(end <= cut for end in ends) - 2  # messages, after the open record and the checkpoint
        if whole < 0:
            with pytest.raises(BadRecord):
                read(path)
            continue
        recovered = read(path)
        assert recovered.snapshot == fold(snapshot(), sent[:whole])
        assert recovered.whole
        assert (recovered.end, recovered.torn) == (ends[whole + 1], cut - ends[whole + 1])


def records_of(path: Path) -> list[record.Record]:
    return list(record.records([path.read_bytes()], record.Decoder(record.JOURNAL)))


def test_after_a_changed_byte_nothing_is_trusted(tmp_path):
    path, sent = written(tmp_path)
    data, items = path.read_bytes(), records_of(path)
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x40]) + data[place + 1 :])
        damaged = next(index for index, item in enumerate(items) if place < item.end)
        if damaged < 2:
            with pytest.raises(BadRecord):
                read(path)
            continue
        recovered = read(path)
        assert recovered.snapshot == fold(snapshot(), sent[: damaged - 2])
        assert (recovered.whole, recovered.offset, recovered.torn) == (False, items[damaged].offset, 0)
        assert f"at byte {items[damaged].offset}" in recovered.reason
        assert not recover(tmp_path, BOOT).continues


def test_before_a_damaged_checkpoint_the_one_before_it_is_used(tmp_path):
    writer = journal(tmp_path)
    writer.begin(snapshot())
    writer.append(message(101))
    writer.checkpoint(snapshot(102))
    assert writer.path is not None
    data = bytearray(writer.path.read_bytes())
    data[-1] ^= 1
    writer.path.write_bytes(data)
    recovered = read(writer.path)
    assert recovered.snapshot == fold(snapshot(), [message(101)])
    assert not recovered.whole


def test_a_record_with_sound_bytes_and_foreign_content_is_damage(tmp_path):
    path, sent = written(tmp_path)
    with path.open("ab") as file:
        file.write(record.frame(layout.MESSAGE, b"\x93\x01\x02\x03"))
    recovered = read(path)
    assert recovered.snapshot == fold(snapshot(), sent)
    assert re.search(r"not a message.* at byte \d+", recovered.reason)


def test_a_hole_ends_what_is_known_until_the_next_checkpoint(tmp_path):
    writer = journal(tmp_path)
    writer.begin(snapshot())
    writer.append(message(101))
    writer.append(message(105))
    recovery = recover(tmp_path, BOOT)
    assert recovery.snapshot == fold(snapshot(), [message(101)])
    assert not recovery.continues
    assert recovery.reason == "records are missing: expected revisions from 103, got 105 to 106"
    writer.checkpoint(snapshot(106))
    assert recover(tmp_path, BOOT).continues


def test_a_checkpoint_never_goes_back(tmp_path):
    writer = journal(tmp_path)
    writer.begin(snapshot())
    path = writer.path
    assert path is not None
    with path.open("ab") as file:
        file.write(record.frame(layout.CHECKPOINT, encode(snapshot(99))))
    assert "goes back" in recover(tmp_path, BOOT).reason


@pytest.mark.parametrize("boot", ["another", ""])
def test_after_a_new_start_of_the_machine_the_epoch_is_a_new_one(tmp_path, boot):
    _, sent = written(tmp_path)
    recovery = recover(tmp_path, boot)
    assert recovery.snapshot == fold(snapshot(), sent)
    assert not recovery.continues
    assert recovery.reason.startswith("the machine was started anew")


def test_in_a_copy_that_was_put_back_the_epoch_does_not_go_on(tmp_path):
    writer, sent = journal(tmp_path / "live"), [message(101)]
    writer.begin(snapshot())
    writer.append(sent[0])
    path = writer.path
    assert path is not None
    writer.close()  # and so its inode is free for the copy
    assert recover(path.parent, BOOT).continues
    shutil.copytree(tmp_path / "live", tmp_path / "backup")
    path.unlink()
    shutil.copy2(tmp_path / "backup" / path.name, path)
    for directory in ("live", "backup"):
        recovery = recover(tmp_path / directory, BOOT)
        assert recovery.snapshot == fold(snapshot(), sent)
        assert (recovery.continues, recovery.reason) == (False, "the file was copied or restored")


def test_the_newest_epoch_is_the_one_with_the_highest_revisions_whatever_its_date(tmp_path):
    writer = journal(tmp_path)
    writer.begin(snapshot())
    writer.append(message(101))
    earlier = snapshot(5000, epoch=LATER, market=MARKET - 5 * 86_400_000)
    writer.begin(earlier)
    writer.append(message(5001, epoch=LATER))
    recovery = recover(tmp_path, BOOT)
    assert recovery.continues
    assert recovery.snapshot == fold(earlier, [message(5001, epoch=LATER)])


def test_a_new_epoch_closes_the_one_before(tmp_path):
    path, _ = written(tmp_path)
    assert not read(path).closed
    writer = journal(tmp_path)
    writer.begin(snapshot(200))
    writer.begin(snapshot(5000, epoch=LATER))
    assert read(tmp_path / path_name()).closed


def test_behind_an_unusable_journal_the_one_before_gives_a_state_but_no_epoch(tmp_path):
    writer = journal(tmp_path)
    writer.begin(snapshot())
    writer.append(message(101))
    writer.begin(snapshot(5000, epoch=LATER))
    assert writer.path is not None
    newest = writer.path
    whole = newest.read_bytes()
    for broken in (whole[:100], b"\xff" + whole[1:], whole[:-30], b""):
        newest.write_bytes(broken)
        recovery = recover(tmp_path, BOOT)
        assert recovery.snapshot == fold(snapshot(), [message(101)])
        assert (recovery.continues, recovery.reason) == (False, "a newer journal is unusable")
        assert len(recovery.skipped) == 1
        assert recovery.skipped[0].startswith(newest.name)


def test_an_old_journal_that_rotted_does_not_hinder_the_newest(tmp_path):
    path, _ = written(tmp_path)
    rotten = tmp_path / "2025-01-01-old.journal"
    rotten.write_bytes(b"rotten")
    os.utime(rotten, ns=(0, path.stat().st_mtime_ns - 10**9))
    recovery = recover(tmp_path, BOOT)
    assert recovery.continues
    assert len(recovery.skipped) == 1


def test_an_epoch_that_was_being_opened_does_not_count(tmp_path):
    path, sent = written(tmp_path)
    (tmp_path / "2026-11-24-x.unfinished").write_bytes(path.read_bytes()[:50])
    recovery = recover(tmp_path, BOOT)
    assert recovery.continues
    assert recovery.snapshot == fold(snapshot(), sent)


def test_going_on_cuts_the_torn_tail_and_opens_again(tmp_path):
    path, sent = written(tmp_path)
    with path.open("ab") as file:
        file.write(record.frame(layout.MESSAGE, encode(message(111)))[:-3])
    recovery = recover(tmp_path, BOOT)
    assert (recovery.continues, recovery.torn > 0) == (True, True)
    writer = journal(tmp_path)
    writer.resume(recovery)
    writer.append(message(111))
    assert writer.failing is None
    assert writer.path == path
    again = recover(tmp_path, BOOT)
    assert again.continues
    assert again.snapshot == fold(snapshot(), [*sent, message(111)])
    assert list(messages(path)) == [*sent, message(111)]
    openings = [layout.decode_opening(item.payload) for item in records_of(path) if item.type == layout.OPEN]
    assert [opening.resumed for opening in openings] == [False, True]


def test_going_on_where_the_epoch_does_not_is_refused(tmp_path):
    written(tmp_path)
    with pytest.raises(ValueError, match="started anew"):
        journal(tmp_path).resume(recover(tmp_path, "another"))


def test_closing_is_final_idempotent_and_visible(tmp_path):
    writer = journal(tmp_path)
    writer.begin(snapshot())
    path = writer.path
    assert path is not None
    writer.close()
    writer.close()
    writer.sync()
    assert read(path).closed
    assert recover(tmp_path, BOOT).continues
    writer.append(message(101))
    assert (writer.failing, writer.lost) == ("no epoch has begun", 1)


def test_syncing_in_another_thread_goes_with_new_epochs(tmp_path):
    writer = journal(tmp_path)
    writer.begin(snapshot())
    done = threading.Event()

    def keep_syncing() -> None:
        while not done.is_set():
            writer.sync()

    thread = threading.Thread(target=keep_syncing)
    thread.start()
    try:
        for number in range(20):
            writer.begin(snapshot(1000 + number, epoch=f"{LATER[:-2]}{number:02}"))
            writer.append(message(1001 + number, epoch=f"{LATER[:-2]}{number:02}"))
    finally:
        done.set()
        thread.join()
    assert (writer.failing, writer.lost) == (None, 0)


# ------------------------------------------------------------------------------- a disk that does not take any more

# In processes of their own: what one does to itself must not happen to the tests, and this module is what they share.
BEGIN = f"""
import importlib.util, itertools, os, resource, sys
from pathlib import Path

spec = importlib.util.spec_from_file_location("journals", {__file__!r})
sys.modules["journals"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["journals"])
from journals import *

directory = Path(sys.argv[1])
writer = journal(directory)

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
"""


def command(script: str, directory: Path) -> list[str]:
    return [sys.executable, "-c", BEGIN + textwrap.dedent(script), str(directory)]


def in_process(script: str, directory: Path) -> None:
    subprocess.run(command(script, directory), check=True, timeout=60)


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
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    try:
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
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


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


def state(rev: int) -> Snapshot:
    """What the board of the killed writer is at `rev`: the last price is the revision that set it."""
    begin = snapshot()
    return fold(begin, [message(101, rev - 100)]) if rev > 100 else begin


def test_a_killed_writer_loses_nothing_that_it_had_written(tmp_path):
    moments = random.Random(7)
    known = 100
    for _ in range(6):
        with subprocess.Popen(command(KILLED, tmp_path), stdout=subprocess.PIPE) as process:
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


def test_a_close_waits_for_a_checkpoint_that_another_thread_writes_and_nothing_is_written_after_it(tmp_path):
    writer = journal(tmp_path)
    writer.begin(snapshot())
    writer.append(message(101))
    assert writer.path is not None
    path, started, go_on = writer.path, threading.Event(), threading.Event()

    def checkpoint() -> None:
        with writer._writing:
            started.set()
            assert go_on.wait(20)
            writer._checkpoint(snapshot(102))

    writing = threading.Thread(target=checkpoint)
    writing.start()
    assert started.wait(20)
    closing = threading.Thread(target=writer.close)
    closing.start()
    go_on.set()
    writing.join(20)
    closing.join(20)
    found = read(path)
    assert (found.snapshot.rev, found.messages, found.closed, found.whole) == (102, 0, True, True)
    size = path.stat().st_size
    writer.checkpoint(snapshot(103))
    writer.begin(snapshot(200, epoch=LATER))
    writer.append(message(103))
    assert path.stat().st_size == size
    assert list(tmp_path.glob("*.journal")) == [path]
