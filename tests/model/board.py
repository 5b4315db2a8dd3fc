"""The board: rows whose every field remembers the revision at which it last changed (Positions, 1 and 2)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

Value = int | None  # None: the field has no value now
Cell = tuple[Value, int]  # value, revision of its last change
Shape = tuple[str, ...]  # the fields a reader asked for

FIELDS: Shape = ("last", "volume", "ask", "previous")
SHAPES: tuple[Shape, ...] = (FIELDS, ("last", "volume"), ("last", "ask", "previous"))
SYMBOLS = ("A", "B", "C", "D", "E")
CANARY = "000000"


class Pos(NamedTuple):
    """A position; two of them compare as ahead or behind by `rev` alone."""

    epoch: str
    rev: int


class Quote(NamedTuple):
    """A row on the wire: every field of it (no None), or what changed (None: delete)."""

    rev: int
    values: dict[str, Value]


class Row(NamedTuple):
    """A row, or the changed part of one; never mutated, so a copy of a board is a copy of its dict."""

    cells: Mapping[str, Cell]
    rev: int

    def merged(self, newer: "Row") -> "Row":
        return Row({**self.cells, **newer.cells}, newer.rev)

    def newer(self, rev: int) -> "Row":
        return Row({f: c for f, c in self.cells.items() if c[1] > rev}, self.rev)

    def full(self, shape: Shape) -> Quote:
        return Quote(self.rev, {f: v for f, (v, _) in self.cells.items() if f in shape and v is not None})

    def delta(self, since: int, shape: Shape) -> Quote | None:
        """Return the fields newer than `since`, with absolute values; None when nothing of this shape is."""
        values = {f: v for f, (v, r) in self.cells.items() if r > since and f in shape}
        return Quote(self.rev, values) if values else None

    def without_cleared(self) -> "Row":
        """Forget what was cleared. Right only where an epoch begins; elsewhere it is a broken clause."""
        return Row({f: c for f, c in self.cells.items() if c[0] is not None}, self.rev)


Rows = dict[str, Row]


def merge(rows: Rows, newer: Mapping[str, Row], keep_cleared: bool) -> None:
    """Bring `rows` up to `newer`."""
    for symbol, part in newer.items():
        old = rows.get(symbol)
        row = old.merged(part) if old else part
        rows[symbol] = row if keep_cleared else row.without_cleared()


@dataclass(slots=True)
class Board:
    """The state one ingest writes."""

    epoch: str
    rev: int
    rows: Rows = field(default_factory=dict)

    @property
    def pos(self) -> Pos:
        return Pos(self.epoch, self.rev)

    def apply(self, changes: Iterable[tuple[str, Mapping[str, Value]]]) -> Rows:
        """Give each change the next revision; return the changed parts, a batch for journal and bus."""
        batch: Rows = {}
        for symbol, values in changes:
            self.rev += 1
            part = {symbol: Row({f: (v, self.rev) for f, v in values.items()}, self.rev)}
            merge(self.rows, part, keep_cleared=True)
            merge(batch, part, keep_cleared=True)
        return batch

    def newer(self, rev: int) -> Rows:
        return {s: r.newer(rev) for s, r in self.rows.items() if r.rev > rev}

    def new_epoch(self, epoch: str, first: int, stamp: bool = True) -> "Board":
        """Begin an epoch at revision `first`; rows are stamped anew, so a row's `rev` rises across epochs too."""
        board = Board(epoch, first)
        for symbol, row in self.rows.items():
            board.rev += 1
            cells = {f: (v, board.rev if stamp else r) for f, (v, r) in row.cells.items() if v is not None}
            board.rows[symbol] = Row(cells, board.rev if stamp else row.rev)
        return board

    def day_rolled(self, epoch: str, first: int) -> "Board":
        """Begin a day (8): the day's fields are empty, the last price is the previous close."""
        day = Board("", 0)
        for symbol, row in self.rows.items():
            close = row.cells.get("last", (None, 0))[0]
            held = close if close is not None else row.cells.get("previous", (None, 0))[0]
            day.rows[symbol] = Row({"previous": (held, row.rev)}, row.rev)
        return day.new_epoch(epoch, first)
