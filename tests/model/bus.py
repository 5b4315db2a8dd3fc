"""The bus in its two forms. Both keep a snapshot with its position, and a stream of batches."""

from dataclasses import dataclass, field

from tests.model.board import Pos, Rows, merge
from tests.model.journal import Message, Token
from tests.model.oracle import Violation
from tests.model.rules import Rules

LEASE_MS = 3_000


@dataclass(slots=True)
class Store:
    """What a server holds: a failover or a restart puts an older one in its place."""

    rows: Rows = field(default_factory=dict)
    pos: Pos | None = None  # a field of the hash, so that one HGETALL reads both
    pos_token: Token | None = None
    stream: list[Message] = field(default_factory=list)
    last_id: int = 0
    token: Token | None = None
    lease_until: int = 0

    def copy(self) -> "Store":
        rows, stream = dict(self.rows), list(self.stream)
        return Store(rows, self.pos, self.pos_token, stream, self.last_id, self.token, self.lease_until)


class MemoryBus:
    """The bus inside one process: it dies with its writer, so it needs no fence."""

    fenced = False

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.live = Store()
        self.run_id = 0

    def publish(self, m: Message, now: int) -> bool:
        """Append a batch if it continues exactly where the bus is, or begins an epoch."""
        store = self.live
        if not m.first and self.rules.pos_checked and store.pos != (m.epoch, m.from_rev - 1):
            return False
        if m.to_rev <= store.last_id:  # XADD with an explicit id refuses this
            return False
        if m.first and self.rules.first_replaces_hash:
            store.rows = {}
        merge(store.rows, m.rows, self.rules.hash_keeps_cleared)
        store.pos, store.pos_token, store.last_id = Pos(m.epoch, m.to_rev), m.token, m.to_rev
        store.stream.append(m)
        return True

    def read(self, after: int, limit: int) -> list[Message]:
        """Return what follows `after`, like XREAD: silently the next entry when `after` was trimmed."""
        return [m for m in self.live.stream if m.to_rev > after][:limit]

    def acquire(self, writer: str, known: int, now: int) -> Token | None:
        self.live.token = (known + 1, writer)
        return self.live.token

    def renew(self, token: Token, now: int) -> bool:
        self.live.token = token
        return True


class StreamBus(MemoryBus):
    """Redis: a fence and a lease, a replica that lags, a dump on disk, a stream that is trimmed."""

    fenced = True

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self.replica, self.dump = Store(), Store()
        self.highest = 0  # the oracle's: the newest token ever given, which a lost tail may hide

    def publish(self, m: Message, now: int) -> bool:
        store = self.live
        if self.rules.token_checked and m.token != store.token:
            return False
        done = super().publish(m, now)
        if done and m.token != store.token and now < store.lease_until:
            raise Violation("a writer without the lease was published")
        if done and m.first:
            self.replicate()  # WAIT 1
        return done

    def acquire(self, writer: str, known: int, now: int) -> Token | None:
        """Take the lease if it is free, or held by an earlier process of the same locked directory."""
        store = self.live
        counter, holder = store.token or (0, writer)
        if now < store.lease_until and holder != writer:
            return None
        store.token, store.lease_until = (max(counter, known) + 1, writer), now + LEASE_MS
        self.highest = max(self.highest, store.token[0])
        self.replicate()  # WAIT 1
        return store.token

    def renew(self, token: Token, now: int) -> bool:
        if self.live.token != token:
            return False
        self.live.lease_until = now + LEASE_MS
        return True

    def replicate(self) -> None:
        self.replica = self.live.copy()

    def save(self) -> None:
        self.dump = self.live.copy()

    def failover(self) -> None:
        """Promote the replica; what it had not received is lost."""
        self.live, self.run_id = self.replica.copy(), self.run_id + 1

    def restart(self) -> None:
        """Come back from the last dump, or empty."""
        self.live, self.run_id = self.dump.copy(), self.run_id + 1
        self.replicate()

    def trim(self, keep: int) -> None:
        del self.live.stream[: max(0, len(self.live.stream) - keep)]
