"""The record of who did what: `audit.jsonl` in the data folder, one JSON object per line, only ever added to."""

import datetime
import os
from pathlib import Path
from typing import Any, Final

import msgspec

from bhavcast.domain.calendar import IST
from bhavcast.telemetry.clock import Clock

NAME: Final = "audit.jsonl"
MODE: Final = 0o600


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was done. `at`: ISO 8601, IST; `where`: an address, or `command line`; `outcome`: `done`, or an error's code."""

    at: str
    who: str
    role: str
    what: str
    where: str
    outcome: str
    key_id: str = ""
    target: str = ""
    request_id: str = ""


class AuditLog:
    """Appends entries, each durable before the answer to what it records."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.path = folder / NAME
        self._clock = clock

    def record(self, **what: Any) -> Entry:
        """Add an entry of this moment; raise OSError where it could not be made durable."""
        at = datetime.datetime.fromtimestamp(self._clock.wall_ms() / 1000, IST)
        entry = Entry(at=at.isoformat(timespec="milliseconds"), **what)
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, MODE)
        try:
            os.write(fd, msgspec.json.encode(entry) + b"\n")  # one write: entries of two processes never mix
            os.fsync(fd)
        finally:
            os.close(fd)
        return entry
