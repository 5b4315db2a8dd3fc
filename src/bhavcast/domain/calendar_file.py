"""A calendar as a person writes it: the days that differ from "weekdays trade, at the hours of their date".

As CSV (blank lines and lines that begin with # are skipped; more cells are more windows; quote a name with a comma):

    date,kind,name,windows
    2027-01-01,complete_year,List of trading holidays 2027
    2027-01-26,holiday,Republic Day
    2027-02-01,special_session,Union Budget
    2026-11-08,muhurat,Diwali Laxmi Pujan,pre_open_entry=18:00-18:08 pre_open_match=18:08-18:12,continuous=18:15-19:15

The same as TOML:

    [[day]]
    date = 2026-11-08
    kind = "muhurat"
    name = "Diwali Laxmi Pujan"
    windows = ["pre_open_entry=18:00-18:08", "pre_open_match=18:08-18:12", "continuous=18:15-19:15"]

Kinds: `holiday`: no trading. `muhurat`: a holiday with a session; without windows its hours are unknown.
`special_session`: trading on a day that would have none (a weekend, a withdrawn holiday) or at hours of its own; without
windows at the usual hours. `complete_year`: the file names every special day of that date's year (any date of it).
Windows are written as in `bhavcast.domain.hours`.
"""

import csv
import re
import tomllib
from collections.abc import Iterator
from datetime import date
from typing import Any, Final, Literal, NamedTuple, cast, get_args

from bhavcast.domain.errors import BadFile
from bhavcast.domain.hours import Hours, parse_hours

DayKind = Literal["holiday", "muhurat", "special_session", "complete_year"]
COLUMNS: Final = ("date", "kind", "name", "windows")
_KINDS: Final[tuple[str, ...]] = get_args(DayKind)
_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TOML_START = re.compile(r"\[|[\w\"'-]+\s*=")
_TOML_DAY = re.compile(r"\s*\[\[\s*day\s*\]\]")
_TOML_LINE = re.compile(r"\(at line (\d+)")


class SpecialDay(NamedTuple):
    """One line of a calendar; `hours` is None where the file gives none."""

    date: date
    kind: DayKind
    name: str
    hours: Hours | None


class _Entry(NamedTuple):
    """One line before it is understood: the line's number (None: not known) and its columns, as they came."""

    line: int | None
    date: object
    kind: object
    name: object
    windows: str


def parse_calendar(text: str) -> list[SpecialDay]:
    """Read a calendar, CSV or TOML by its first line, in the order of the file.

    Raises:
        BadFile: it is not a calendar, or a date stands twice; says line, field, what was expected and what came.
    """
    text = text.removeprefix("\ufeff")
    days: list[SpecialDay] = []
    lines: dict[date, int | None] = {}
    for entry in _toml_entries(text) if _is_toml(text) else _csv_entries(text):
        day = _understand(entry)
        if day.kind != "complete_year":
            if day.date in lines:
                first = "" if lines[day.date] is None else f", first on line {lines[day.date]}"
                raise BadFile(
                    f"date: expected each day once, got {day.date} again{first}", row=entry.line, field="date"
                )
            lines[day.date] = entry.line
        days.append(day)
    return days


def _is_toml(text: str) -> bool:
    lines = (line.strip() for line in text.splitlines())
    return _TOML_START.match(next((line for line in lines if line and not line.startswith("#")), "")) is not None


def _understand(entry: _Entry) -> SpecialDay:
    day = _date(entry)
    if entry.kind not in _KINDS:
        raise _wrong(entry, "kind", " or ".join(_KINDS), entry.kind)
    kind = cast("DayKind", entry.kind)
    if not isinstance(entry.name, str) or not entry.name.strip():
        raise _wrong(entry, "name", "the name of the day", entry.name)
    if not entry.windows.strip():
        return SpecialDay(day, kind, entry.name.strip(), None)
    if kind in ("holiday", "complete_year"):
        raise _wrong(entry, "windows", f"none for a {kind}", entry.windows)
    try:
        hours = parse_hours(entry.windows)
    except ValueError as error:
        raise BadFile(f"windows: {error}", row=entry.line, field="windows") from error
    return SpecialDay(day, kind, entry.name.strip(), hours)


def _date(entry: _Entry) -> date:
    if type(entry.date) is date:  # TOML has dates of its own; a datetime is one too, and not meant
        return entry.date
    if isinstance(entry.date, str) and _ISO_DATE.fullmatch(entry.date):
        try:
            return date.fromisoformat(entry.date)
        except ValueError:  # the 30th of February
            pass
    raise _wrong(entry, "date", "a day as YYYY-MM-DD", entry.date)


def _wrong(entry: _Entry, field: str, expected: str, got: object) -> BadFile:
    shown = "nothing" if got in (None, "") else repr(got)[:80]
    return BadFile(f"{field}: expected {expected}, got {shown}", row=entry.line, field=field)


def _csv_entries(text: str) -> Iterator[_Entry]:
    header = False
    for line, cells in _csv_rows(text):
        if not header:
            if tuple(cell.lower() for cell in cells) not in (COLUMNS, COLUMNS[:3]):
                got = repr(",".join(cells))[:80]
                raise BadFile(f"expected the header {','.join(COLUMNS)}, got {got}", row=line, field="header")
            header = True
            continue
        if len(cells) < 3:
            raise BadFile(
                f"{COLUMNS[len(cells)]}: expected date,kind,name, got {len(cells)} of them",
                row=line,
                field=COLUMNS[len(cells)],
            )
        yield _Entry(line, cells[0], cells[1], cells[2], " ".join(cells[3:]))
    if not header:
        raise BadFile(f"expected the header {','.join(COLUMNS)}, got an empty file", field="header")


def _csv_rows(text: str) -> Iterator[tuple[int, list[str]]]:
    for line, row in enumerate(text.splitlines(), start=1):
        if not row.strip() or row.lstrip().startswith("#"):
            continue
        try:
            cells = next(csv.reader([row], strict=True))
        except csv.Error as error:
            raise BadFile(f"expected a line of CSV, got {row[:60]!r} ({error})", row=line) from error
        yield line, [cell.strip() for cell in cells]


def _toml_entries(text: str) -> Iterator[_Entry]:
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not only TOMLDecodeError: a number of 5,000 digits is another
        at = _TOML_LINE.search(str(error))
        raise BadFile(f"expected TOML: {error}", row=int(at[1]) if at else None) from error
    for key in content:
        if key != "day":
            raise BadFile(f"expected only [[day]] tables, got {key[:40]!r}", field=key)
    days = content.get("day")
    if not isinstance(days, list) or not all(isinstance(day, dict) for day in days):
        raise BadFile("day: expected [[day]] tables", field="day")
    lines = [line for line, row in enumerate(text.splitlines(), start=1) if _TOML_DAY.match(row)]
    known = len(lines) == len(days)  # otherwise written as an inline list: no line can be named
    for number, day in enumerate(days):
        yield _toml_entry(lines[number] if known else None, day)


def _toml_entry(line: int | None, day: dict[str, Any]) -> _Entry:
    for key in day:
        if key not in COLUMNS:
            raise BadFile(f"{key[:40]}: expected {', '.join(COLUMNS)}, got {key[:40]!r}", row=line, field=key)
    entry = _Entry(line, day.get("date"), day.get("kind"), day.get("name"), "")
    windows = day.get("windows", [])
    if not isinstance(windows, list) or not all(isinstance(window, str) for window in windows):
        raise _wrong(entry, "windows", "a list of texts", windows)
    return entry._replace(windows=" ".join(windows))
