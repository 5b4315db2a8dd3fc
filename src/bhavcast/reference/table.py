"""Read the exchange's comma-separated files strictly: anything torn, foreign or garbled is refused with its row."""

import csv
import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from bhavcast.domain.errors import BadFile
from bhavcast.domain.price import parse_price

MOST_BYTES: Final = 64 * 1024 * 1024  # the largest of these files, the master, has 3.6 MB
MOST_ROWS: Final = 500_000
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_NOT_A_NUMBER: Final = frozenset(("nan", "nat", "null", "none", "inf", "-inf", "-"))


class Table(NamedTuple):
    """A header and its rows, every row as long as the header; the first row of `rows` is row 2 of the file."""

    header: list[str]
    rows: list[list[str]]


class Row:
    """One row of a table by the names of its columns; every refusal names row and column."""

    __slots__ = ("_cells", "_columns", "number")

    def __init__(self, columns: dict[str, int], cells: list[str], number: int) -> None:
        self._columns = columns
        self._cells = cells
        self.number = number

    def optional(self, column: str) -> str:
        """Return the cell without surrounding blanks, empty where the file has no such column."""
        place = self._columns.get(column)
        return "" if place is None else self._cells[place].strip(" \t")

    def text(self, column: str, most: int) -> str:
        """Return a cell that must not be empty, nor longer than `most` characters."""
        cell = self.optional(column)
        if not cell:
            raise self.bad(column, "is empty")
        # In lower or mixed case only: NAN and NULL in capitals could be an id.
        if cell in ("nan", "NaN", "NaT", "null"):
            raise self.bad(column, f"has no value ({cell})")
        if len(cell) > most:
            raise self.bad(column, f"has {len(cell)} characters, expected at most {most}")
        return cell

    def number_of(self, column: str, scale: int, most: int, least: int = 0) -> int:
        """Return a decimal as an integer of 10 ** -scale, between `least` and `most`."""
        cell = self.optional(column)
        if not cell:
            raise self.bad(column, "is empty")
        if cell.lower() in _NOT_A_NUMBER:
            raise self.bad(column, f"has no value ({cell})")
        try:
            value = parse_price(cell, scale)
        except ValueError as error:
            raise self.bad(column, str(error)) from None
        if value < least:
            raise self.bad(column, f"is {cell}, expected {'no negative number' if least == 0 else 'more than zero'}")
        if value > most:
            raise self.bad(column, f"is {cell}, which is beyond any plausible size")
        return value

    def bad(self, column: str, reason: str) -> BadFile:
        """Make the error that refuses the file because of this cell."""
        return BadFile(f"{column} {reason}", row=self.number, field=column)


def read_table(content: bytes, what: str) -> Table:
    """Split a file into header and rows; raise BadFile, saying `what` was expected, unless it is complete and clean."""
    if not content.strip():
        raise BadFile(f"expected {what}, got an empty file")
    if len(content) > MOST_BYTES:
        raise BadFile(f"expected {what}, got {len(content)} bytes, more than any such file has")
    _refuse_foreign(content, what)
    lines = _lines(_decode(content))
    if len(lines) < 2:
        raise BadFile(f"expected {what}, got a header without rows")
    if len(lines) > MOST_ROWS:
        raise BadFile(f"expected {what}, got {len(lines)} lines, more than any such file has")
    header = [cell.strip() for cell in _cells(lines[0], 1)]
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        cells = _cells(line, number)
        if len(cells) != len(header):
            raise BadFile(f"expected {len(header)} columns as in the header, got {len(cells)}", row=number)
        rows.append(cells)
    return Table(header, rows)


def rows_of(table: Table, required: Iterable[str], what: str) -> Iterator[Row]:
    """Yield the rows by column name; raise BadFile if the header lacks a required column or has one twice."""
    missing = [name for name in required if name not in table.header]
    if missing:
        raise BadFile(f"expected {what}, but the header has no column {', '.join(missing)}", row=1, field=missing[0])
    for name in required:
        if table.header.count(name) > 1:
            raise BadFile(f"the header has the column {name} more than once", row=1, field=name)
    columns = {name: place for place, name in enumerate(table.header)}
    return (Row(columns, cells, number) for number, cells in enumerate(table.rows, start=2))


def _refuse_foreign(content: bytes, what: str) -> None:
    if content[:4] in (b"PK\x03\x04", b"PK\x05\x06") or content[:2] == b"\x1f\x8b":
        raise BadFile(f"expected {what}, got a compressed archive: unpack it first")
    # The exchange answers a missing file with status 200 and the page of its web site.
    if content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
        raise BadFile(f"expected {what}, got a web page: the exchange has no such file (it answers with status 200)")


def _decode(content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        raise BadFile(f"byte {error.start} is not UTF-8 text", row=row) from None
    control = _CONTROL.search(text)
    if control is not None:
        row = text.count("\n", 0, control.start()) + 1
        raise BadFile(f"a control character ({control[0]!r}) is in the text", row=row)
    return text


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    if lines[-1].strip():
        raise BadFile("the file ends in the middle of a line: it is truncated", row=len(lines))
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def _cells(line: str, number: int) -> list[str]:
    line = line.removesuffix("\r")
    if "\r" in line:
        raise BadFile("a carriage return is in the middle of a line", row=number)
    if '"' not in line:
        return line.split(",")
    try:
        return next(csv.reader([line], strict=True))
    except csv.Error as error:
        raise BadFile(f"the quotes do not match ({error})", row=number) from None
