"""A checkpoint in the making: rows are encoded ahead, a slice at a time, so that nobody waits for all of them at once."""

import msgspec

from bhavcast.board.board import Board, Row
from bhavcast.domain.change import Snapshot, encode


class Checkpoint:
    """What is encoded of a board so far. Of one epoch; make another for the next."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._done: list[tuple[int, msgspec.Raw]] = []
        self._instruments: list[msgspec.Raw] = []

    def ahead(self, count: int) -> bool:
        """Encode the next `count` rows as they are now; return whether all have been."""
        begin = len(self._done)
        for row in self._board.order[begin : begin + count]:
            self._done.append((row.rev, _encoded(row)))
            self._instruments.append(msgspec.Raw(encode(row.instrument)))
        return len(self._done) == len(self._board.order)

    def finish(self, market: int) -> Snapshot:
        """Return everything at the board's position, to be encoded and not to be read: what changed since is encoded now."""
        board = self._board
        self.ahead(len(board.order))
        rows = [
            raw if rev == row.rev else _encoded(row)
            for row, (rev, raw) in zip(board.order, self._done, strict=True)
            if row.rev
        ]
        return Snapshot(
            epoch=board.epoch,
            rev=board.rev,
            token=board.token,
            market=market,
            rows=rows,  # type: ignore[arg-type]  # encoded already: goes into the bytes as it is
            facts=dict(board.facts),
            instruments=self._instruments,  # type: ignore[arg-type]  # likewise
        )


def _encoded(row: Row) -> msgspec.Raw:
    return msgspec.Raw(encode(row.image()) if row.rev else b"")
