"""The file journal: what is written, what is found again, and what is not believed."""

import os
import re
import shutil
import threading
from pathlib import Path

import pytest

from bhavcast.domain import record
from bhavcast.domain.change import encode, fold
from bhavcast.domain.errors import BadRecord
from bhavcast.journal import layout
from bhavcast.journal.port import Journal
from bhavcast.journal.reader import messages, read, read_opening, recover
from bhavcast.telemetry.clock import ManualClock
from tests.journals import BOOT, EPOCH, LATER, MARKET, journal, message, snapshot, written


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


@pytest.mark.slow
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
