"""What changes of a quote without a tick: its phase, and whether its price can be trusted to be fresh.

Both are fields like any other: a sweep finds the transitions and the board publishes them as changes.
"""

from collections.abc import Callable, Mapping
from typing import Final

from bhavcast.board.board import LIVE, NO_DATA, Board, Row
from bhavcast.domain import field
from bhavcast.domain.change import Change
from bhavcast.domain.field import Values
from bhavcast.domain.session import CLASSES, TICKS_DUE_PHASES, Phase, ScripClass, class_of
from bhavcast.domain.tick import FeedState

# A scrip that has not traded for this long is quiet: normal for most of the market's tail, worth knowing for the rest.
QUIET_AFTER_MS: Final = 60_000
# A polled source may miss this many of its own periods before its silence is the scrip's.
QUIET_PERIODS: Final = 3
# A row is looked at once in so many sweeps, while neither a phase nor a feed has changed: what is left is time alone.
TURN: Final = 8
# One sweep changes at most so many rows: at 09:15 every scrip changes its phase, and ticks must not wait for that.
SLICE: Final = 1000
_SILENT: Final[frozenset[FeedState]] = frozenset({"stale", "failed", "starting", "paused", "ended"})


class Staleness:
    """Sweeps a board. `phase_of` gives the phase of a class of scrips at a market time."""

    def __init__(self, board: Board, phase_of: Callable[[ScripClass, int], Phase]) -> None:
        self._board = board
        self._phase_of = phase_of
        self._classes: dict[str, ScripClass] = {}
        self._next = 0
        self._left = 0
        self._seen: object = None

    def sweep(self, now: int, feeds: Mapping[str, FeedState]) -> list[Change]:
        """Return the transitions due at market time `now`, at most a slice of them; the rest come with the next sweep."""
        order = self._board.order
        phases: dict[ScripClass, Phase] = {cls: self._phase_of(cls, now) for cls in CLASSES}
        seen = (phases, dict(feeds), len(order))
        if seen != self._seen:
            self._seen, self._left = seen, len(order)
        turn = max(self._left, -(-len(order) // TURN))
        changes: list[Change] = []
        for _ in range(turn):
            row = order[self._next % len(order)]
            self._next += 1
            self._left -= 1
            change = self._judge(row, phases[self._class(row)], now, feeds)
            if change is not None:
                changes.append(change)
                if len(changes) >= SLICE:
                    break
        self._left = max(self._left, 0)
        self._next %= len(order) or 1
        return changes

    def _class(self, row: Row) -> ScripClass:
        cls = self._classes.get(row.symbol)
        if cls is None:
            cls = self._classes[row.symbol] = class_of(row.instrument)
        return cls

    def forget(self) -> None:
        """Look at the instruments anew: a day roll may have redefined them."""
        self._classes.clear()

    def _judge(self, row: Row, phase: Phase, now: int, feeds: Mapping[str, FeedState]) -> Change | None:
        row.tick_state = _state_by_phase(row, phase)
        state = row.tick_state
        if row[field.TIMESTAMP] is None:
            state = NO_DATA
        elif state == LIVE:
            state = _freshness(row, now, feeds if phase in TICKS_DUE_PHASES else None)
        if row[field.STATE] == state and row[field.PHASE] == phase:
            return None
        new: Values = {field.PHASE: phase, field.STATE: state}
        return self._board.put(row, new)


def _state_by_phase(row: Row, phase: Phase) -> str:
    if phase in ("halted", "auction_after_halt") or row.instrument.status == "S":
        return "halted"
    return "closed" if phase == "closed" else LIVE


def _freshness(row: Row, now: int, feeds: Mapping[str, FeedState] | None) -> str:
    """Judge a scrip that trades today; without `feeds` no ticks are due now, and a silent source is no fault."""
    source, stamp, period = row[field.SOURCE], row[field.TIMESTAMP], row[field.PERIOD_MS]
    if not isinstance(stamp, int) or not isinstance(source, str) or row[field.MODE] == "eod":
        return "closed"
    if feeds is not None and feeds.get(source, "stale") in _SILENT:
        return "stale"
    patience = max(QUIET_AFTER_MS, QUIET_PERIODS * period) if isinstance(period, int) else QUIET_AFTER_MS
    return "quiet" if now - stamp > patience else LIVE
