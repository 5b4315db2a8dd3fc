"""What was missed stands in a ledger, with its reason, until a thousand others came after it."""

import errno
import os

from bhavcast.domain import field, gap
from tests.integration.test_cli import call
from tests.scripted_line import Line

MONDAY = "2026-11-23"


def test_a_gap_of_one_kind_and_source_is_open_once_and_the_newest_thousand_are_kept():
    ledger: gap.Ledger = []
    for number in range(gap.LIMIT + 5):
        ledger = gap.opened(ledger, "feed", "sim", number, number, "silent")
        assert gap.opened(ledger, "feed", "sim", number, number, "silent") is ledger
        ledger = gap.opened(ledger, "feed", "other", number, number, "silent") if number == 0 else ledger
        ledger = gap.closed(ledger, "feed", "sim", number + 1, number + 1)
    assert len(ledger) == gap.LIMIT
    assert gap.closed(ledger, "feed", "sim", 0, 0) is ledger
    assert ledger[-1] == {
        "kind": "feed", "source": "sim", "from": 1004, "to": 1005, "from_rev": 1004, "to_rev": 1005, "reason": "silent"
    }  # fmt: skip


async def test_a_failing_disk_stops_nothing_and_what_is_missing_is_a_gap_that_ends(tmp_path, monkeypatch):
    line = await Line(tmp_path, f"{MONDAY} 09:15:00").start()
    await line.play((f"{MONDAY} 09:15:01", [("500325", {field.CURRENT_PRICE: 150100})]))
    assert line.board.facts["gaps"] == []

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        await line.play((f"{MONDAY} 09:15:03", [("500325", {field.CURRENT_PRICE: 150200})]))
        await line.wait(f"{MONDAY} 09:15:10")
        assert line.board.facts["journal"]["state"] == "failing"
        assert line.board.facts["journal"]["reason"].endswith(": No space left on device")
        await line.wait(f"{MONDAY} 09:15:40")
        assert line.value("500325", field.CURRENT_PRICE) == 150200
        assert line.board.facts["gaps"][0]["to"] is None
        assert not line.found().continues
    await line.wait(f"{MONDAY} 09:15:44")
    [one] = line.board.facts["gaps"]
    assert (one["kind"], one["source"]) == ("journal", None)
    assert "No space left on device" in one["reason"]
    assert one["to"] > one["from"]
    assert one["to_rev"] > one["from_rev"]
    assert line.board.facts["journal"]["state"] == "ok"
    again = await Line(tmp_path, f"{MONDAY} 09:15:45").start()
    assert again.board.epoch == line.board.epoch, "whole again: the epoch goes on"
    assert again.board.facts["gaps"] == [one]


async def test_an_epoch_that_lost_something_is_a_gap_and_a_planned_one_is_none(tmp_path):
    line = await Line(tmp_path, f"{MONDAY} 09:15:00").start()
    await line.play((f"{MONDAY} 09:15:01", [("500325", {field.CURRENT_PRICE: 150100})]))
    again = await Line(tmp_path, f"{MONDAY} 09:20:00", boot_id="another").start()
    [one] = again.board.facts["gaps"]
    assert (one["kind"], one["from_rev"], one["to_rev"]) == ("epoch", line.board.rev, again.board.rev)
    assert one["to"] - one["from"] >= 290_000
    assert "started anew" in one["reason"]
    await again.wait("2026-11-24 08:00:01", each_ms=3_600_000)
    assert [each["kind"] for each in again.board.facts["gaps"]].count("epoch") == 1


async def test_a_source_that_is_gone_is_a_gap_until_it_is_back(tmp_path):
    line = await Line(tmp_path, f"{MONDAY} 09:15:00").start()
    line.feed.state = "failed"
    await line.wait(f"{MONDAY} 09:15:05")
    line.feed.state = "live"
    await line.wait(f"{MONDAY} 09:15:09")
    [one] = line.board.facts["gaps"]
    assert (one["kind"], one["source"], one["reason"]) == ("feed", "script", "the source is failed")
    assert 3_000 <= one["to"] - one["from"] <= 6_000


async def test_the_command_lists_verifies_and_shows(tmp_path):
    folder = tmp_path / "journal"
    line = await Line(folder, f"{MONDAY} 09:15:00").start()
    await line.play((f"{MONDAY} 09:15:01", [("500325", {field.CURRENT_PRICE: 150100})]))
    path = next(folder.glob("*.journal"))
    data = ("--data", str(tmp_path))
    listed = call("journal", "list", *data, "--json")
    assert listed.returncode == 0, listed.stderr
    assert f'"epoch":"{line.board.epoch}"' in listed.stdout
    sound = call("journal", "verify", *data)
    assert (sound.returncode, "sound" in sound.stdout) == (0, True)
    shown = call("journal", "show", str(path), "--limit", "2")
    assert [row.split()[1] for row in shown.stdout.splitlines()] == ["type", "open", "checkpoint"]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    damaged = call("journal", "verify", *data)
    assert (damaged.returncode, "damaged record" in damaged.stdout) == (1, True)
    assert call("journal", "show", str(tmp_path / "none")).returncode == 3
    assert call("journal", "verify", "--data", str(tmp_path / "elsewhere")).returncode == 3
    assert call("journal", "show", str(path), "--limit", "0").returncode == 2
