"""Versions: what is written now, what of the version before is read, and how any other is refused."""

import json
import os
import shutil
import subprocess
import zlib
from pathlib import Path

import msgspec
import pytest

from bhavcast.access.keyfile import KeyFile
from bhavcast.app import config, upgrade
from bhavcast.app.upgrade import BEFORE, Stored
from bhavcast.bus import mirror
from bhavcast.cli.main import main
from bhavcast.client.state import State
from bhavcast.domain import field
from bhavcast.domain import format as formats
from bhavcast.domain.change import Change, RowImage, decode, decode_snapshot, encode
from bhavcast.domain.errors import NotTheWriter, Unavailable, UnknownFormat
from bhavcast.domain.format import BUS, FORMATS, Format
from bhavcast.domain.position import Position
from bhavcast.feeds import recording
from bhavcast.journal import archive, layout, reader
from bhavcast.journal.lease import SUPERVISOR, DirectoryLease
from bhavcast.journal.writer import FileJournal
from bhavcast.reference.store import ReferenceStore
from bhavcast.telemetry.clock import ManualClock
from tests.formats.samples import HERE, MASTER, MESSAGE, SAMPLES, SNAPSHOT, path_of
from tests.system import BHAVCAST

NEWER = {name: sample.format.version + 1 for name, sample in SAMPLES.items()}
BOOT = "8f0c7a52-1d7b-4b2e-9d53-3d0f6f1f9a11"


# -- as they were written ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLES)
def test_what_is_written_now_is_what_is_kept_of_this_version(name, tmp_path):
    sample = SAMPLES[name]
    kept = path_of(name, sample.format.version)
    assert sample.write(tmp_path) == kept.read_bytes(), "the format changed, and its version did not: tests/formats"


@pytest.mark.parametrize("name", SAMPLES)
def test_every_version_that_is_read_is_read_as_the_same(name):
    sample = SAMPLES[name]
    for version in range(sample.format.oldest, sample.format.version + 1):
        assert sample.read(path_of(name, version)) == sample.value, version


def test_every_kept_file_is_of_a_format_and_every_stored_format_has_one():
    named = {path.name.rpartition("-")[0] for path in HERE.iterdir() if path.suffix == "" and path.is_file()}
    assert named == set(SAMPLES)
    # A configuration is written by people, a lease is told in Redis, states and sessions outlive no start, and a
    # stream is spoken in tests/wire.
    assert {sample.format for sample in SAMPLES.values()} == {
        *FORMATS
    } - {formats.LEASE, formats.CONFIG, formats.ROLES, formats.SESSION, formats.STREAM}  # fmt: skip


# -- the rule ---------------------------------------------------------------------------------------------------------


def test_the_present_version_and_the_one_before_are_read_and_no_other():
    third = Format("thing", 3, 2)
    assert [third.check(number, "it") for number in (2, 3, 3 | 1 << 8, 3 | 9 << 8)] == [2, 3, 3, 3]
    with pytest.raises(UnknownFormat, match=r"it — expected version 2 or 3 of its format \(thing\), got 4: a newer Bh"):
        third.check(4, "it")
    with pytest.raises(UnknownFormat, match=r"got 1: take it up with each Bhavcast between"):
        third.check(1, "it")
    assert Format("thing").check(1, "it") == 1
    for impossible in (0, -3, 256):
        with pytest.raises(UnknownFormat):
            Format("thing").check(impossible, "it")


def test_what_was_added_within_a_version_is_known_by_its_count():
    second = Format("thing", 2, 1)
    assert second.written == 2 | 1 << 8
    assert [second.extended(number) for number in (2, 2 | 1 << 8, 2 | 2 << 8, 1 | 7 << 8)] == [
        False, False, True, False
    ]  # fmt: skip


# -- a newer one, of each format --------------------------------------------------------------------------------------


def _header(name: str, version: int) -> bytes:
    content = bytearray(path_of(name, 1).read_bytes())
    content[10] = version
    return bytes(content)


def _newer_board() -> None:
    told = msgspec.msgpack.decode(path_of("board", 1).read_bytes())
    mirror.read({**told, b"_format": b"2"})


