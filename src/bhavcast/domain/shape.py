"""Shapes: what a client is shown of a quote."""

from typing import Final, NamedTuple

from bhavcast.domain import field
from bhavcast.domain.errors import BadRequest

MAX_DEPTH: Final = 5
# Besides the presets a gateway encodes this many field lists at once; each costs an encoding of every dirty row.
MAX_CUSTOM_SHAPES: Final = 32


class Shape(NamedTuple):
    """Which fields, how many levels of depth, in which encoding (JSON, or MessagePack if `binary`), with stamps or not.

    `dialect`: another protocol's way of writing a row. It always shows the row whole, its rows are joined as they are
    (so it is `binary` here), and it knows none of the messages of `/ws`: its session says what is to be said.
    """

    numbers: tuple[int, ...] = field.FULL
    depth: int = 0
    binary: bool = False
    stamps: bool = False
    dialect: str = ""

    @property
    def whole(self) -> bool:
        """Whether the quote is shown with its instrument's description."""
        return self.numbers == field.FULL

    @property
    def custom(self) -> bool:
        """Whether the fields are a list of the client's own rather than a preset."""
        return not self.dialect and self.numbers not in field.PRESETS.values()


def parse_fields(value: object) -> tuple[int, ...]:
    """Read a preset's name or a list of field names, in any order, into field numbers in the table's order."""
    if isinstance(value, str):
        preset = field.PRESETS.get(value)
        if preset is not None:
            return preset
        value = value.split(",")
    if not isinstance(value, list) or not value:
        raise BadRequest(f"expected one of {', '.join(field.PRESETS)} or a list of field names", field="fields")
    numbers = set()
    for name in value:
        known = field.BY_NAME.get(name) if isinstance(name, str) else None
        if known is None or known.number in field.LADDERS:
            hint = " (ask for depth instead)" if known else ""
            raise BadRequest(f"expected field names of a quote, got {str(name)[:40]!r}{hint}", field="fields")
        numbers.add(known.number)
    return tuple(sorted(numbers))


def parse_depth(value: object) -> int:
    """Read the number of levels, 0 to 5."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_DEPTH:
        raise BadRequest(f"expected a whole number from 0 to {MAX_DEPTH}, got {str(value)[:40]!r}", field="depth")
    return value
