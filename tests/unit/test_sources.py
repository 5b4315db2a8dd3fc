"""Which market is chosen, and what its first day begins with."""

import datetime

from bhavcast.app import sources
from bhavcast.app.config import Config
from bhavcast.domain.calendar import Calendar
from bhavcast.journal.reader import Recovery
from bhavcast.reference.store import ReferenceStore
from bhavcast.telemetry.clock import ManualClock
from tests.reference_files import legacy, legacy_file

MAY_6, MAY_7 = (datetime.date(2021, 5, day) for day in (6, 7))
NOTHING = Recovery(None, continues=False, reason="no journal")


def test_an_official_day_begins_with_no_close_of_its_own_evening_and_no_index_of_ours(tmp_path):
    store = ReferenceStore(tmp_path)
    store.import_bhavcopy(legacy_file(legacy(500325), legacy(600001)), MAY_6)
    store.import_bhavcopy(legacy_file(legacy(500325)), MAY_7, partial=True)
    universe = store.load(50, 1)
    assert {"500325", "600001", "IDX:SENSEX"} <= universe.closes.keys()

    chosen = sources.choose(Config(source="bhavcopy"), ManualClock(), Calendar.builtin(), universe, NOTHING)
    # What did not trade that day has its last close still.
    assert chosen.universe.closes == {"600001": universe.closes["600001"]}
    assert chosen.universe.days == universe.days
