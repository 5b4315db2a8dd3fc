"""A world of writers, a bus, gateways and readers, driven by a schedule that a seed draws.

A schedule is a list of (action, salt). Every action chooses by its own salt and does nothing where it is impossible, so
any part of a schedule is a schedule too: that is what makes a failing one easy to shorten.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from tests.model.board import FIELDS, SHAPES, SYMBOLS, Row, Value
from tests.model.bus import MemoryBus, StreamBus
from tests.model.client import Client, Reader
from tests.model.gateway import Gateway, Session
from tests.model.journal import Message
from tests.model.oracle import Oracle, Violation
from tests.model.rules import CLAUSES, Rules
from tests.model.writer import Writer

T = TypeVar("T")
Schedule = list[tuple[str, int]]

STEPS = 500  # of a schedule
HZ = (0, 2, 10)
ROUND_MS = 250
ROUNDS = 80  # of healing, after which things must be quiet

# How often each action is drawn. A seed multiplies each weight (of what is special by 0 at times): swarms of schedules
# with few kinds of faults find more than one even mixture.
ORDINARY: dict[str, float] = {
    "tick": 10, "step": 18, "fsync": 2, "checkpoint": 1, "maintain": 5, "replicate": 3, "poll": 14, "flush": 20,
    "work": 20, "heartbeat": 3, "deliver": 24, "connect": 4, "since": 2, "sub": 1, "pass_time": 1,
}  # fmt: skip
SPECIAL: dict[str, float] = {
    "unsub": 1, "set_fields": 0.5, "set_hz": 0.6, "cut": 2, "kill": 0.5, "power_cut": 0.3, "disk_full": 0.3,
    "unlink": 0.6, "send_slowly": 1.5, "land": 1.5, "roll_day": 0.4, "failover": 0.5, "save": 1, "restart_redis": 0.2,
    "trim": 1, "kill_gateway": 0.3,
}  # fmt: skip


class Pick:
    """Choices drawn from one salt."""

    def __init__(self, salt: int) -> None:
        self.salt = salt

    def below(self, n: int) -> int:
        self.salt, choice = divmod(self.salt, n)
        return choice

    def of(self, things: Sequence[T]) -> T:
        return things[self.below(len(things))]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a seed decides."""

    stream: bool  # Redis, two hosts and two gateways; else everything in one process
    clock_ahead: bool  # the first host's clock, until its power is cut: history may be lost, and is then declared
    lag: int  # of so many polls the second gateway gets one
    schedule: Schedule

    @staticmethod
    def draw(seed: int) -> "Plan":
        """Draw everything from one seed."""
        rng = Random(seed)
        stream = rng.random() < 0.8
        weights = {a: w * rng.choice((1, 1, 3)) for a, w in ORDINARY.items()}
        weights |= {a: w * rng.choice((0, 0, 1, 3)) for a, w in SPECIAL.items()}
        actions = rng.choices(list(weights), list(weights.values()), k=STEPS)
        clock_ahead, lag = stream and rng.random() < 0.05, rng.choice((2, 2, 6, 20))
        return Plan(stream, clock_ahead, lag, [(a, rng.getrandbits(62)) for a in actions])


