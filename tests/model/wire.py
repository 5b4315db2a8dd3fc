"""The WebSocket's messages, as values, and the connection that carries them in order."""

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.model.board import Pos, Quote, Shape


class Resume(NamedTuple):
    """The first command of a connection. Without `pos` it is a plain `sub`; `seen` keeps both from going back."""

    id: int
    pos: Pos | None
    seen: int
    symbols: frozenset[str]
    shape: Shape
    hz: int


class Sub(NamedTuple):
    id: int
    symbols: frozenset[str]


class Unsub(NamedTuple):
    id: int
    symbols: frozenset[str]


class Fields(NamedTuple):
    id: int
    shape: Shape


class Rate(NamedTuple):
    id: int
    hz: int


Command = Resume | Sub | Unsub | Fields | Rate


class Ack(NamedTuple):
    id: int


class Snap(NamedTuple):
    rows: dict[str, Quote | None]  # None: the board has no such row
    shape: Shape  # for the oracle; the wire does not say it


class Sync(NamedTuple):
    id: int  # of the last command handled before it
    pos: Pos
    symbols: frozenset[str]


class U(NamedTuple):
    rows: dict[str, Quote]
    pos: Pos | None
    shape: Shape  # for the oracle


class Hb(NamedTuple):
    pos: Pos | None


class Resumed(NamedTuple):
    recovered: bool
    lost: bool  # for the oracle: a declared loss may go back
    board: Pos  # for a broken clause only


class Reset(NamedTuple):
    lost: bool  # for the oracle


Frame = Ack | Snap | Sync | U | Hb | Resumed | Reset


@dataclass(slots=True, eq=False)
class Link:
    """A connection; a cut loses whatever was on its way."""

    up: deque[Command] = field(default_factory=deque)
    down: deque[tuple[str, Frame]] = field(default_factory=deque)  # with the gateway's epoch, for the oracle
    open: bool = True

    def close(self) -> None:
        self.open = False
        self.up.clear()
        self.down.clear()
