"""Reference data on disk: all of an import or nothing of it, and the last good one survives anything."""

import datetime
import errno
import os
import random
import signal
import subprocess
import sys
import threading
import time

import msgspec
import pytest

from bhavcast.domain.calendar import Calendar
from bhavcast.domain.errors import BadFile, Unavailable, UnknownFormat
from bhavcast.reference.kept import MAGIC
from bhavcast.reference.master import CLOSING_AUCTION
from bhavcast.reference.store import ReferenceStore
from tests.reference_files import MASTER_COLUMNS, legacy, legacy_file, master_file, scrip, udiff, udiff_file

MAY_6, MAY_7, MAY_10 = (datetime.date(2021, 5, day) for day in (6, 7, 10))
CODES = range(600001, 600011)
MASTER = master_file(scrip(500325, TckrSymb="RELIANCE"), *(scrip(code, TckrSymb=f"ID{code}") for code in CODES))


def day_file(codes=CODES, close="102.10", **cells):
    return legacy_file(*(legacy(code, CLOSE=close, **cells) for code in codes))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "reference"


@pytest.fixture
def store(folder):
    return ReferenceStore(folder)


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def test_without_an_import_the_market_is_the_built_in_one(store):
    loaded = store.read(scrips=50, seed=2)
    assert loaded.universe.built_in
    assert len(loaded.universe.instruments) - len(loaded.universe.indices) == 50
    assert (loaded.sources, loaded.warnings) == ([], [])


def test_an_imported_master_and_day_are_the_market(store):
    report = store.import_master(MASTER, name="BSE_EQ_SCRIP_15062023.csv")
    assert (report.kind, report.rows, report.active, report.added) == ("master", 11, 11, 11)
    assert report.date == datetime.date(2023, 6, 15)
    report = store.import_bhavcopy(day_file([500325, 600001, 600099]), name="EQ070521.CSV")
    assert (report.date, report.form, report.rows, report.provisional) == (MAY_7, "legacy", 3, 1)
    universe = store.load()
    assert not universe.built_in
    assert universe.date == MAY_7
    assert universe.instruments["600099"].provisional
    assert universe.instruments["600001"].id == "ID600001"
    assert universe.closes["600001"] == 10210
    assert universe.days["600001"].last == 10200
    assert [list(basis.members) for basis in universe.indices] == [["500325"]]
    assert universe.closes["IDX:SENSEX"] == universe.indices[0].value(universe.indices[0].cap(universe.closes))


def test_a_report_is_a_json_value(store):
    report = store.import_master(MASTER)
    assert msgspec.json.decode(msgspec.json.encode(report))["rows"] == 11


def test_a_day_without_a_master_knows_the_thirty_and_describes_the_rest_provisionally(store):
    report = store.import_bhavcopy(day_file([500209, 600001]), MAY_7)
    assert any("none is imported" in warning for warning in report.warnings)
    universe = store.load()
    assert (universe.instruments["500209"].id, universe.instruments["500209"].isin) == ("INFY", "INE009A01021")
    assert universe.instruments["600001"].provisional


def test_a_day_on_which_there_was_no_trading_is_a_wrong_date_unless_it_is_forced(store):
    saturday = datetime.date(2021, 5, 8)
    trades = Calendar.builtin().is_trading_day
    with pytest.raises(BadFile, match="2021-05-08, a Saturday on which there was no trading") as found:
        store.import_bhavcopy(day_file([500209]), saturday, trades=trades)
    assert found.value.field == "date"
    assert store.load().date is None
    store.import_bhavcopy(day_file([500209]), saturday, trades=trades, force=True)
    assert store.load().date == saturday


def test_a_master_alone_has_made_closes_and_no_date(store):
    store.import_master(MASTER)
    universe = store.load()
    assert universe.date is None
    assert universe.closes.keys() == universe.instruments.keys()
    assert universe.days == {}


def test_suspended_scrips_are_known_but_served_only_if_they_traded(store):
    store.import_master(master_file(*(scrip(code, Sts="S", TckrSymb=f"ID{code}") for code in CODES)))
    report = store.import_bhavcopy(day_file([600001]), MAY_7)
    assert (report.active, report.suspended) == (0, 1)
    universe = store.load()
    assert universe.instruments["600002"].status == "S"
    assert universe.served() == ["600001"]


