"""Import the exchange's files into the data folder."""

import datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from bhavcast.app.calendar import calendar_of
from bhavcast.app.config import Config
from bhavcast.domain.calendar import ist
from bhavcast.domain.errors import NotTheWriter
from bhavcast.journal.lease import DirectoryLease
from bhavcast.reference.store import ReferenceStore
from bhavcast.telemetry.clock import SystemClock


def import_file(
    config: Config,
    kind: Literal["master", "bhavcopy"],
    path: Path,
    *,
    date: datetime.date | None = None,
    partial: bool = False,
    force: bool = False,
) -> dict[str, Any]:
    """Read, check and store one file; return what was done as plain values.

    Raises:
        BadFile: the file was refused; nothing has changed.
        Unavailable: it could not be stored; nothing has changed.
    """
    store = ReferenceStore(config.data / "reference")
    if kind == "master":
        report = store.import_master(path, partial=partial, force=force)
    else:
        today = ist(SystemClock().wall_ms()).date()
        trades = calendar_of(config).is_trading_day
        report = store.import_bhavcopy(path, date, partial=partial, force=force, today=today, trades=trades)
    plain: dict[str, Any] = msgspec.to_builtins(report)
    return plain


def ask_now(config: Config) -> None:
    """Ask the system that runs on the data folder to take up what was imported at once."""
    _marker(config).touch(mode=0o600)


def was_asked(config: Config) -> bool:
    """Tell whether it was asked since the last call; whoever runs looks once a second."""
    try:
        _marker(config).unlink()
    except FileNotFoundError:
        return False
    return True


def is_pending(config: Config) -> bool:
    """Tell whether a question is still unanswered."""
    return _marker(config).exists()


def _marker(config: Config) -> Path:
    return config.data / "reference" / "take-now"


def is_running(config: Config) -> bool:
    """Tell whether a system runs on the data folder."""
    if not config.data.is_dir():
        return False
    lease = DirectoryLease(config.data)
    try:
        lease.acquire()
    except NotTheWriter:
        return True
    lease.release()
    return False
