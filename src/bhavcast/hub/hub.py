"""The hub: from one replica to all its clients. It never waits and never asks for the time.

Whoever drives it (gateway/pace.py) tells it what changed (`notice`), lets cohorts flush at their pace, pumps snapshots,
and calls `sweep` twice a second for heartbeats and the slow policy.
"""

from collections.abc import Callable, Collection
from typing import Any, Final

from bhavcast.domain.errors import TooManyShapes
from bhavcast.domain.shape import MAX_CUSTOM_SHAPES, Shape
from bhavcast.hub import frame
from bhavcast.hub.burst import Burst, send
from bhavcast.hub.cohort import MEMBERS, SLICE, Cohort
from bhavcast.hub.everything import Everything
from bhavcast.hub.outbox import Outbox, Snap
from bhavcast.hub.port import Board, Encoder, Sink

# Quotes in one snap. Others wait while those that changed are encoded: under a storm of subscriptions nine pieces in ten took
# 0.4 ms and the longest 0.8; of 200 quotes it was 0.9 and 3.1.
PIECE: Final = 50
PIECES_AT_ONCE: Final = 4  # where that is all; of more one, then others have their turn
SLOW_AFTER_S: Final = 10.0  # without progress on a full wire
LAG_TOLD_AFTER: Final = 5  # flushes passed over before a client is told of it
SLOW: Final = 4008


