"""Journals to test with: their snapshots and messages, and what a killed writer leaves behind."""

from pathlib import Path

from bhavcast.domain import field
from bhavcast.domain.change import Change, Message, RowImage, Snapshot, fold
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


def state(rev: int) -> Snapshot:
    """What the board of the killed writer is at `rev`: the last price is the revision that set it."""
    begin = snapshot()
    return fold(begin, [message(101, rev - 100)]) if rev > 100 else begin
