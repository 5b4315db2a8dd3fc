"""Keep what was imported: checked whole, written aside, swapped in at once, the last good ones kept.

A folder holds `master-00000007.ref` and `bhavcopy-00000012.ref`; of each kind the highest number that is whole counts.
An import writes a temporary file, makes it durable,
gives it the next number and removes all but the two before; whoever reads meanwhile has the old or the new one.

Which day counts: the newest. A day's file older than the stored one is refused, for it would turn yesterday's closes
into tomorrow's previous closes, unless it is forced; the same day again replaces it, for corrections.
A scrip that did not trade keeps its last close for 90 days.
"""

import contextlib
import datetime
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeVar

import msgspec

from bhavcast.domain.errors import BadFile, Unavailable, UnknownFormat
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.span import DayRange
from bhavcast.domain.universe import Universe
from bhavcast.reference import builtin, kept
from bhavcast.reference.bhavcopy import DayFile, parse_bhavcopy
from bhavcast.reference.combine import Close, OfficialDay, combine, scaled
from bhavcast.reference.master import parse_master
from bhavcast.reference.past_days import OFFICIAL, PastDays
from bhavcast.reference.table import MOST_BYTES

KEPT: Final = 2  # earlier files of each kind
CARRIED: Final = datetime.timedelta(days=90)  # A: an older close says too little of the price of today
FEW_ROWS: Final = 1_000  # a whole day has more than three thousand
Kind = Literal["master", "bhavcopy"]

_NAME: Final = re.compile(r"(master|bhavcopy)-(\d{8})\.ref", re.ASCII)
_Stored = TypeVar("_Stored", "StoredMaster", "StoredDay")
_MASTER_DATE: Final = re.compile(r"_(\d{2})(\d{2})(\d{4})(?!\d)", re.ASCII)


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an import did. `added`, `removed` and `changed` compare instruments, or days' figures, with the last file."""

    kind: Kind
    source: str
    form: str
    date: datetime.date | None
    rows: int
    active: int
    suspended: int
    provisional: int
    added: int
    removed: int
    changed: int
    partial: bool
    warnings: list[str]


class StoredMaster(msgspec.Struct, frozen=True):
    """A master as it is kept; `full_rows` is the length of the last one that was not partial."""

    source: str
    date: datetime.date | None
    full_rows: int
    instruments: dict[str, Instrument]


class StoredDay(msgspec.Struct, frozen=True):
    """A day as it is kept; `full_rows` is the length of the last one that was not partial."""

    source: str
    form: str
    full_rows: int
    day: OfficialDay


class Loaded(NamedTuple):
    """A universe, the names of the files it is from (empty for the built-in one), and what was wrong on the way."""

    universe: Universe
    sources: list[str]
    warnings: list[str]