def _newer_reference(folder: Path, name: str) -> None:
    content = bytearray(path_of("master", 1).read_bytes())
    content[7] = 2
    (folder / "reference").mkdir()
    (folder / "reference" / name).write_bytes(content)
    ReferenceStore(folder / "reference").read()


def _newer_keys(folder: Path) -> None:
    KeyFile(folder).path.write_text('{"version":2,"keys":[],"and":"more"}')
    KeyFile(folder).read()


def _newer_file(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(_header(name, 2))
    return path


def _newer_config(folder: Path) -> None:
    (folder / "b.toml").write_text('version = 2\nnew_setting = "x"\n')
    config.load(file=folder / "b.toml", environ={})


def _greet(version: int) -> None:
    State().receive(json.dumps({"t": "hello", "v": version, "epoch": "x"}))


REFUSALS = {
    "journal": lambda folder: reader.read(_newer_file(folder, "journal")),
    "recording": lambda folder: recording.inspect(_newer_file(folder, "recording")),
    "message": lambda _: decode(encode(msgspec.structs.replace(MESSAGE, version=2))),
    "a message of another shape": lambda _: decode(msgspec.msgpack.encode({"version": 2, "epoch": 5, "rows": "x"})),
    "snapshot": lambda _: decode_snapshot(encode(msgspec.structs.replace(SNAPSHOT, version=2))),
    "board": lambda _: _newer_board(),
    "reference": lambda folder: _newer_reference(folder, "master-00000001.ref"),
    "keys": _newer_keys,
    "config": _newer_config,
    "stream": lambda _: _greet(2),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_newer_version_is_refused_and_what_to_do_is_said(name, tmp_path):
    with pytest.raises(UnknownFormat, match=r"expected version 1 of its format \([a-z ]+\), got 2: a newer Bhavcast"):
        REFUSALS[name](tmp_path)


def test_a_pointer_that_is_newer_is_not_believed():
    assert layout.unpack_pointer(b"\x03" + layout.Pointer(5, sound=True).pack()[1:]) is None
    for torn in (b"", b"\x02", layout.Pointer(5, sound=True).pack()[:-1], bytes(20)):
        assert layout.unpack_pointer(torn) is None


# -- what was added within a version ----------------------------------------------------------------------------------


def _added(what):
    """Say a message or snapshot as a program would that has more fields, facts, and names than this one."""
    told = msgspec.to_builtins(msgspec.structs.replace(what, version=BUS.version | 5 << 8), builtin_types=(bytes,))
    told["facts"] = {**told["facts"], "weather": {"sun": True}}
    return msgspec.msgpack.encode({**told, "bars": [["500325", 1]]})


def test_a_message_with_additions_is_read_without_them():
    more = Change("532540", 102, {field.COUNT + 3: 5})
    changes = [Change("500325", 101, {**MESSAGE.changes[0].values, field.COUNT: 7}), more]
    found = decode(_added(msgspec.structs.replace(MESSAGE, changes=changes)))
    assert found.changes == MESSAGE.changes
    assert (found.from_rev, found.to_rev) == (MESSAGE.from_rev, MESSAGE.to_rev), "it takes its revisions all the same"


def test_a_picture_with_additions_is_read_without_them():
    row = SNAPSHOT.rows[0]
    longer = RowImage(row.symbol, row.rev, [*row.values, "new"], [*row.revs, 100])
    found = decode_snapshot(_added(msgspec.structs.replace(SNAPSHOT, rows=[longer])))
    assert found.rows == SNAPSHOT.rows
    told = msgspec.msgpack.decode(path_of("board", 1).read_bytes())
    told |= {b"r:500325": encode(longer), b"_format": str(1 | 5 << 8).encode(), b"b:500325": b"a bar"}
    assert mirror.read(told) == SNAPSHOT


# -- a data folder ------------------------------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path) -> Path:
    """A folder that the version before left: its pointer has no version."""
    journal = FileJournal(tmp_path / "data" / "journal", ManualClock(), boot_id=BOOT, directory_token="d1")
    journal.begin(SNAPSHOT)
    assert journal.path is not None
    pointer = layout.pointer_path(journal.path)
    whole = layout.unpack_pointer(pointer.read_bytes())
    assert whole is not None
    summed = whole.offset.to_bytes(8, "big") + bytes([whole.sound])
    pointer.write_bytes(summed + zlib.crc32(summed).to_bytes(4, "big"))
    for name, place in (("keys", "keys.json"), ("audit", "audit.jsonl"), ("day", "days/2026-11-20.sim.day"),
                        ("master", "reference/master-00000001.ref")):  # fmt: skip
        path = tmp_path / "data" / place
        path.parent.mkdir(exist_ok=True)
        shutil.copy(path_of(name, 1), path)
    return tmp_path / "data"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def pointer_of(data: Path) -> Path:
    return next(data.glob("journal/*.pointer"))


def test_an_epoch_goes_on_whose_pointer_is_of_the_version_before(data):
    assert reader.recover(data / "journal", BOOT).continues


def test_an_upgrade_rewrites_what_is_due_and_keeps_what_it_was(data):
    before = contents(data)
    name = str(pointer_of(data).relative_to(data))
    due = [found for found in upgrade.survey(data) if found.state == "due"]
    assert [(found.format, found.version, found.files) for found in due] == [("pointer of a journal", 1, [name])]
    assert upgrade.upgrade(data) == due
    after = contents(data)
    assert after[f"{BEFORE}/{name}"] == before[name]
    changed = {each for each in before if after[each] != before[each]}
    assert changed == {name}
    assert layout.unpack_pointer(after[name]) == layout.unpack_pointer(before[name])
    assert reader.recover(data / "journal", BOOT).continues
    assert {found.state for found in upgrade.survey(data)} == {"current"}
    assert upgrade.upgrade(data) == [], "again without effect"
    assert (data / BEFORE / name).exists(), "nor does that take away what was kept"


def test_what_does_not_add_up_vouches_for_nothing_afterwards_either(data):
    pointer_of(data).write_bytes(bytes(13))
    upgrade.upgrade(data)
    assert layout.unpack_pointer(pointer_of(data).read_bytes()) == layout.Pointer(0, sound=False)


@pytest.mark.parametrize("lock", ["writer.lock", SUPERVISOR])
def test_nothing_is_rewritten_while_a_system_runs(data, lock):
    lease = DirectoryLease(data, lock)
    lease.acquire()
    before = contents(data)
    with pytest.raises(NotTheWriter):
        upgrade.upgrade(data)
    lease.release()
    assert {name: content for name, content in contents(data).items() if not name.endswith(".lock")} == {
        name: content for name, content in before.items() if not name.endswith(".lock")
    }
    assert upgrade.upgrade(data)


def test_a_disk_that_is_full_changes_nothing(data, monkeypatch):
    before = contents(data)

    def full(_fd):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(Unavailable, match="No space left"):
            upgrade.upgrade(data)
    assert {name: content for name, content in contents(data).items() if not name.endswith(".lock")} == before
    assert upgrade.upgrade(data)


def test_after_a_kill_between_two_files_the_next_call_does_the_rest(data, monkeypatch):
    for n in range(3):
        shutil.copy(path_of("day", 1), data / f"days/2026-11-1{n}.sim.day")
    second = Format("reference data", 2)
    kinds = [Stored(second, ("days/*.day",), _second_version, lambda content: b"2" + content)]
    swapped: list[str] = []
    replace = Path.replace

    def killed(path, target):
        if len(swapped) == 2:
            raise KeyboardInterrupt
        swapped.append(str(target))
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            upgrade.upgrade(data, kinds)
    assert {_second_version(path) for path in (data / "days").iterdir()} == {1, 2}, "each whole"
    [rest] = upgrade.upgrade(data, kinds)
    assert len(rest.files) == 2
    assert {found.state for found in upgrade.survey(data, kinds)} == {"current"}


def _second_version(path: Path) -> int:
    return 2 if path.read_bytes().startswith(b"2") else 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("journal/2026-11-23-x.journal", _header("journal", 2)),
        ("keys.json", b'{"version":2,"keys":[]}'),
        ("reference/master-00000002.ref", b"BHREF\0\0\x02" + bytes(40)),
        ("days/2026-11-19.sim.day", b"BHREF\0\0\x02" + bytes(40)),
        ("audit.jsonl", b'{"v":2}\n'),
        ("bhavcast.toml", b"version = 2\n"),
        ("journal/x.pointer", b"\x03" + bytes(20)),
    ],
)
def test_a_folder_with_anything_newer_is_refused_and_untouched(data, name, content):
    (data / name).write_bytes(content)
    before = contents(data)
    for refused in (upgrade.refuse, upgrade.upgrade):
        with pytest.raises(UnknownFormat, match=r"got [23]: a newer Bhavcast"):
            refused(data)
    assert {each: content for each, content in contents(data).items() if not each.endswith(".lock")} == before


