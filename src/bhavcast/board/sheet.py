"""The sheet: where the values of a board's rows stand, each with the revision at which it last changed.

What a machine without a C compiler uses; _sheet.c is the same for the others, with all rows side by side in memory.
"""

from collections.abc import Iterator
from typing import Any

from bhavcast.domain.field import Held, Values


class Sheet:
    """Where the values of a board's rows stand; its length is how many rows there are."""

    def __init__(self, fields: int) -> None:
        self.fields = fields
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self) -> int:
        """Return the number of a further row."""
        self._count += 1
        return self._count - 1

    def take(self, _changes: object) -> list[int] | None:
        """Put each of some encoded changes into its row, by symbol; return the rows' slots. None: the caller has to do it."""
        return None


class Cells:
    """The values of one row of a sheet, by field number."""

    __slots__ = ("_values", "rev", "revs", "scale", "slot")

    def __init__(self, sheet: Sheet, _symbol: str, scale: int) -> None:
        self.slot = sheet.add()
        self.scale = scale
        self.rev = 0
        self.revs = [0] * sheet.fields
        self._values: list[Held] = [None] * sheet.fields

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[Held]:
        return iter(self._values)

    def __getitem__(self, number: int) -> Held:
        return self._values[number]

    def __setitem__(self, number: int, value: Held) -> None:
        self._values[number] = value

    def changed(self, number: int) -> int:
        """Return the revision at which a field last changed; 0 if it never had a value."""
        return self.revs[number]

    def differing(self, values: Values) -> Values:
        """Return those of some values, by number, that are not the row's."""
        mine = self._values
        return {number: value for number, value in values.items() if mine[number] != value}

    def put(self, rev: int, values: Values) -> None:
        """Take over values, by number, as of a revision."""
        mine, revs = self._values, self.revs
        for number, value in values.items():
            mine[number] = value
            revs[number] = rev
        self.rev = rev

    def load(self, rev: int, values: list[Any], revs: list[int]) -> None:
        """Become what is given. Fields beyond those given stay as they are."""
        self._values[: len(values)] = values
        self.revs[: len(revs)] = revs
        self.rev = rev

    def stamp(self, rev: int) -> None:
        """Make this the revision of the row, and of every field that has one."""
        self.revs = [rev if each else 0 for each in self.revs]
        self.rev = rev


def deltas(rows: list[Any], _since: int, _columns: object) -> list[bytes | None]:
    """Return of each row the fields newer than a revision as JSON. None: the caller has to do it."""
    return [None] * len(rows)
