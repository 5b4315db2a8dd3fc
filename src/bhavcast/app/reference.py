"""Reference data: what `bhavcast import` does, and how a running ingest hears of it.

An import is a new file in the data folder. A running ingest reads it at its day roll; a file named `reload` beside it asks
for it at once, and is gone when that has happened.
"""

import datetime
import time
from pathlib import Path
from typing import Final

from bhavcast.app.config import Config
from bhavcast.domain.calendar import ist
from bhavcast.domain.errors import NotTheWriter
from bhavcast.journal.lease import DirectoryLease
from bhavcast.reference.store import ImportReport, Kind, ReferenceStore
from bhavcast.telemetry.clock import SystemClock

__all__ = ["ImportReport", "ask_reload", "import_file", "is_running", "reload_asked"]

RELOAD: Final = "reload"
# A running ingest looks once a second.
PATIENCE_S: Final = 5.0
_LOOK_S: Final = 0.05


def import_file(
    config: Config,
    kind: Kind,
    file: Path,
    *,
    date: datetime.date | None = None,
    partial: bool = False,
    force: bool = False,
) -> ImportReport:
    """Check one file and store it in the data folder.

    Raises:
        BadFile: the file was refused; nothing has changed.
        Unavailable: it could not be stored; nothing has changed.
    """
    store = ReferenceStore(config.data / "reference")
    if kind == "master":
        return store.import_master(file, partial=partial, force=force)
    return store.import_bhavcopy(file, date, partial=partial, force=force, today=ist(SystemClock().wall_ms()).date())


def is_running(data: Path) -> bool:
    """Tell whether an ingest works on this data folder."""
    lease = DirectoryLease(data)
    try:
        lease.acquire()
    except NotTheWriter:
        return True
    lease.release()
    return False


def ask_reload(data: Path, *, patience_s: float = PATIENCE_S) -> bool:
    """Ask the ingest of this data folder to read its reference data anew; return whether it took that up in time."""
    request = data / RELOAD
    request.touch(mode=0o600)
    until = time.monotonic() + patience_s
    while request.exists():
        if time.monotonic() > until:
            return False
        time.sleep(_LOOK_S)
    return True


def reload_asked(data: Path) -> bool:
    """Tell whether someone asks for a reload, and take the request away."""
    try:
        (data / RELOAD).unlink()
    except FileNotFoundError:
        return False
    return True
