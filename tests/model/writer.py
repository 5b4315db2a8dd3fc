"""One ingest on one data directory: assign `rev`, write the journal, publish, fsync now and then (7)."""

from collections.abc import Callable, Mapping

from tests.model.board import CANARY, Board, Value
from tests.model.bus import LEASE_MS, MemoryBus
from tests.model.journal import Journal, Message, Open, Token
from tests.model.rules import Rules

REVS_PER_MS = 1_000  # the first `rev` of an epoch is Unix time in µs
CANARY_MS = 1_000


class Writer:
    """The process and, surviving it, its directory and its host's boot id. Killed between any two steps."""

    def __init__(self, host: str, rules: Rules, bus: MemoryBus, name_epoch: Callable[[], str]) -> None:
        self.host, self.rules, self.bus, self.name_epoch = host, rules, bus, name_epoch
        self.journal = Journal(rules)
        self.boot_id = 1
        self.clock_ahead_ms = 0
        self.disk_full = False
        self.linked = True  # reaches the bus
        self.kill()

    def kill(self) -> None:
        """SIGKILL: what was only in the process is gone."""
        self.board: Board | None = None
        self.token: Token | None = None
        self.lease_until = 0
        self.proved_run_id = 0  # of the Redis that last confirmed the lease
        self.steps: list[str] = []  # of the batch in hand
        self.batch: Message | None = None
        self.behind = False  # the bus may lack something of ours
        self.last_canary = 0

    def power_cut(self) -> None:
        self.kill()
        self.journal.power_cut()
        self.boot_id += 1

    def leads(self, now: int) -> bool:
        """Tell whether this process can prove its lease."""
        return self.token is not None and (not self.bus.fenced or now < self.lease_until)

    # -- one batch, step by step

    def tick(self, now: int, changes: list[tuple[str, Mapping[str, Value]]]) -> bool:
        """Assign revisions. An orphan goes on too, for its journal."""
        if self.board is None or self.batch is not None:
            return False
        if now - self.last_canary >= CANARY_MS:
            changes, self.last_canary = [*changes, (CANARY, {"last": now})], now
        if not changes:
            return False
        start = self.board.rev
        rows = self.board.apply(changes)
        token = self.token or (0, self.host)
        self.batch = Message(self.board.epoch, token, start + 1, self.board.rev, rows)
        self.steps = ["journal", "bus"] if self.rules.journal_before_bus else ["bus", "journal"]
        return True

    def step(self, now: int) -> str:
        """Do the next step of the batch in hand."""
        if self.batch is None:
            return ""
        what = self.steps.pop(0)
        if what == "journal":
            self.journal.write(self.batch, self.disk_full)
            self.disk_full = False
        else:
            self._publish(self.batch, now)
        if not self.steps:
            self.batch = None
        return what

    def send_and_lose_sight(self) -> Message | None:
        """Send the batch in hand to the bus without learning whether, or when, it arrives."""
        if self.batch is None or self.steps[0] != "bus" or self.behind:
            return None
        message = self.batch
        self.steps.pop(0)
        if not self.steps:
            self.batch = None
        self.behind = True
        return message

    def _publish(self, message: Message, now: int) -> None:
        if self.behind or not self.linked or not self.leads(now) or not self.bus.publish(message, now):
            self.behind = True

    # -- the lease, and what the bus lacks

    def maintain(self, now: int) -> None:
        """Start, renew the lease, or take it anew; then republish what the bus lacks."""
        if not self.linked:
            return
        if self.board is None:
            self._recover(now)
        elif self.token is None or not self.leads(now) or not self.bus.renew(self.token, now):
            self.token = None
            if self.batch is None:
                self._begin_epoch(now)
        else:
            self._proved(now)
        if self.behind and self.batch is None and self.leads(now):
            self._republish(now)

    def _proved(self, now: int) -> None:
        self.lease_until, self.proved_run_id = now + LEASE_MS, self.bus.run_id

    def _recover(self, now: int) -> None:
        opened = self.journal.opened
        if opened is None or not self._may_continue(opened):
            self._begin_epoch(now)
            return
        taken = self.bus.renew(opened.token, now)
        self.token = opened.token if taken else self.bus.acquire(self.host, opened.token[0], now)
        if self.token is None:
            return
        self.board, self.behind, self.last_canary = self.journal.read(), True, now
        self._proved(now)

    def _may_continue(self, opened: Open) -> bool:
        """Decide whether the journal is whole and the bus where this directory left it."""
        rules, bus = self.rules, self.bus
        whole = opened.boot_id == self.boot_id or not rules.power_cut_ends_epoch
        whole &= not self.journal.missed or not rules.write_error_ends_epoch
        if not bus.fenced:
            return whole
        here = bus.live.pos is not None and bus.live.pos.epoch == self.journal.checkpoint_pos.epoch
        here &= opened.token == bus.live.pos_token == bus.live.token
        here |= not rules.takeover_ends_epoch
        return whole and here and (opened.run_id == bus.run_id or not rules.run_id_checked)

    def _begin_epoch(self, now: int) -> None:
        """Take the lease, and begin from the newer of journal, own board and snapshot."""
        seen = self.journal.opened.token[0] if self.journal.opened else 0
        token = self.bus.acquire(self.host, seen, now)
        if token is None:
            return
        self.token = token
        self._proved(now)
        newest = self.board or self.journal.read()
        pos = self.bus.live.pos
        if pos is not None and pos.rev > newest.rev:
            newest = Board(*pos, dict(self.bus.live.rows))
        self._open(newest.new_epoch(self.name_epoch(), self._first_rev(newest, now), self.rules.epoch_stamps_anew))

    def roll_day(self, now: int) -> bool:
        """Begin the day's epoch under the same lease (8)."""
        if self.board is None or self.batch is not None or self.behind or not self.leads(now):
            return False
        self._open(self.board.day_rolled(self.name_epoch(), self._first_rev(self.board, now)))
        return True

    def _first_rev(self, newest: Board, now: int) -> int:
        clock = (now + self.clock_ahead_ms) * REVS_PER_MS if self.rules.first_rev_from_clock else 0
        return max(newest.rev, clock)

    def _open(self, board: Board) -> None:
        """Journal the epoch; its first message is still to be published, and may die with us."""
        assert self.token is not None
        self.board, self.behind = board, False
        self.journal.begin(Open(self.boot_id, self.bus.run_id, self.token), board)
        self.batch, self.steps = self._whole(), ["bus"]
        self.last_canary = 0

    def _whole(self) -> Message:
        assert self.board is not None
        assert self.token is not None
        board = self.board
        return Message(board.epoch, self.token, board.rev, board.rev, dict(board.rows), first=True)

    def _republish(self, now: int) -> None:
        """Publish what is newer than `_pos`, in one call; the whole board where `_pos` is not of this epoch."""
        assert self.board is not None
        assert self.token is not None
        board, pos = self.board, self.bus.live.pos
        self.behind = False
        if pos == board.pos:
            return
        if pos is None or pos.epoch != board.epoch:
            self._publish(self._whole(), now)
            return
        newer = board.newer(pos.rev if self.rules.republishes_all_newer else board.rev - 1)
        symbols, start = list(newer), pos.rev
        if not self.rules.republish_at_once and len(symbols) > 1:
            half = {s: newer[s] for s in symbols[1:]}
            self._publish(Message(board.epoch, self.token, start + 1, board.rev - 1, half), now)
            newer, start = {symbols[0]: newer[symbols[0]]}, board.rev - 1
        self._publish(Message(board.epoch, self.token, start + 1, board.rev, newer), now)