class World:
    """Everything there is, and the actions that may befall it."""

    def __init__(self, plan: Plan, rules: Rules, trace: list[str] | None = None) -> None:
        self.rules, self.stream, self.lag, self.trace = rules, plan.stream, plan.lag, trace
        self.oracle = Oracle(loss_allowed=plan.clock_ahead)
        self.now = 1_000_000
        self.epochs = 0
        self.value = 0
        self.bus: MemoryBus = StreamBus(rules) if plan.stream else MemoryBus(rules)
        self.writers = [Writer(h, rules, self.bus, self._name_epoch) for h in ("h0", "h1")[: 1 + plan.stream]]
        self.writers[0].clock_ahead_ms = 60_000 if plan.clock_ahead else 0
        self.gateways = [Gateway(f"g{i}", rules, self.oracle) for i in range(1 + plan.stream)]
        self.clients = [
            Client(f"c{i}", rules, self.oracle, frozenset(SYMBOLS[i : i + 3]), hz) for i, hz in enumerate((0, 0, 10))
        ]
        self.reader = Reader("reader", rules, self.oracle)
        self.slow: list[Message] = []  # sent to Redis, not yet arrived
        self.writers[0].maintain(self.now)
        self._finish(self.writers[0])

    def run(self, schedule: Schedule) -> None:
        """Play a schedule, then heal everything and demand quiet (invariant 1)."""
        for action, salt in schedule:
            pick = Pick(salt)
            self.now += 1 + pick.below(20)
            self._note(action, ACTIONS[action](self, pick))
        self.settle()

    def _note(self, action: str, did: str | None) -> None:
        if self.trace is not None and did:
            self.trace.append(f"{self.now - 1_000_000:6d} ms  {action:13} {did}")

    def _name_epoch(self) -> str:
        self.epochs += 1
        return f"E{self.epochs}"

    # -- ingest

    def _running(self, pick: Pick) -> Writer:
        return pick.of([w for w in self.writers if w.board] or self.writers)

    def tick(self, pick: Pick) -> str | None:
        writer = self._running(pick)
        changes = [self._change(pick) for _ in range(pick.below(3) + 1)]
        if not writer.tick(self.now, changes) or writer.batch is None:
            return None
        return f"{writer.host} assigns {writer.batch.epoch}:{writer.batch.to_rev} {changes}"

    def _change(self, pick: Pick) -> tuple[str, Mapping[str, Value]]:
        """Change one or two fields, often clearing one. No value comes twice, so a stale one is always noticed."""
        symbol = pick.of(SYMBOLS)
        values: dict[str, Value] = {}
        for _ in range(pick.below(2) + 1):
            self.value += 1
            field = pick.of(FIELDS[:3])
            values[field] = None if field != "volume" and pick.below(3) == 0 else self.value
        return symbol, values

    def step(self, pick: Pick) -> str | None:
        writer = self._running(pick)
        did = writer.step(self.now)
        return f"{writer.host} {did}{' fails' if did == 'bus' and writer.behind else ''}" if did else None

    def fsync(self, pick: Pick) -> str | None:
        writer = pick.of(self.writers)
        writer.journal.fsync()
        return writer.host

    def checkpoint(self, pick: Pick) -> str | None:
        writer = self._running(pick)
        if writer.board is None or writer.batch is not None:
            return None
        writer.journal.checkpoint(writer.board)
        return writer.host

    def maintain(self, pick: Pick) -> str | None:
        writer = pick.of(self.writers)
        was, epochs = writer.board, self.epochs
        writer.maintain(self.now)
        if writer.board is None:
            return f"{writer.host} stands by"
        did = "begins" if epochs != self.epochs else "holds" if was else "continues"
        return f"{writer.host} {did} {writer.board.epoch}:{writer.board.rev} with token {writer.token}"

    def roll_day(self, pick: Pick) -> str | None:
        writer = self._running(pick)
        return writer.host if writer.roll_day(self.now) else None

    def kill(self, pick: Pick) -> str | None:
        writer = self._running(pick)
        writer.kill()
        self._process_ended()
        return writer.host

    def power_cut(self, pick: Pick) -> str | None:
        writer = pick.of(self.writers)
        writer.power_cut()
        writer.clock_ahead_ms = 0
        self._process_ended()
        return writer.host

    def _process_ended(self) -> None:
        """With the memory bus the bus and the gateway die with their writer."""
        if not self.stream:
            self.bus.live = type(self.bus.live)()
            self._restart_gateway(0)

    def disk_full(self, pick: Pick) -> str | None:
        writer = pick.of(self.writers)
        writer.disk_full = True
        return writer.host

    def unlink(self, pick: Pick) -> str | None:
        """Cut a writer off from Redis, or let it reach it again."""
        writer = pick.of(self.writers)
        writer.linked = not (self.stream and writer.linked)
        return f"{writer.host} {'linked' if writer.linked else 'cut off'}"

    def send_slowly(self, pick: Pick) -> str | None:
        writer = self._running(pick)
        if not self.stream or not writer.linked or not writer.leads(self.now):
            return None
        message = writer.send_and_lose_sight()
        if message is None:
            return None
        self.slow.append(message)
        return f"{writer.host} {message.epoch}:{message.to_rev}"

    def land(self, pick: Pick) -> str | None:
        """Let a message of unknown fate arrive, or vanish."""
        if not self.slow:
            return None
        message = self.slow.pop(0)
        if pick.below(3) == 0:
            return f"never: {message.epoch}:{message.to_rev}"
        done = self.bus.publish(message, self.now)
        return f"{message.epoch}:{message.to_rev} {'published' if done else 'refused'}"

    # -- Redis

    def replicate(self, pick: Pick) -> str | None:
        return self._redis(StreamBus.replicate)

    def failover(self, pick: Pick) -> str | None:
        return self._redis(StreamBus.failover)

    def save(self, pick: Pick) -> str | None:
        return self._redis(StreamBus.save)

    def restart_redis(self, pick: Pick) -> str | None:
        return self._redis(StreamBus.restart)

    def trim(self, pick: Pick) -> str | None:
        keep = pick.below(3)
        return self._redis(lambda bus: bus.trim(keep))

    def _redis(self, act: Callable[[StreamBus], None]) -> str | None:
        if not isinstance(self.bus, StreamBus):
            return None
        act(self.bus)
        self._allow_loss(self.bus)
        return f"Redis at {self.bus.live.pos}"

    def _allow_loss(self, bus: StreamBus) -> None:
        """Excuse the one way left to lose history: Redis goes back twice between two renewals of a lease.

        Each time alone is harmless. Together they may hide from its former holder that the lease went to another, who
        published: the former one continues below what readers saw, and that loss is declared to them.
        """
        for writer in self.writers:
            token = writer.token if writer.leads(self.now) and writer.token == bus.live.token else None
            if token and token[0] < bus.highest and bus.run_id >= writer.proved_run_id + 2:
                self.oracle.loss_allowed = True

    # -- gateways

    def poll(self, pick: Pick) -> str | None:
        gateway = self.gateways[-1 if pick.below(self.lag) == 0 else 0]
        did = gateway.poll(self.bus, self.now, 1 + pick.below(3))
        return f"{gateway.name} {did}, now {gateway.pos}" if did else None

    def kill_gateway(self, pick: Pick) -> str | None:
        if not self.stream:
            return None
        index = pick.below(len(self.gateways))
        self._restart_gateway(index)
        return f"g{index}"

    def _restart_gateway(self, index: int) -> None:
        for session in self.gateways[index].sessions:
            session.link.close()
        self.gateways[index] = Gateway(f"g{index}", self.rules, self.oracle)

    def flush(self, pick: Pick) -> str | None:
        gateway, hz = pick.of(self.gateways), pick.of(HZ)
        did = gateway.flush(hz, self.now)
        return f"{gateway.name} hz {hz} {did}" if did else None

    def work(self, pick: Pick) -> str | None:
        gateway, session = self._session(pick)
        did = gateway.work(session, self.now) if session else ""
        return f"{gateway.name} for {self._owner(session)} {did}" if did else None

    def heartbeat(self, pick: Pick) -> str | None:
        gateway, session = self._session(pick)
        beats = session is not None and gateway.pos is not None and gateway.heartbeat(session, self.now)
        return f"{gateway.name} to {self._owner(session)}" if beats else None

    def _session(self, pick: Pick) -> tuple[Gateway, Session | None]:
        for gateway in self.gateways:
            gateway.sessions = [s for s in gateway.sessions if s.link.open]
        gateway = pick.of([g for g in self.gateways if g.sessions] or self.gateways)
        return gateway, pick.of(gateway.sessions) if gateway.sessions else None

    def _owner(self, session: Session | None) -> str:
        return next((c.name for c in self.clients if session and c.link is session.link), "nobody")

    # -- readers

    def deliver(self, pick: Pick) -> str | None:
        client = pick.of([c for c in self.clients if c.link and c.link.down] or self.clients)
        frame = client.receive()
        return f"{client.name} at {client.pos} {frame}" if frame else None

    def connect(self, pick: Pick) -> str | None:
        client, gateway = pick.of(self.clients), pick.of(self.gateways)
        if (client.link and client.link.open) or gateway.pos is None:
            return None
        client.connect(gateway)
        return f"{client.name} to {gateway.name}, {client.pos}, seen {client.seen}, holds {sorted(client.held)}"

    def cut(self, pick: Pick) -> str | None:
        client = pick.of(self.clients)
        client.cut()
        return client.name

    def sub(self, pick: Pick) -> str | None:
        client, symbol = pick.of(self.clients), pick.of(SYMBOLS)
        client.sub(symbol)
        return f"{client.name} {symbol}"

    def unsub(self, pick: Pick) -> str | None:
        client = pick.of(self.clients)
        if not client.wanted:
            return None
        symbol = pick.of(sorted(client.wanted))
        client.unsub(symbol)
        return f"{client.name} {symbol}"

    def set_fields(self, pick: Pick) -> str | None:
        client, shape = pick.of(self.clients), pick.of(SHAPES)
        client.set_fields(shape)
        return f"{client.name} {','.join(shape)}"

    def set_hz(self, pick: Pick) -> str | None:
        client, hz = pick.of(self.clients), pick.of(HZ)
        client.set_hz(hz)
        return f"{client.name} {hz}"

    def since(self, pick: Pick) -> str | None:
        gateway = pick.of(self.gateways)
        return f"{gateway.name} {self.reader.read(gateway, self.now)}, now {self.reader.pos}"

    def pass_time(self, pick: Pick) -> str | None:
        self.now += 100 + pick.below(2_500)
        return "."

    # -- quiet

    def settle(self) -> None:
        """Heal everything and go on until every reader agrees with the board; fail if that never happens."""
        if self.trace is not None:
            self.trace.append("           -- from here everything heals")
        self.slow.clear()
        for writer in self.writers:
            writer.linked, writer.disk_full = True, False
        unrest = ""
        for _ in range(ROUNDS):
            self.now += ROUND_MS
            self._round()
            unrest = self._unrest()
            if not unrest:
                return
        raise Violation(f"never comes to rest: {unrest}")

    def _round(self) -> None:
        for writer in self.writers:
            self._finish(writer)
            writer.maintain(self.now)
            self._finish(writer)
            writer.tick(self.now, [])
            self._finish(writer)
            writer.maintain(self.now)
        for gateway in self.gateways:
            gateway.poll(self.bus, self.now, 1_000)
            gateway.poll(self.bus, self.now, 1_000)
            self._drain(gateway)
        for client in self.clients:
            gateway = self.gateways[0]
            if not (client.link and client.link.open) and gateway.pos is not None:
                client.connect(gateway)
        self.reader.read(self.gateways[-1], self.now)

    def _finish(self, writer: Writer) -> None:
        while writer.step(self.now):
            pass

    def _drain(self, gateway: Gateway) -> None:
        """Let a gateway and its clients do all they can at this moment."""
        busy = True
        while busy:
            busy = False
            for session in gateway.sessions:
                busy |= gateway.work(session, self.now) not in ("", "waits")
            for hz in HZ:
                busy |= bool(gateway.flush(hz, self.now))
            for client in self.clients:
                while client.receive():
                    busy = True
        for session in gateway.sessions:
            if gateway.pos is not None and session.link.open:
                gateway.heartbeat(session, self.now)

    def _unrest(self) -> str:
        truth = next((w for w in self.writers if w.leads(self.now) and w.token == self.bus.live.token), None)
        if truth is None or truth.board is None or self.bus.live.pos != truth.board.pos:
            return "no writer leads, or the bus is not where its writer is"
        for gateway in self.gateways:
            if gateway.pos != truth.board.pos:
                return f"{gateway.name} is at {gateway.pos}, the board at {truth.board.pos}"
        rows: dict[str, Row] = truth.board.rows
        differences = [c.differs(rows) for c in self.clients] + [self.reader.differs(rows)]
        return next(filter(None, differences), "")


