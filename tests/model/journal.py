"""The journal of one data directory: what was written survives SIGKILL, what was synced a power cut (7)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.model.board import Board, Pos, Row, Rows, merge
from tests.model.rules import Rules

NOWHERE = Pos("", 0)
Token = tuple[int, str]  # counter, writer id: the counter alone may be handed out twice after a lost tail


class Message(NamedTuple):
    """A batch, as the journal and the bus carry it."""

    epoch: str
    token: Token
    from_rev: int
    to_rev: int
    rows: Mapping[str, Row]
    first: bool = False  # of its epoch: replaces the hash, needs no predecessor


class Open(NamedTuple):
    """The fsynced record that says under which conditions an epoch may continue."""

    boot_id: int
    run_id: int
    token: Token


@dataclass(slots=True)
class Journal:
    """One checkpoint and the batches since; older records matter to nobody here."""

    rules: Rules
    opened: Open | None = None
    checkpoint_pos: Pos = NOWHERE
    checkpoint_rows: Rows = field(default_factory=dict)
    tail: list[Message] = field(default_factory=list)
    synced: int = 0
    missed: bool = False  # a write failed since the checkpoint; must itself survive SIGKILL

    def begin(self, opened: Open, board: Board) -> None:
        """Write and fsync the `open` record of an epoch with its first checkpoint."""
        self.opened = opened
        self.checkpoint(board)

    def checkpoint(self, board: Board) -> None:
        keep = self.rules.checkpoint_keeps_cleared
        self.checkpoint_rows = {s: r if keep else r.without_cleared() for s, r in board.rows.items()}
        self.checkpoint_pos = board.pos
        self.tail, self.synced, self.missed = [], 0, False

    def write(self, message: Message, disk_full: bool) -> None:
        """Append a batch, or remember that it could not be; the remembering needs no disk space."""
        if disk_full:
            self.missed = True
        else:
            self.tail.append(message)

    def fsync(self) -> None:
        self.synced = len(self.tail)

    def power_cut(self) -> None:
        del self.tail[self.synced :]

    def read(self) -> Board:
        """Rebuild the board: the checkpoint, then its tail."""
        board = Board(*self.checkpoint_pos, dict(self.checkpoint_rows))
        for message in self.tail:
            merge(board.rows, message.rows, keep_cleared=True)
            board.rev = message.to_rev
        return board