def test_the_scale_of_the_master_counts_for_the_prices_of_a_day(store):
    bond = scrip(600001, SctyTpFlg="DB", SctySrs="F", FinInstrmTp="C", BidIntrvl="0.01", TickSz="0.01")
    note = scrip(600002, SctyTpFlg="DB", SctySrs="F", FinInstrmTp="D")
    store.import_master(master_file(bond, note))
    prices = dict.fromkeys(("OPEN", "HIGH", "LOW", "CLOSE", "LAST"), "98.5050")
    store.import_bhavcopy(legacy_file(legacy(600001), legacy(600002, SC_GROUP="F", SC_TYPE="D", **prices)), MAY_7)
    universe = store.load()
    assert universe.closes["600001"] == universe.days["600001"].close == 1_021_000
    assert universe.closes["600002"] == universe.days["600002"].close == 9851


def test_a_refused_file_changes_nothing(store, folder):
    store.import_master(MASTER)
    store.import_bhavcopy(day_file(), MAY_7)
    before, files = store.load(), names(folder)
    for content in (b"", b"<html></html>\n", day_file()[:-9], day_file(close="nan"), day_file([600001, 600001])):
        with pytest.raises(BadFile):
            store.import_bhavcopy(content, MAY_10)
        with pytest.raises(BadFile):
            store.import_master(content)
    assert names(folder) == files
    assert store.load() == before


@pytest.mark.parametrize("rows", [1, 5])
def test_half_a_file_is_refused_unless_it_is_said_to_be_partial(store, rows):
    store.import_bhavcopy(day_file(), MAY_7)
    with pytest.raises(BadFile, match="the last of its kind had 10"):
        store.import_bhavcopy(day_file(CODES[:rows]), MAY_10)
    assert store.load().date == MAY_7
    assert store.import_bhavcopy(day_file(CODES[:rows]), MAY_10, partial=True).partial
    assert store.load().date == MAY_10


def test_more_than_half_a_file_is_taken(store):
    store.import_bhavcopy(day_file(), MAY_7)
    store.import_bhavcopy(day_file(CODES[:6]), MAY_10)
    assert store.load().date == MAY_10


def test_a_partial_file_does_not_lower_what_the_next_is_measured_by(store):
    store.import_bhavcopy(day_file(), MAY_6)
    store.import_bhavcopy(day_file(CODES[:1]), MAY_7, partial=True)
    with pytest.raises(BadFile, match="had 10"):
        store.import_bhavcopy(day_file(CODES[:2]), MAY_10)


def test_half_a_master_is_refused_unless_it_is_said_to_be_partial(store):
    store.import_master(MASTER)
    half = master_file(scrip(600001, TckrSymb="RENAMED"))
    with pytest.raises(BadFile, match="had 11"):
        store.import_master(half)
    report = store.import_master(half, partial=True)
    assert (report.changed, report.removed) == (1, 0)
    universe = store.load()
    assert universe.instruments["600001"].id == "RENAMED"
    assert "600002" in universe.instruments


def test_an_older_file_is_refused_unless_forced(store):
    store.import_bhavcopy(day_file(close="103.00"), MAY_7)
    store.import_master(MASTER, name="BSE_EQ_SCRIP_15062023.csv")
    with pytest.raises(BadFile, match="--force goes back"):
        store.import_bhavcopy(day_file(), MAY_6)
    with pytest.raises(BadFile, match="--force goes back"):
        store.import_master(MASTER, name="BSE_EQ_SCRIP_14062023.csv")
    store.import_master(MASTER, name="BSE_EQ_SCRIP_14062023.csv", force=True)
    store.import_bhavcopy(day_file(CODES[:6]), MAY_6, force=True)
    universe = store.load()
    assert universe.date == MAY_6
    assert "600010" not in universe.closes  # its only close was of a day that has not been yet


def test_the_figures_of_a_stored_day_under_another_date_are_a_wrong_date_unless_forced(store):
    store.import_bhavcopy(day_file(), MAY_7)
    with pytest.raises(BadFile, match="every figure in it is that of 2021-05-07"):
        store.import_bhavcopy(day_file(), MAY_10)
    assert store.load().date == MAY_7
    store.import_bhavcopy(day_file(), MAY_10, force=True)
    assert store.load().date == MAY_10


def test_a_day_that_has_not_come_is_refused(store):
    with pytest.raises(BadFile, match="not come yet"):
        store.import_bhavcopy(day_file(), MAY_10, today=MAY_7)


def test_the_ranges_of_imported_days_are_kept_of_the_same_day_the_last_ones(store):
    store.import_bhavcopy(day_file([600001], HIGH="103.50", LOW="100.25"), MAY_6)
    store.import_bhavcopy(day_file([600001], HIGH="104.50", LOW="100.75"), MAY_7)
    store.import_bhavcopy(day_file([600001], HIGH="104.00", LOW="100.75"), MAY_7)
    with pytest.raises(BadFile):
        store.import_bhavcopy(b"<html>", MAY_10)
    week, month, year = store.days.spans(MAY_10, "sim", lambda symbol: 2)["600001"]
    assert week == month == year == (MAY_6.toordinal(), 2, 10400, 10025)