ACTIONS: dict[str, Callable[[World, Pick], str | None]] = {name: getattr(World, name) for name in (*ORDINARY, *SPECIAL)}


def failure(plan: Plan, rules: Rules, schedule: Schedule, trace: list[str] | None = None) -> Violation | None:
    """Play a schedule in a fresh world; return what it violates."""
    try:
        World(plan, rules, trace).run(schedule)
    except Violation as violation:
        return violation
    return None


def shortest(plan: Plan, rules: Rules, budget: int = 1_500) -> Schedule:
    """Leave out parts of a failing schedule, ever smaller ones, while it still fails."""
    schedule, size = plan.schedule, len(plan.schedule) // 2
    while size and budget > 0:
        start, shrunk = 0, False
        while start < len(schedule) and budget > 0:
            shorter = schedule[:start] + schedule[start + size :]
            budget -= 1
            if failure(plan, rules, shorter):
                schedule, shrunk = shorter, True
            else:
                start += size
        size = size if shrunk and size == 1 else size // 2
    return schedule


def report(seed: int, plan: Plan, rules: Rules) -> str:
    """Describe a failing seed by the shortest trace found."""
    trace: list[str] = []
    schedule = shortest(plan, rules)
    violation = failure(plan, rules, schedule, trace)
    bus = "stream" if plan.stream else "memory"
    again = f"BHAVCAST_MODEL_SEED={seed}" + "".join(
        f" BHAVCAST_MODEL_BROKEN={clause}" for clause in CLAUSES if not getattr(rules, clause)
    )
    head = f"{violation}\nseed {seed}, {bus} bus; repeat with {again}; {len(schedule)} steps:"
    return "\n".join([head, *trace])
