"""What "everything" stands for: put together once for all who follow it."""

from collections.abc import Sequence

from bhavcast.hub.port import Board, Row


class Everything:
    """The rows of a board that are not hidden.

    A board's list of rows only ever grows, and that of another epoch is another list: so the list and its length tell
    whether these are still the ones.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._order: Sequence[Row] = ()
        self._count = 0
        self._rows: tuple[Row, ...] = ()
        self._slots: frozenset[int] = frozenset()

    @property
    def rows(self) -> Sequence[Row]:
        """The rows, by slot."""
        self._look()
        return self._rows

    @property
    def slots(self) -> frozenset[int]:
        """Their slots."""
        self._look()
        return self._slots

    def _look(self) -> None:
        order = self._board.order
        if order is not self._order or len(order) != self._count:
            self._order, self._count = order, len(order)
            self._rows = tuple(row for row in order if not row.hidden)
            self._slots = frozenset(row.slot for row in self._rows)