@pytest.mark.slow
def test_a_system_does_not_start_on_what_a_newer_one_wrote_and_says_so_in_one_error(data):
    (data / "journal" / "2026-11-23-newer.journal").write_bytes(_header("journal", 2))
    command = [BHAVCAST, "up", "--data", str(data), "--port", "0", "--frontend-port", "0"]
    environment = {**os.environ, "BHAVCAST_BUS_KIND": "memory"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 3, done.stderr
    assert done.stderr.count("error: ") == 1
    assert "newer.journal — expected version 1 of its format (journal), got 2: a newer Bhavcast wrote it" in done.stderr
    assert "docs/reference/formats.md" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_newer_journal_is_neither_passed_over_nor_removed(data):
    newer = data / "journal" / "2026-11-23-newer.journal"
    newer.write_bytes(_header("journal", 2))
    with pytest.raises(UnknownFormat, match=r"newer\.journal"):
        reader.recover(data / "journal", BOOT)
    current = next(path for path in data.glob("journal/*.journal") if path != newer)
    archive.tidy(current, 10**15, keep_days=1, keep_bytes=1, stopped=lambda: False)
    assert [path.name for path in reader.journals(data / "journal")] == [
        current.name, "2026-11-23-newer.journal.zst"
    ]  # fmt: skip


# -- the command --------------------------------------------------------------------------------------------------------


def test_the_command_shows_and_does(data, capsys):
    before = contents(data)
    assert main(["upgrade", "--dry-run", "--data", str(data)]) == 1
    shown = capsys.readouterr()
    assert [line.split()[:7] for line in shown.out.splitlines() if "pointer" in line] == [
        ["pointer", "of", "a", "journal", "1", "2", "1"]
    ]
    assert "is rewritten" in shown.out
    assert "nothing was changed" in shown.err
    assert contents(data) == before
    assert main(["upgrade", "--dry-run", "--json", "--data", str(data)]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["rewritten"] == []
    assert {each["format"]: each["state"] for each in told["found"]}["pointer of a journal"] == "due"
    assert main(["upgrade", "--json", "--data", str(data)]) == 0
    assert json.loads(capsys.readouterr().out)["rewritten"] == [str(pointer_of(data).relative_to(data))]
    assert main(["upgrade", "--dry-run", "--data", str(data)]) == 0
    assert "nothing is of the version before" in capsys.readouterr().err


def test_the_command_says_why_it_does_not(data, tmp_path, capsys):
    assert main(["upgrade", "--data", str(tmp_path / "nowhere")]) == 3
    assert "expected a data folder" in capsys.readouterr().err
    lease = DirectoryLease(data)
    lease.acquire()
    assert main(["upgrade", "--data", str(data)]) == 3
    assert "is being written by process" in capsys.readouterr().err
    assert main(["upgrade", "--dry-run", "--data", str(data)]) == 1, "to look does no harm"
    lease.release()
    (data / "keys.json").write_text("{")
    capsys.readouterr()
    assert main(["upgrade", "--dry-run", "--data", str(data)]) == 1
    assert "cannot be read, and stays" in capsys.readouterr().out
    (data / "keys.json").write_text('{"version": 9}')
    assert main(["upgrade", "--dry-run", "--data", str(data)]) == 3
    assert "of a newer Bhavcast: refused" in capsys.readouterr().out


def test_a_master_of_this_version_is_what_was_imported(data):
    found = ReferenceStore(data / "reference").read().universe.instruments
    assert {symbol: found[symbol] for symbol in MASTER.instruments} == MASTER.instruments
    assert Position(SNAPSHOT.epoch, SNAPSHOT.rev) == SNAPSHOT.position
