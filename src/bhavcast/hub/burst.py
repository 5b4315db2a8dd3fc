"""A slice of a flush: frames for some clients, joined from rows that are encoded already, and sent."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from bhavcast.domain.shape import Shape
from bhavcast.hub import frame
from bhavcast.hub.outbox import Outbox


class Flush(NamedTuple):
    """What is the same for all clients of one flush.

    `rows` has a cell for each slot: the encoded row, with a comma before it in JSON, or nothing.
    """

    rows: list[bytes]
    pos: str
    before: bytes
    after: bytes
    binary: bool

    @classmethod
    def at(cls, head: Mapping[str, Any], rows: list[bytes], shape: Shape) -> "Flush":
        """Return a flush; its head has the position at which it starts."""
        return cls(rows, head["pos"], *frame.ends(head, shape), shape.binary)

    def join(self, packed: bytes) -> bytes:
        """Return the rows of some slots (int32), joined."""
        joined = b"".join(map(self.rows.__getitem__, memoryview(packed).cast("i")))
        return joined if self.binary else joined[1:]


# Who gets which slots, packed. Returned are those who got nothing, because there was nothing for them.
Turn = list[tuple[Outbox, bytes]]
Burst = Callable[[Turn, Flush], list[Outbox]]


def send(turn: Turn, flush: Flush) -> list[Outbox]:
    """Send each client its rows in one frame."""
    idle = []
    for outbox, packed in turn:
        rows = flush.join(packed)
        if rows:
            outbox.sink.send(flush.before, rows, flush.after, pos=flush.pos)
        else:
            idle.append(outbox)
    return idle
