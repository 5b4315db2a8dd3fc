"""Clients that are shown the same at the same moments: a dirty row is encoded once for all of them."""

from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final

from bhavcast.hub import frame
from bhavcast.hub.burst import Burst, Flush
from bhavcast.hub.everything import Everything
from bhavcast.hub.outbox import Outbox
from bhavcast.hub.port import Board, Encoder, Row

# A flush of thousands of clients lets others use the loop after each slice: measured, HTTP p99 beside 3,000 streaming
# clients falls from 47-70 ms to 1-1.5 ms.
# More are another cohort, which flushes at another moment: nobody waits longer than for these, but rows are encoded once for
# each. Measured with 5,000 clients at 10 Hz: in two cohorts p99 is 125 to 135 ms, in one 152 to 162, for a twentieth less CPU.
MEMBERS: Final = 2500
SLICE: Final = 768 * 1024  # bytes, and what takes as long: about a millisecond
# Of a row that is encoded, in bytes that could be sent in that time: the first slice is shorter by so much.
ROW_COST: Final = 1536


class Cohort:
    """Outboxes of one shape and rate (`hz`, 0 for every batch)."""

    def __init__(
        self,
        board: Board,
        everything: Everything,
        encoder: Encoder,
        hz: float,
        burst: Burst,
        slice_bytes: int,
        stamps: Callable[[], dict[str, int]] = dict,
    ) -> None:
        self._burst, self._slice = burst, slice_bytes
        self._stamps = stamps if encoder.shape.stamps else None
        self.board = board
        self._everything = everything
        self.encoder = encoder
        self.hz = hz
        self.binary = encoder.shape.binary
        self.members: set[Outbox] = set()
        self.everyone: set[Outbox] = set()
        self.laggards: set[Outbox] = set()
        self.dirty: set[int] = set()
        self.flushed = board.rev
        self.frames = 0
        self.skips = 0
        # While a flush is under way: whom it has not reached yet, and where they stand.
        self._unreached: set[Outbox] = set()
        self._since = board.rev
        self._interest: dict[int, set[Outbox]] = {}  # by slot, those that somebody asked for
        self._fragments: list[bytes] = []  # by slot: what a flush says of a row

    @property
    def due(self) -> bool:
        """Whether a flush would have anything to say."""
        return bool(self.dirty or self.laggards)

    def position(self, rev: int) -> str:
        """Write a revision of the present epoch as a position."""
        return f"{self.board.epoch}:{rev}"

    def head(self, pos: str | None) -> dict[str, Any]:
        """Return the head of a `u`; it moves the position if it has one."""
        head: dict[str, Any] = {"t": "u"} if pos is None else {"t": "u", "pos": pos}
        return head if self._stamps is None else head | {"stamps": self._stamps()}

    def reached(self, outbox: Outbox) -> int:
        """Return the revision to which a member is complete."""
        if outbox.behind is not None:
            return outbox.behind
        return max(outbox.own_rev, self._since if outbox in self._unreached else self.flushed)

    # -- membership -------------------------------------------------------------------------------------------------

    def join(self, outbox: Outbox, *, behind: int | None) -> None:
        """Take in a client that is complete up to revision `behind`, or has nothing yet (None)."""
        outbox.shape, outbox.hz = self.encoder.shape, self.hz
        outbox.behind = behind
        self.members.add(outbox)
        self._register(outbox)
        if behind is not None:
            self.laggards.add(outbox)

    def leave(self, outbox: Outbox) -> None:
        """Forget a client."""
        self._unregister(outbox)
        self.members.discard(outbox)
        self.laggards.discard(outbox)
        self._unreached.discard(outbox)

    def want(self, outbox: Outbox, slots: frozenset[int], *, everything: bool) -> None:
        """Replace what a member subscribes."""
        self._unregister(outbox)
        outbox.want(self._everything.slots if everything else slots, everything=everything)
        self._register(outbox)

    def _register(self, outbox: Outbox) -> None:
        self.grow()
        if outbox.everything:
            self.everyone.add(outbox)
            return
        for slot in outbox.slots:
            self._interest.setdefault(slot, set()).add(outbox)

    def _unregister(self, outbox: Outbox) -> None:
        self.everyone.discard(outbox)
        if not outbox.everything:
            for slot in outbox.slots:
                who = self._interest[slot]
                who.discard(outbox)
                if not who:
                    del self._interest[slot]

    def subscribed(self) -> Collection[int]:
        """Return the slots that somebody asked for by name."""
        return self._interest.keys()

    def grow(self) -> None:
        """Make room for rows that were added."""
        missing = len(self.board.order) - len(self._fragments)
        self._fragments.extend([b""] * missing)

    def reset(self) -> None:
        """Begin again on another epoch: rows may have other slots, and nobody holds anything."""
        self._interest, self._fragments = {}, []  # a flush under way goes on with the ones it has
        self.dirty.clear()
        self.laggards.clear()
        self.everyone.clear()
        self._unreached.clear()
        self.flushed = self.board.rev
        self.grow()
        for outbox in self.members:
            outbox.want(frozenset())
            outbox.behind = outbox.late_since = None
            outbox.own_rev = 0

    # -- delivery ---------------------------------------------------------------------------------------------------

    def flush(self, now: float) -> Iterator[None]:
        """Send every member what changed since the last flush; yield after each slice of clients.

        The flush has the position at which it starts. All fragments are made before the first yield, so that what is
        sent under that position is what stood there.
        """
        since, rev, epoch = self.flushed, self.board.rev, self.board.epoch
        slots, self.dirty = self.dirty, set()
        self._since, self.flushed = since, rev
        wanted = self._encode(slots, since)
        rows, order = self._fragments, self.board.order
        whole = array("i", [slot for slot in wanted if not order[slot].hidden]).tobytes() if self.everyone else b""
        flush = Flush.at(self.head(self.position(rev)), rows, whole, self.encoder.shape)
        self._unreached = unreached = self._targets(wanted)
        budget = self._slice - ROW_COST * len(wanted)
        while unreached:  # whoever leaves, or is brought up to date meanwhile, is taken out
            frames, left = self._burst(unreached, flush, now, budget)
            budget = self._slice
            self.frames += frames
            for outbox in left:
                if outbox.behind is not None:
                    self._own(outbox, now)
                elif flush.of(outbox):
                    self._pass_over(outbox, since, now)
            if unreached:
                yield
            if self.board.epoch != epoch:
                return  # a reset has started everyone anew, and the rows with them
        for slot in wanted:
            rows[slot] = b""

    def _targets(self, wanted: Sequence[int]) -> set[Outbox]:
        """Return whom a flush is for: all members, or of few dirty rows those who asked for one."""
        asked, left = [], len(self.members)
        for slot in filter(self._interest.__contains__, wanted):
            who = self._interest[slot]
            asked.append(who)
            left -= len(who)
            if left <= 0:
                return set(self.members)
        return self.everyone.union(self.laggards, *asked)

    def _encode(self, slots: set[int], since: int) -> list[int]:
        order, fragments = self.board.order, self._fragments
        wanted = list(slots if self.everyone else filter(self._interest.__contains__, slots))
        comma = b"" if self.binary else b","
        for slot, encoded in zip(wanted, self.encoder.deltas([order[slot] for slot in wanted], since), strict=True):
            if encoded:
                fragments[slot] = comma + encoded
        return wanted

    def _pass_over(self, outbox: Outbox, since: int, now: float) -> None:
        """Leave out a client whose wire is full: it stays where it stood, and its next frame covers more."""
        outbox.behind = max(since, outbox.own_rev)
        outbox.late_since = now
        outbox.passed_over += 1
        self.laggards.add(outbox)
        self.skips += 1

    def _own(self, outbox: Outbox, now: float) -> None:
        """Bring one client up to date by a frame of its own, made from the field revisions."""
        if outbox.snap_rev is not None:
            return
        if outbox.full:
            outbox.passed_over += 1
            outbox.late_since = now if outbox.late_since is None else outbox.late_since
            self.skips += 1
            return
        self.catch_up(outbox, now)

    def news(self, outbox: Outbox) -> list[bytes]:
        """Return what is newer than a client's position, a row each."""
        since = self.reached(outbox)
        changed = (row for row in self.rows(outbox) if row.rev > since)
        return [each for row in changed if (each := self.encoder.delta(row, since))]

    def catch_up(self, outbox: Outbox, now: float, *, silent: bool = False) -> None:
        """Send everything newer than a client's position in one unsplit frame, if there is anything.

        A `silent` one leaves the position where it is: something else that belongs to it is still to come.
        """
        self.bring(outbox, self.news(outbox), now, silent=silent)

    def bring(
        self, outbox: Outbox, news: list[bytes], now: float, *, always: bool = False, silent: bool = False
    ) -> None:
        """Send a client its news. `always`: the frame after `resumed` moves the position also without any."""
        if news or always:
            pos = None if silent else self.position(self.board.rev)
            body = frame.join(news, binary=self.binary)
            outbox.sink.send(*frame.rows(self.head(pos), body, self.encoder.shape), pos=pos)
            outbox.sent_at = now
            self.frames += 1
        # The board is at or past this cohort's last flush, so from here on the joined frames will do.
        outbox.behind = None
        if outbox.late_since is not None:
            outbox.late_s, outbox.late_since = max(outbox.late_s, now - outbox.late_since), None
        outbox.own_rev = self.board.rev
        self.laggards.discard(outbox)
        self._unreached.discard(outbox)

    def rows(self, outbox: Outbox) -> Sequence[Row]:
        """Return the rows a client subscribes."""
        if outbox.everything:
            return self._everything.rows
        order = self.board.order
        return [order[slot] for slot in sorted(outbox.slots)]
