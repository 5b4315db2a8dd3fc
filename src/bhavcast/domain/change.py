"""What the board says: changes with revisions, and the messages that carry them. Frozen, versioned, sent and stored."""

from typing import Any, Final

import msgspec

from bhavcast.domain.field import Value, Values
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.position import Position

VERSION: Final = 1


class Change(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The fields of one scrip that changed at revision `rev`, with absolute values; None: has no value now."""

    symbol: str
    rev: int
    values: Values


class Message(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One entry of the bus and the journal: what happened between revisions `from_rev` (exclusive start + 1) and `to_rev`.

    `from_rev = previous to_rev + 1` always; a reader that finds otherwise takes a snapshot. `published` is market time,
    milliseconds. Exactly the kinds that are not empty are carried: `changes` (of quotes and indices), `facts` (feed
    states, market phase, gaps, the canary …: name → latest content), `instruments` (new or altered ones).
    """

    version: int = VERSION
    epoch: str
    token: int
    from_rev: int
    to_rev: int
    published: int
    received: int = 0
    changes: list[Change] = []
    facts: dict[str, Any] = {}
    instruments: list[Instrument] = []


class RowImage(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One row as it stands: per field its value and the revision at which it last changed (0: never had one)."""

    symbol: str
    rev: int
    values: list[Value]
    revs: list[int]


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything at one position: the first message of an epoch, a checkpoint of the journal, a reader's beginning.

    `planned` says that the step from the epoch before lost nothing (a day roll, an import). `market` is the market time.
    """

    version: int = VERSION
    epoch: str
    rev: int
    token: int
    market: int
    planned: bool = False
    rows: list[RowImage]
    facts: dict[str, Any]
    instruments: list[Instrument]

    @property
    def position(self) -> Position:
        """The position at which this picture is complete."""
        return Position(self.epoch, self.rev)