def test_the_same_day_again_replaces_it(store):
    store.import_bhavcopy(day_file(), MAY_7)
    report = store.import_bhavcopy(day_file(CODES[:8], close="103.00"), MAY_7)
    assert (report.changed, report.removed) == (8, 2)
    universe = store.load()
    assert universe.closes.keys() - {"IDX:SENSEX"} == {str(code) for code in CODES[:8]}


def test_a_partial_file_of_the_same_day_is_added_to_it(store):
    store.import_bhavcopy(day_file(), MAY_7)
    store.import_bhavcopy(day_file(CODES[:1], close="103.00"), MAY_7, partial=True)
    universe = store.load()
    assert len(universe.days) == 10
    assert (universe.closes["600001"], universe.closes["600002"]) == (10300, 10210)


def test_a_scrip_that_did_not_trade_keeps_its_close_for_ninety_days(store):
    store.import_bhavcopy(day_file(), MAY_7)
    store.import_bhavcopy(day_file(CODES[:6], close="103.00"), MAY_10)
    universe = store.load()
    assert (universe.closes["600001"], universe.closes["600010"]) == (10300, 10210)
    assert "600010" in universe.instruments
    assert "600010" not in universe.days
    store.import_bhavcopy(day_file(CODES[:6]), MAY_7 + datetime.timedelta(91))
    universe = store.load()
    assert "600010" not in universe.closes
    assert "600010" not in universe.instruments


def test_previous_closes_that_are_not_the_stored_ones_are_told(store):
    store.import_bhavcopy(day_file(close="102.10"), MAY_7)
    report = store.import_bhavcopy(day_file(PREVCLOSE="102.10"), MAY_10)
    assert not any("previous closes" in warning for warning in report.warnings)
    report = store.import_bhavcopy(day_file(PREVCLOSE="51.05"), MAY_10 + datetime.timedelta(1))
    assert any("10 previous closes" in warning for warning in report.warnings)


def test_a_master_that_contradicts_the_built_in_facts_is_told_and_counts(store):
    report = store.import_master(MASTER)
    assert any("500325 is RELIANCE INEZ00001012 in the master" in warning for warning in report.warnings)
    assert store.load().instruments["500325"].isin == "INEZ00001012"


def test_the_new_header_is_stored_too(store):
    columns = [CLOSING_AUCTION if column == "ElgbltyRETDBTMkt" else column for column in MASTER_COLUMNS]
    store.import_master(master_file(scrip(600001, **{CLOSING_AUCTION: "Y"}), columns=columns))
    assert store.load().instruments["600001"].closing_auction


def test_two_earlier_files_are_kept(store, folder):
    for day in range(5):
        store.import_bhavcopy(day_file(NO_TRADES=str(10 + day)), MAY_7 + datetime.timedelta(day))
    assert names(folder) == [f"bhavcopy-{number:08d}.ref" for number in (3, 4, 5)]


@pytest.mark.parametrize("harm", ["empty", "cut", "flip", "foreign", "type"])
def test_a_harmed_file_gives_way_to_the_one_before_with_a_warning(store, folder, harm):
    store.import_bhavcopy(day_file(), MAY_6)
    store.import_bhavcopy(day_file(close="102.20"), MAY_7)
    path = folder / "bhavcopy-00000002.ref"
    content = path.read_bytes()
    flipped = bytes([content[100] ^ 1])
    store_of_master = ReferenceStore(folder.parent / "other")
    store_of_master.import_master(MASTER)
    path.write_bytes(
        {
            "empty": b"",
            "cut": content[:-1],
            "flip": content[:100] + flipped + content[101:],
            "foreign": b"SQLite format 3\x00" + content,
            "type": (folder.parent / "other" / "master-00000001.ref").read_bytes(),
        }[harm]
    )
    loaded = store.read()
    assert loaded.universe.date == MAY_6
    assert [warning for warning in loaded.warnings if path.name in warning]
    assert store.import_bhavcopy(day_file(close="102.30"), MAY_10).warnings
    assert store.load().date == MAY_10