class Hub:
    """All clients of one gateway."""

    def __init__(self, board: Board, encoder: Callable[[Shape], Encoder]) -> None:
        self.board = board
        self.everything = Everything(board)
        self._new_encoder = encoder
        self.encoders: dict[Shape, Encoder] = {}
        self.cohorts: list[Cohort] = []
        self.outboxes: dict[Outbox, Cohort] = {}
        self.pumping: set[Outbox] = set()
        # Of cohorts that are gone: a counter never falls.
        self._gone_frames = self._gone_skips = 0
        # Whoever drives the hub may know a quicker way to its clients, and is told of new cohorts, and that rows changed.
        self.burst: Burst = send
        self.slice = SLICE
        self.room = MEMBERS
        self.piece = PIECE
        self.slow_after_s = SLOW_AFTER_S
        # What frames with stamps say of the newest batch, and the pace that nobody exceeds while there is too much to do.
        self.stamps: Callable[[], dict[str, int]] = dict
        self.cap: float | None = None
        self.opened: Callable[[Cohort], None] = lambda _: None
        self.noticed: Callable[[], None] = lambda: None

    # -- clients ----------------------------------------------------------------------------------------------------

    def encoder(self, shape: Shape) -> Encoder:
        """Return the one encoder of a shape; refuse one field list too many."""
        encoder = self.encoders.get(shape)
        if encoder is None:
            if shape.custom and sum(each.custom for each in self.encoders) >= MAX_CUSTOM_SHAPES:
                self._drop_unused_encoders()
            if shape.custom and sum(each.custom for each in self.encoders) >= MAX_CUSTOM_SHAPES:
                raise TooManyShapes(
                    f"{MAX_CUSTOM_SHAPES} different field lists are in use; take a preset (ltp, quote, full)",
                    field="fields",
                )
            encoder = self.encoders[shape] = self._new_encoder(shape)
        return encoder

    def _drop_unused_encoders(self) -> None:
        used = {cohort.encoder.shape for cohort in self.cohorts}
        for shape in [each for each in self.encoders if each.custom and each not in used]:
            del self.encoders[shape]

    def join(self, sink: Sink, shape: Shape, hz: float, now: float) -> Outbox:
        """Take in a client that subscribes nothing yet."""
        cohort = self._cohort(shape, hz)
        outbox = Outbox(sink, shape, hz, now)
        self._put(outbox, cohort, behind=None)
        return outbox

    def leave(self, outbox: Outbox) -> None:
        """Forget a client; idempotent."""
        if outbox not in self.outboxes:
            return
        cohort = self.outboxes.pop(outbox)
        self.pumping.discard(outbox)
        outbox.snaps.clear()
        cohort.leave(outbox)
        self._drop_if_empty(cohort)

    def pace(self, hz: float) -> float:
        """Return the pace at which a cohort of rate `hz` (0: every batch) is flushed at present."""
        return hz if self.cap is None or 0 < hz <= self.cap else self.cap

    def cohort(self, outbox: Outbox) -> Cohort:
        """Return the cohort a client is in."""
        return self.outboxes[outbox]

    def _put(self, outbox: Outbox, cohort: Cohort, *, behind: int | None) -> None:
        cohort.join(outbox, behind=behind)
        self.outboxes[outbox] = cohort

    def _cohort(self, shape: Shape, hz: float) -> Cohort:
        for cohort in self.cohorts:
            if cohort.hz == hz and cohort.encoder.shape == shape and len(cohort.members) < self.room:
                return cohort
        cohort = Cohort(self.board, self.everything, self.encoder(shape), hz, self.burst, self.slice, self.stamps)
        self.cohorts.append(cohort)
        self.opened(cohort)
        return cohort

    def _drop_if_empty(self, cohort: Cohort) -> None:
        if not cohort.members and cohort in self.cohorts:
            self.cohorts.remove(cohort)
            self._gone_frames += cohort.frames
            self._gone_skips += cohort.skips

    @property
    def frames(self) -> int:
        """Frames with quotes sent so far."""
        return self._gone_frames + sum(cohort.frames for cohort in self.cohorts)

    @property
    def skips(self) -> int:
        """Flushes that passed a client over so far."""
        return self._gone_skips + sum(cohort.skips for cohort in self.cohorts)

    # -- subscriptions ----------------------------------------------------------------------------------------------

    def add(
        self, outbox: Outbox, slots: frozenset[int], message_id: int | None, now: float, *, everything: bool = False
    ) -> None:
        """Subscribe rows: their whole quotes follow in pieces, then a `sync`."""
        outbox.snaps.append(Snap(slots, message_id, whole_market=everything))
        self.pump(outbox, now)

    def follow(self, outbox: Outbox, slots: frozenset[int], now: float) -> None:
        """Replace what is subscribed of a client that has just been shown the new rows by its session."""
        cohort = self.cohort(outbox)
        cohort.catch_up(outbox, now)  # a flush under way may hold what is older than what was just shown
        cohort.want(outbox, slots, everything=False)

    def admit(self, outbox: Outbox, slots: frozenset[int], now: float) -> None:
        """Add rows that came to a group, or to everything, which the client follows.

        Its position speaks for the group as it is: from now on none is told until these rows have been shown.
        """
        if outbox.snaps:
            outbox.snaps[0].extend(slots)
        else:
            outbox.snaps.append(Snap(slots, None))
        snap = outbox.snaps[0]
        if not snap.started:
            self._start(outbox, snap, now, silent=True)
        else:
            self.cohort(outbox).want(outbox, self._slots(outbox) | slots, everything=outbox.everything)
        self.pump(outbox, now)

    def narrow(self, outbox: Outbox, slots: frozenset[int], *, everything: bool = False) -> None:
        """Keep only these of the subscribed rows, at once."""
        for snap in outbox.snaps:
            snap.narrow(slots)
            snap.whole_market = snap.whole_market and everything
        kept = slots & self._slots(outbox) if outbox.everything and not everything else outbox.slots & slots
        self.cohort(outbox).want(outbox, kept, everything=everything and outbox.everything)

    def _slots(self, outbox: Outbox) -> frozenset[int]:
        return self.everything.slots if outbox.everything else outbox.slots

    def move(self, outbox: Outbox, hz: float) -> None:
        """Change a client's pace; its position stands."""
        old = self.cohort(outbox)
        if old.hz == hz:
            return
        new = self._cohort(old.encoder.shape, hz)
        behind = old.reached(outbox)
        old.leave(outbox)
        self._put(outbox, new, behind=behind)
        self._drop_if_empty(old)

    def reshape(self, outbox: Outbox, shape: Shape, hz: float) -> None:
        """Change what a client is shown: its position and its subscriptions are dropped, to be added anew."""
        old, new = self.cohort(outbox), self._cohort(shape, hz)
        old.leave(outbox)
        outbox.want(frozenset())
        outbox.snaps.clear()
        outbox.snap_rev = None
        self.pumping.discard(outbox)
        self._put(outbox, new, behind=None)
        self._drop_if_empty(old)

    def resume(
        self,
        outbox: Outbox,
        slots: frozenset[int],
        since: int,
        answer: dict[str, Any],
        now: float,
        *,
        everything: bool,
        new: frozenset[int] = frozenset(),
    ) -> None:
        """Bring a client that holds these rows as of revision `since` up to date by one frame.

        `answer` goes before it, with the number of quotes that changed. `new` rows are shown after it: they came since
        to a group, or to everything, which the client follows, so its position waits for them.
        """
        cohort = self.cohort(outbox)
        cohort.want(outbox, slots, everything=everything and not new and slots <= self.everything.slots)
        outbox.behind = since
        news = cohort.news(outbox)
        self.tell(outbox, {**answer, "changed": len(news)}, now)
        cohort.bring(outbox, news, now, always=True, silent=bool(new))
        if new:
            self.admit(outbox, new, now)

    # -- driving ----------------------------------------------------------------------------------------------------

    def notice(self, slots: Collection[int]) -> None:
        """Remember that rows changed."""
        for cohort in self.cohorts:
            cohort.dirty.update(slots)
        self.noticed()

    def grow(self) -> None:
        """Make room for rows that were added to the board."""
        for cohort in self.cohorts:
            cohort.grow()

    def pump(self, outbox: Outbox, now: float) -> None:
        """Send a client's snapshots as far as its wire takes them."""
        few = bool(outbox.snaps) and len(outbox.snaps[0].left) <= PIECES_AT_ONCE * self.piece
        for _ in range(PIECES_AT_ONCE if few else 1):
            if not outbox.snaps or outbox.full:
                break
            self._piece(outbox, now)
        if outbox.snaps:
            self.pumping.add(outbox)
        else:
            self.pumping.discard(outbox)

    def _piece(self, outbox: Outbox, now: float) -> None:
        cohort, snap = self.cohort(outbox), outbox.snaps[0]
        if not snap.started:
            self._start(outbox, snap, now)
        binary = cohort.binary
        order = self.board.order
        if rows := [order[slot] for slot in snap.left[: self.piece]]:
            body = frame.join((cohort.encoder.full(row) for row in rows), binary=binary)
            outbox.sink.send(*frame.rows({"t": "snap", "id": snap.message_id}, body, cohort.encoder.shape))
            del snap.left[: len(rows)]
        if not snap.left:
            self._sync(outbox, snap)
        outbox.sent_at = now

    def _start(self, outbox: Outbox, snap: Snap, now: float, *, silent: bool = False) -> None:
        # The position of the sync to come speaks for everything subscribed: what was held before must be complete to
        # the point where the new rows begin.
        cohort = self.cohort(outbox)
        cohort.catch_up(outbox, now, silent=silent)
        snap.started = True
        outbox.snap_rev = outbox.behind = self.board.rev
        cohort.laggards.add(outbox)
        slots = self._slots(outbox) | snap.slots
        everything = (outbox.everything or snap.whole_market) and slots <= self.everything.slots
        cohort.want(outbox, slots, everything=everything)

    def _sync(self, outbox: Outbox, snap: Snap) -> None:
        assert outbox.snap_rev is not None, "a sync ends a snapshot that began"
        pos = self.cohort(outbox).position(outbox.snap_rev)
        message = {"t": "sync", "id": snap.message_id, "count": snap.count, "pos": pos}
        outbox.snap_rev = None
        outbox.snaps.popleft()
        self._say(outbox, frame.encode(message, outbox.shape), pos)

    def tell(self, outbox: Outbox, message: dict[str, Any], now: float) -> None:
        """Send a message that carries no quotes."""
        self._say(outbox, frame.encode(message, outbox.shape), message.get("pos"))
        outbox.sent_at = now

    def _say(self, outbox: Outbox, encoded: bytes, pos: str | None = None) -> None:
        if encoded:
            outbox.sink.send(encoded, pos=pos)

    def tell_all(self, message: dict[str, Any], now: float) -> None:
        """Send everyone a message that carries no quotes and moves no position.

        A full wire too: these are few and short, and what is passed over here would never be said again.
        """
        encoded = {binary: frame.encode(message, Shape(binary=binary)) for binary in (False, True)}
        for outbox in self.outboxes:
            self._say(outbox, b"" if outbox.shape.dialect else encoded[outbox.shape.binary])
            outbox.sent_at = now

    def position(self, outbox: Outbox) -> str | None:
        """Return how far a client has come, or None while a snapshot is under way."""
        if outbox.snaps or outbox.snap_rev is not None:
            return None
        cohort = self.cohort(outbox)
        return cohort.position(cohort.reached(outbox))

    def reset(self) -> None:
        """Begin again on another epoch: every client's rows are forgotten; its session subscribes them anew."""
        self.pumping.clear()
        for outbox in self.outboxes:
            outbox.snaps.clear()
            outbox.snap_rev = None
        for cohort in self.cohorts:
            cohort.reset()
        for encoder in self.encoders.values():  # also those that no stream uses now, REST's
            encoder.forget()

    def sweep(self, now: float) -> list[Outbox]:
        """Apply the slow policy: tell a client that it lags, close one whose wire makes no progress. Return the closed."""
        closed = []
        for outbox in self.outboxes:
            if not outbox.full:
                outbox.stuck, outbox.stuck_since = 0, None
            else:
                unsent = outbox.sink.buffered()
                if outbox.stuck_since is None or unsent < outbox.stuck:
                    outbox.stuck_since = now
                elif now - outbox.stuck_since > self.slow_after_s:
                    closed.append(outbox)
                outbox.stuck = unsent
            if outbox.behind is None and outbox.passed_over >= LAG_TOLD_AFTER:
                lag = {"t": "lag", "ms": round(outbox.late_s * 1000), "conflated": outbox.passed_over}
                self.tell(outbox, lag, now)
                outbox.passed_over, outbox.late_s = 0, 0.0
        for outbox in closed:
            outbox.sink.close(SLOW, "slow: nothing was read for 10 s")
        return closed
