"""A slice of a flush: frames for some clients, joined from rows that are encoded already, and sent."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from bhavcast.domain.shape import Shape
from bhavcast.hub import frame
from bhavcast.hub.outbox import Outbox

COST: Final = 4 * 1024  # of a client besides its rows, in bytes: what else could be sent in that time
OWN_COST: Final = 16 * 1024  # of a client that has to be seen to singly


class Flush(NamedTuple):
    """What is the same for all clients of one flush.

    `rows` has a cell for each slot: the encoded row, with a comma before it in JSON, or nothing. `whole` are the slots of
    those who follow everything, packed as int32.
    """

    rows: list[bytes]
    whole: bytes
    pos: str
    before: bytes
    after: bytes
    binary: bool

    @classmethod
    def at(cls, head: Mapping[str, Any], rows: list[bytes], whole: bytes, shape: Shape) -> "Flush":
        """Return a flush; its head has the position at which it starts."""
        return cls(rows, whole, head["pos"], *frame.ends(head, shape), shape.binary)

    def of(self, outbox: Outbox) -> bytes:
        """Return the rows for a client, joined."""
        packed = self.whole if outbox.everything else outbox.packed
        joined = b"".join(map(self.rows.__getitem__, memoryview(packed).cast("i")))
        return joined if self.binary else joined[1:]


# Takes clients out of the set and sends each its rows in one frame, until it has spent so many bytes. Returned are the
# number of frames, and whom no such frame can be sent to: who is behind, or whose wire is full.
Burst = Callable[[set[Outbox], Flush, float, int], tuple[int, list[Outbox]]]


def send(unreached: set[Outbox], flush: Flush, now: float, budget: int) -> tuple[int, list[Outbox]]:
    """Do that; the one for any sink."""
    frames, left = 0, []
    while unreached and budget > 0:
        outbox = unreached.pop()
        if outbox.behind is not None or outbox.sink.full:
            left.append(outbox)
            budget -= OWN_COST
            continue
        rows = flush.of(outbox)
        if rows:
            outbox.sink.send(flush.before, rows, flush.after, pos=flush.pos)
            outbox.sent_at = now
            frames += 1
        budget -= COST + len(rows)
    return frames, left
