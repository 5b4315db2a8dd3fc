"""One client's end: what it subscribed, how far it has come, and whether it can take more.

An outbox holds no queue of prices. What a client has not got yet is a revision (`behind`), so a slow client costs what a
quick one does, and its next frame covers whatever it missed.
"""

from array import array
from collections import deque
from typing import Final

from bhavcast.domain.shape import Shape
from bhavcast.hub.port import Sink

# More than this unsent, and a flush passes the client over: its next delta simply covers more. Larger than any one
# frame of a usual subscription, small against what a kernel would buffer.
HIGH_WATER: Final = 64 * 1024


class Snap:
    """A snapshot asked for and not yet complete: its rows by slot, those still to go, and the message that asked."""

    __slots__ = ("count", "left", "message_id", "slots", "started", "whole_market")

    def __init__(self, slots: frozenset[int], message_id: int | None, *, whole_market: bool = False) -> None:
        self.slots = slots
        self.left = sorted(slots)
        self.message_id = message_id
        self.count = len(slots)
        self.started = False
        self.whole_market = whole_market

    def extend(self, slots: frozenset[int]) -> None:
        """Add rows."""
        self.slots |= slots
        self.left += sorted(slots)
        self.count += len(slots)

    def narrow(self, slots: frozenset[int]) -> None:
        """Leave out the rows still to go that are not among these."""
        before = len(self.left)
        self.slots &= slots
        self.left = sorted(self.slots.intersection(self.left))
        self.count -= before - len(self.left)


class Outbox:
    """One client of the hub."""

    __slots__ = (
        "behind",
        "everything",
        "hz",
        "late_s",
        "late_since",
        "own_rev",
        "packed",
        "passed_over",
        "sent_at",
        "shape",
        "sink",
        "slots",
        "snap_rev",
        "snaps",
        "stuck",
        "stuck_since",
    )

    def __init__(self, sink: Sink, shape: Shape, hz: float, now: float) -> None:
        self.sink = sink
        self.shape = shape
        self.hz = hz
        self.slots: frozenset[int] = frozenset()
        self.everything = False
        # None: in step with its cohort. Otherwise the revision after which it needs a frame of its own.
        self.behind: int | None = None
        # The revision of its last own frame, which may be past its cohort's last flush.
        self.own_rev = 0
        self.snaps: deque[Snap] = deque()
        # While a snapshot is under way: the board's revision when its first piece was encoded. Until its `sync` no frame
        # may move the client's position.
        self.snap_rev: int | None = None
        self.sent_at = now
        # Flushes that passed it over; since when it has been behind for that, and for how long it was at most.
        self.passed_over = 0
        self.late_since: float | None = None
        self.late_s = 0.0
        # Of a full wire, the unsent bytes at the last look and since when they have not become fewer: the slow policy's
        # evidence. A wire that is not full is written to, so its unsent bytes tell nothing.
        self.stuck = 0
        self.stuck_since: float | None = None
        # The slots as int32 in their order, which is that of the rows in a frame; of everything a flush has them.
        self.packed = b""

    @property
    def full(self) -> bool:
        """Whether the wire still holds so much that another frame would only wait there."""
        return self.sink.full

    def want(self, slots: frozenset[int], *, everything: bool = False) -> None:
        """Replace what is subscribed."""
        self.slots = slots
        self.everything = everything
        self.packed = b"" if everything else array("i", sorted(slots)).tobytes()