def test_every_bit_of_a_stored_file_is_watched(store, folder):
    store.import_bhavcopy(day_file([600001]), MAY_7)
    path = folder / "bhavcopy-00000001.ref"
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
        if place == len(MAGIC) - 1:
            with pytest.raises(UnknownFormat, match=r"expected version 1 .* got 17"):
                store.read(scrips=30)
            continue
        assert store.read(scrips=30).warnings, place


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_disk_error_leaves_what_was_there(store, folder, monkeypatch, call, code):
    store.import_bhavcopy(day_file(), MAY_6)
    before, files = store.load(), names(folder)

    def fail(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(Unavailable, match="cannot store"):
        store.import_bhavcopy(day_file(close="102.20"), MAY_7)
    monkeypatch.undo()
    assert names(folder) == files
    assert store.load() == before
    store.import_bhavcopy(day_file(close="102.20"), MAY_7)
    assert store.load().date == MAY_7


def test_a_place_that_is_no_folder_is_said_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot write"):
        ReferenceStore(tmp_path / "file" / "reference").import_master(MASTER)


def test_a_file_that_cannot_be_read_is_refused(store, tmp_path):
    for path in (tmp_path / "missing.csv", tmp_path):
        with pytest.raises(BadFile, match="cannot be read"):
            store.import_master(path)


def test_readers_and_importers_at_once_see_whole_days_only(store):
    store.import_bhavcopy(day_file(), MAY_7)
    wrong: list[object] = []
    stop = threading.Event()

    def read():
        while not stop.is_set():
            loaded = store.read()
            if loaded.warnings or len(loaded.universe.days) != len(CODES):
                wrong.append(loaded)

    def write():
        for _ in range(15):
            store.import_bhavcopy(day_file(), MAY_7)

    threads = [threading.Thread(target=read) for _ in range(2)] + [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads[2:]:
        thread.join()
    stop.set()
    for thread in threads[:2]:
        thread.join()
    assert wrong == []


IMPORT_FOREVER = """
import datetime, itertools, sys
from pathlib import Path
from bhavcast.reference.store import ReferenceStore
store, content = ReferenceStore(Path(sys.argv[1])), Path(sys.argv[2]).read_bytes()
for number in itertools.count():
    date = datetime.date(2021, 5, 7) + datetime.timedelta(number)
    store.import_bhavcopy(content, date)
    print(date, flush=True)
"""


def test_an_importer_killed_at_any_moment_leaves_a_whole_day(store, folder, tmp_path):
    source = tmp_path / "day.csv"
    source.write_bytes(day_file(range(600001, 600401)))
    dice = random.Random(20)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    last = datetime.date(2021, 5, 7)
    for _ in range(6):
        for path in folder.glob("*.ref"):
            path.unlink()
        with subprocess.Popen(
            [sys.executable, "-c", IMPORT_FOREVER, str(folder), str(source)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        ) as importer:
            assert importer.stdout is not None
            importer.stdout.readline()
            time.sleep(dice.random() * 0.12)  # the kill must fall anywhere within an import
            importer.send_signal(signal.SIGKILL)
            told = [line for line in importer.stdout.read().split("\n") if line]
        loaded = store.read()
        assert loaded.warnings == []
        assert len(loaded.universe.days) == 400
        last = datetime.date.fromisoformat(told[-1]) if told else last
        assert loaded.universe.date is not None
        assert loaded.universe.date >= last if told else loaded.universe.date >= datetime.date(2021, 5, 7)
        store.import_bhavcopy(source, loaded.universe.date)  # the lock and the rest of the dead one are no obstacle
        assert not list(folder.glob("*.tmp"))


def test_the_real_files_make_the_market_of_their_day(shared, store):
    report = store.import_master(shared / "scrip_master" / "BSE_EQ_SCRIP_15062023.csv")
    assert (report.rows, report.active, report.suspended) == (17_125, 11_063, 6_062)
    report = store.import_bhavcopy(shared / "bhavcopy" / "EQ070521.CSV")
    assert (report.rows, report.provisional, report.date) == (3_438, 115, MAY_7)
    excerpt = shared / "bhavcopy" / "BhavCopy_BSE_CM_0_0_0_20260911_F_0000-excerpt.CSV"
    with pytest.raises(BadFile, match="partial"):
        store.import_bhavcopy(excerpt)
    start = time.perf_counter()
    universe = store.load()
    assert time.perf_counter() - start < 1
    assert universe.date == MAY_7
    assert len(universe.days) == 3_438
    assert universe.closes["500325"] == 193130
    assert universe.days["500325"].values()[6] == 192990
    assert sum(i.provisional for i in universe.instruments.values()) == 115
    assert len(universe.indices[0].members) == 29  # Eternal was not yet listed
    assert store.import_bhavcopy(excerpt, partial=True).rows == 5
    assert store.load().closes["500325"] == 125800


def test_a_udiff_file_follows_a_legacy_one(store):
    store.import_bhavcopy(day_file(), MAY_7)
    report = store.import_bhavcopy(udiff_file(*(udiff(code) for code in CODES)))
    assert (report.form, report.date) == ("udiff", datetime.date(2026, 9, 11))
