"""What the hub needs from its neighbours: rows it can have encoded, and a place to write frames to."""

from collections.abc import Sequence
from typing import Any, Protocol

from bhavcast.domain.shape import Shape


class Row(Protocol):
    """A row of the board, as far as the hub cares."""

    symbol: str
    rev: int

    @property
    def slot(self) -> int:
        """Its number in the board's order."""

    @property
    def hidden(self) -> bool:
        """Whether it is no part of "everything": shown only to whoever asks for it by name."""


class Board(Protocol):
    """The gateway's replica."""

    epoch: str
    rev: int

    @property
    def order(self) -> Sequence[Row]:
        """All rows, by slot."""


class Encoder(Protocol):
    """Encodes the board's rows in one shape."""

    shape: Shape

    def full(self, row: Any) -> bytes:
        """Return the whole quote."""

    def delta(self, row: Any, since: int) -> bytes:
        """Return the fields that changed after a revision; nothing if none did."""

    def deltas(self, rows: list[Any], since: int) -> list[bytes]:
        """Return `delta` of each row."""

    def forget(self) -> None:
        """Drop what is kept."""


class Sink(Protocol):
    """The client's end of the wire. Nothing here waits."""

    @property
    def full(self) -> bool:
        """Whether so much is unsent (HIGH_WATER) that another frame would only wait there."""

    @property
    def wire(self) -> int:
        """The descriptor of a socket that takes a WebSocket's frames at once; -1 where `send` must be asked."""

    def send(self, *parts: bytes, pos: str | None = None) -> None:
        """Put one message together and write it; `pos` is the position it completes, for wires that carry it apart."""

    def buffered(self) -> int:
        """Return how many bytes have been written and not been taken by the network."""

    def close(self, code: int, reason: str) -> None:
        """End the connection with a numbered reason."""