class ReferenceStore:
    """The imported reference data of one data directory. Importers take turns; readers never wait."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.days = PastDays(directory.with_name("days"))

    def import_master(
        self, source: Path | bytes, *, name: str = "", partial: bool = False, force: bool = False
    ) -> ImportReport:
        """Read, check and store a scrip master.

        `partial`: the file holds some scrips only, the others stay as they are. `force`: take it though an
        earlier import was of a later date.

        Raises:
            BadFile: the file was refused; nothing has changed.
            Unavailable: it could not be stored; nothing has changed.
        """
        content, name = _content(source, name)
        parsed = parse_master(content)
        date = _date_in_master_name(name)
        with self._turn():
            last, warnings = self._newest("master", StoredMaster)
            rows = len(parsed.instruments)
            if last is not None:
                _refuse_half(rows, last.full_rows, partial)
                if date and last.date and date < last.date and not force:
                    raise _older(date, last.date)
            before = last.instruments if last else {}
            instruments = {**before, **parsed.instruments} if partial else parsed.instruments
            full_rows = last.full_rows if partial and last else rows
            self._write("master", StoredMaster(name, date, full_rows, instruments))
        statuses = [instrument.status for instrument in instruments.values()]
        return ImportReport(
            kind="master",
            source=name,
            form="master",
            date=date,
            rows=rows,
            active=statuses.count("A"),
            suspended=len(statuses) - statuses.count("A"),
            provisional=0,
            added=len(instruments.keys() - before.keys()),
            removed=len(before.keys() - instruments.keys()),
            changed=_changed(before, instruments),
            partial=partial,
            warnings=[*warnings, *parsed.warnings, *_facts_that_differ(instruments)],
        )

    def import_bhavcopy(
        self,
        source: Path | bytes,
        date: datetime.date | None = None,
        *,
        name: str = "",
        partial: bool = False,
        force: bool = False,
        today: datetime.date | None = None,
        trades: Callable[[datetime.date], bool] = lambda day: True,
    ) -> ImportReport:
        """Read, check and store the file of a day; `date` is the day that is expected of it.

        `partial`: the file holds some scrips only, the others keep their closes, and their figures if it is the same
        day. `force`: go back to an earlier day than the stored one, or to one that is no trading day by `trades`, or take
        the figures of the stored day for another's.
        `today`: refuse a later day than this.

        Raises:
            BadFile: the file was refused; nothing has changed.
            Unavailable: it could not be stored; nothing has changed.
        """
        content, name = _content(source, name)
        parsed = parse_bhavcopy(content, name, date)
        if today is not None and parsed.date > today:
            raise BadFile(f"the file is of {parsed.date}, which has not come yet", field="date")
        if not trades(parsed.date) and not force:
            raise BadFile(
                f"the file is of {parsed.date}, a {parsed.date:%A} on which there was no trading by the calendar: it is a "
                "wrong date, or a session that the calendar does not know (--force takes it)",
                field="date",
            )
        with self._turn():
            master, warnings = self._newest("master", StoredMaster)
            last, more = self._newest("bhavcopy", StoredDay)
            rows = len(parsed.days)
            if last is not None:
                _refuse_half(rows, last.full_rows, partial)
                if parsed.date < last.day.date and not force:
                    raise _older(parsed.date, last.day.date)
                if not force:
                    _refuse_another_name(parsed, last.day)
            day = _after(last.day if last else None, parsed, partial)
            full_rows = last.full_rows if partial and last else rows
            self.days.keep(day.date, OFFICIAL, _ranges(day))
            self._write("bhavcopy", StoredDay(name, parsed.form, full_rows, day))
        known = master.instruments if master else {}
        before = last.day.days if last else {}
        return ImportReport(
            kind="bhavcopy",
            source=name,
            form=parsed.form,
            date=parsed.date,
            rows=rows,
            active=sum(code not in known or known[code].status == "A" for code in parsed.days),
            suspended=sum(code in known and known[code].status != "A" for code in parsed.days),
            provisional=sum(code not in known for code in parsed.days),
            added=len(day.days.keys() - before.keys()),
            removed=len(before.keys() - day.days.keys()),
            changed=_changed(before, day.days),
            partial=partial,
            warnings=[*warnings, *more, *_doubts(parsed, last, master, partial)],
        )

    def load(self, scrips: int = 5000, seed: int = 1) -> Universe:
        """Return the universe of what was imported; the built-in one of `scrips` and `seed` where nothing was."""
        return self.read(scrips, seed).universe

    def read(self, scrips: int = 5000, seed: int = 1) -> Loaded:
        """Return the universe with its sources and a warning for every file that is kept but cannot be used.

        Raises:
            UnknownFormat: a newer Bhavcast imported. What was there before it would be yesterday's truth.
        """
        master, warnings = self._newest("master", StoredMaster)
        day, more = self._newest("bhavcopy", StoredDay)
        warnings = [*warnings, *more]
        sources = [stored.source for stored in (master, day) if stored is not None]
        if not sources:
            return Loaded(builtin.universe(scrips, seed), sources, warnings)
        universe = combine(master.instruments if master else None, day.day if day else None)
        return Loaded(universe, sources, warnings)

    def _newest(self, kind: Kind, form: type[_Stored]) -> tuple[_Stored | None, list[str]]:
        warnings: list[str] = []
        vanished = True
        while vanished:  # an importer may remove the file between our look at the folder and at the file
            vanished = False
            for path in reversed(self._files(kind)):
                try:
                    return kept.unpack(path.read_bytes(), form), warnings
                except FileNotFoundError:
                    vanished = True
                except UnknownFormat as error:
                    raise UnknownFormat(f"{path}: {error.detail}") from None
                except (OSError, ValueError) as error:
                    warning = f"{path.name} cannot be used ({error}): the one before it counts"
                    if warning not in warnings:
                        warnings.append(warning)
        return None, warnings

    def _files(self, kind: Kind) -> list[Path]:
        if not self._directory.is_dir():
            return []
        names = (_NAME.fullmatch(entry) for entry in os.listdir(self._directory))
        return sorted(self._directory / match[0] for match in filter(None, names) if match[1] == kind)

    def _write(self, kind: Kind, stored: StoredMaster | StoredDay) -> None:
        files = self._files(kind)
        number = int(files[-1].stem.rpartition("-")[2]) + 1 if files else 1
        path = self._directory / f"{kind}-{number:08d}.ref"
        kept.write(path, stored)
        for old in files[: max(0, len(files) - KEPT)]:
            with contextlib.suppress(OSError):  # a file too many does no harm
                old.unlink()

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            lock = os.open(self._directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unavailable(f"cannot write to {self._directory}: {error}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the system lets it go when an importer dies
            for left in self._directory.glob("*.tmp"):
                with contextlib.suppress(OSError):
                    left.unlink()
            yield
        finally:
            os.close(lock)


def _content(source: Path | bytes, name: str) -> tuple[bytes, str]:
    if isinstance(source, bytes):
        return source, name or "(bytes)"
    try:
        if source.stat().st_size > MOST_BYTES:
            raise BadFile(f"{source} has more bytes than any such file")
        return source.read_bytes(), name or source.name
    except OSError as error:
        raise BadFile(f"{source} cannot be read: {error.strerror}") from None


def _refuse_half(rows: int, last: int, partial: bool) -> None:
    if not partial and rows * 2 <= last:
        raise BadFile(
            f"the file has {rows} rows, the last of its kind had {last}: half of it is missing (--partial takes "
            "it, for the scrips that it holds)",
            row=rows + 1,
        )


def _refuse_another_name(parsed: DayFile, stored: OfficialDay) -> None:
    """Refuse the file of a day under the name of another one: the rows of the older form have no date."""
    if parsed.form == "legacy" and parsed.date != stored.date and parsed.days == stored.days:
        raise BadFile(
            f"the file is of {parsed.date} by its name, and every figure in it is that of {stored.date}, which is stored "
            "already: it is a wrong date (--force takes it)",
            field="date",
        )


def _older(date: datetime.date, stored: datetime.date) -> BadFile:
    return BadFile(f"the file is of {date}, but one of {stored} is stored already (--force goes back)", field="date")


def _date_in_master_name(name: str) -> datetime.date | None:
    match = _MASTER_DATE.search(name)
    if match is None:
        return None
    with contextlib.suppress(ValueError):
        return datetime.date(int(match[3]), int(match[2]), int(match[1]))
    return None


def _after(last: OfficialDay | None, parsed: DayFile, partial: bool) -> OfficialDay:
    """Put a day's file upon what is known from the days before it."""
    closes, instruments, days = {}, {}, {}
    if last is not None:
        same = last.date == parsed.date and partial
        closes = {
            symbol: close
            for symbol, close in last.closes.items()
            if parsed.date - CARRIED <= close.date and (close.date < parsed.date or same)
        }
        days = {symbol: day for symbol, day in last.days.items() if same}
        instruments = {symbol: i for symbol, i in last.instruments.items() if symbol in closes or symbol in days}
    days |= parsed.days
    instruments |= parsed.instruments
    for symbol, figures in parsed.days.items():
        if figures.close:
            closes[symbol] = Close(figures.close, parsed.instruments[symbol].scale, parsed.date)
    return OfficialDay(parsed.date, days, instruments, closes)


def _ranges(day: OfficialDay) -> dict[str, DayRange]:
    traded = ((symbol, figures) for symbol, figures in day.days.items() if figures.high and figures.low)
    return {symbol: DayRange(f.high, f.low, day.instruments[symbol].scale) for symbol, f in traded}


def _changed(before: dict[str, Any], after: dict[str, Any]) -> int:
    return sum(before[symbol] != after[symbol] for symbol in before.keys() & after.keys())


def _facts_that_differ(instruments: dict[str, Instrument]) -> list[str]:
    warnings = []
    for constituent in builtin.SENSEX:
        found = instruments.get(constituent.code)
        if found is None:
            warnings.append(f"{constituent.code} ({constituent.id}), of the built-in SENSEX 30, is not in the master")
        elif (found.id, found.isin) != (constituent.id, constituent.isin):
            warnings.append(
                f"{constituent.code} is {found.id} {found.isin} in the master, "
                f"{constituent.id} {constituent.isin} in the built-in SENSEX 30: the master counts"
            )
    return warnings


def _doubts(parsed: DayFile, last: StoredDay | None, master: StoredMaster | None, partial: bool) -> list[str]:
    warnings = []
    rows = len(parsed.days)
    if rows < FEW_ROWS and not partial and last is None:
        warnings.append(f"the file has {rows} rows, a whole day more than {FEW_ROWS}: it may be an excerpt")
    unknown = sum(code not in master.instruments for code in parsed.days) if master else rows
    if unknown:
        why = "have no row in the master" if master else "are not described by a master (none is imported)"
        warnings.append(f"{unknown} of {rows} scrips {why}: their descriptions are provisional")
    if last is not None and last.day.date < parsed.date:
        other = sum(_other_close(symbol, parsed, last.day) for symbol in parsed.days.keys() & last.day.closes.keys())
        if other:
            warnings.append(
                f"{other} previous closes are not the stored closes of {last.day.date} and before: "
                "days are missing, or they were adjusted for corporate actions"
            )
    return warnings


def _other_close(symbol: str, parsed: DayFile, last: OfficialDay) -> bool:
    close, scale = last.closes[symbol], parsed.instruments[symbol].scale
    return scaled(close.price, close.scale, scale) != parsed.days[symbol].previous_close
