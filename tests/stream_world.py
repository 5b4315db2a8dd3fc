"""A gateway with clients and without sockets or a loop: everything happens in an order that a seed chooses.

What is real: boards, hub, cohorts, outboxes, sessions, encoders, the client's state. What is not: the wire, which hands
over frames when the schedule says so, and time, which stands still until it is told to go on.
"""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bhavcast.app.config import Limits
from bhavcast.board import encode
from bhavcast.board.board import Board, Row
from bhavcast.client import frames
from bhavcast.client.state import State
from bhavcast.domain import field
from bhavcast.domain.change import Message
from bhavcast.domain.instrument import CANARY_SYMBOL, Instrument
from bhavcast.domain.position import Position
from bhavcast.domain.shape import Shape, parse_fields
from bhavcast.domain.tick import Source, Tick
from bhavcast.gateway import quotes
from bhavcast.gateway.gateway import Gateway
from bhavcast.gateway.session import Session
from bhavcast.hub.cohort import SLICE, Cohort
from bhavcast.hub.outbox import Outbox
from bhavcast.telemetry.clock import ManualClock, MarketClock

SOURCE = Source(name="script", mode="sim", grade="tick")
FIELD_LISTS: tuple[str | list[str], ...] = ("full", "quote", "ltp", ["volume", "bid_price", "ask_price"])
DEPTHS = (0, 0, 1, 5)
RATES = (0, 1, 10)
NUMBERS = (field.CURRENT_PRICE, field.VOLUME, field.BID_PRICE, field.ASK_PRICE, field.OPEN, field.CLOSE_PRICE)


class Wire:
    """Implements hub.port.Sink; holds what was written until the client reads it."""

    wire = -1

    def __init__(self, kind: str, number: int) -> None:
        self.number = number
        self.binary = kind == "msgpack"
        self.events = kind == "sse"
        self.full = False
        self.frames: list[bytes] = []
        self.closed: tuple[int, str] | None = None

    def send(self, *parts: bytes, pos: str | None = None) -> None:
        whole = b"".join(parts)
        if self.events:
            whole = b"".join((b"" if pos is None else f"id: {pos}\n".encode(), b"data: ", whole, b"\n\n"))
        self.frames.append(whole)

    def buffered(self) -> int:
        return 100_000 if self.full else 0

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)

    def read(self) -> frames.Frame:
        """Take the oldest frame, as a client of `/ws` would get it."""
        whole = self.frames.pop(0)
        if self.binary:
            return whole
        text = whole.decode()
        if self.events:
            head, _, text = text.removesuffix("\n\n").rpartition("data: ")
            assert "\n" not in text
            told = json.loads(text).get("pos")
            assert head == ("" if told is None else f"id: {told}\n"), "an id is for the event that completes a position"
        return text


class Oracle:
    """Whoever saw the same (epoch, symbol, rev) saw equal values."""

    def __init__(self) -> None:
        self.saw: dict[tuple[str, str, int], dict[str, Any]] = {}

    def observe(self, who: str, epoch: str, row: dict[str, Any], shape: Shape) -> None:
        known = self.saw.setdefault((epoch, row["symbol"], row["rev"]), {})
        names = [field.FIELDS[number].name for number in shape.numbers]
        values = {name: row.get(name) for name in names}
        values |= {f"{side} to {shape.depth}": row.get("depth", {}).get(side) for side in ("bids", "asks")}
        if shape.whole and "id" in row:
            values |= {name: row.get(name) for name in ("id", "company_name", "isin", "group")}
        for name, value in values.items():
            before = known.setdefault(name, value)
            assert before == value, f"{who}: {row['symbol']}.{name} at {epoch}:{row['rev']} is {value}, was {before}"


class Client:
    """The client library's state on a wire of its own."""

    def __init__(self, world: "World", name: str, kind: str) -> None:
        self.world, self.name, self.kind = world, name, kind
        rng = world.rng
        self.state = State(
            fields=rng.choice(world.fields),
            depth=rng.choice(world.depths),
            hz=rng.choice(world.rates),
            binary=kind == "msgpack",
        )
        self.wire: Wire | None = None
        self.session: Session | None = None
        self.epoch = ""
        self.in_snap = False
        self.top = 0
        self.best: dict[str, int] = {}
        self.shown = self.shape

    @property
    def shape(self) -> Shape:
        return Shape(parse_fields(self.state.fields), self.state.depth, self.kind == "msgpack")

    def connect(self) -> None:
        self.wire = Wire(self.kind, self.world.next_number())
        self.in_snap = False
        self.session = Session(self.world.gateway, self.wire, binary=self.wire.binary)

    def cut(self) -> None:
        if self.session is not None:
            self.session.close()
        self.session = self.wire = None
        self.state.disconnected()

    def say(self) -> None:
        """Let the service have what the client wants to send."""
        for frame in self.state.outgoing():
            if self.session is not None:
                self.session.receive(frame)

    def read(self, count: int) -> None:
        for _ in range(count):
            if self.wire is None or not self.wire.frames:
                return
            self._take(self.wire.read())
            self.say()

    def _take(self, frame: frames.Frame) -> None:
        message = frames.read(frame)
        kind, pos = message["t"], message.get("pos")
        assert kind != "error", f"{self.name}: {message}"
        if kind in ("hello", "reset"):
            self.epoch = message["epoch"]
            self.in_snap = False
        if kind == "snap":
            self.in_snap = True
            assert pos is None
            assert len(message["q"]) <= self.world.piece
        if kind == "sync":
            self.in_snap = False
        assert pos is None or kind in ("sync", "u", "hb"), f"{kind} has a position"
        assert pos is None or not self.in_snap, f"{self.name}: {kind} at {pos} between a snap and its sync"
        if pos is not None:
            position = Position.parse(pos)
            assert position.epoch == self.epoch
            assert position.rev >= self.top, f"{self.name}: {kind} at {position.rev} after {self.top}"
            self.top = position.rev
        whole = kind == "snap"
        for row in message.get("q", []):
            assert not whole or None not in row.values(), "a whole quote never contains null"
            assert len(row) > 2 or whole, f"{row} says nothing"
        for event in self.state.receive(frame):
            if event.__class__.__name__ == "Update":
                self._saw(event.quote, whole)  # type: ignore[attr-defined]  # an Update has its quote

    def _saw(self, row: dict[str, Any], whole: bool) -> None:
        symbol, rev = row["symbol"], row["rev"]
        assert rev >= self.best.get(symbol, 0), f"{self.name}: {symbol} went back to {rev} from {self.best[symbol]}"
        self.best[symbol] = rev
        # Until the answer to a change of fields, rows come as before it.
        if not self.state._reshaping:
            self.world.oracle.observe(self.name, self.epoch, row, self.shape)

    def differs(self) -> str:
        """Say how the state differs from the board, once all is quiet."""
        state = self.state
        expected = {row.symbol: encode.full(row, self.shape) for row in self.world.rows_of(state.subscribed)}
        if not state.complete and state.subscribed:
            return (
                f"{self.name}: not complete: {state.subscribed}, position {state.position}, held {sorted(state._held)}"
            )
        if state.quotes.keys() != expected.keys():
            return f"{self.name}: holds {sorted(state.quotes)}, expected {sorted(expected)} of {state.subscribed}"
        for symbol, quote in expected.items():
            # A row's revision is that of its last change that is shown.
            mine = {**state.quotes[symbol], "rev": quote["rev"]}
            if mine != quote:
                wrong = {
                    k: (mine.get(k), quote.get(k)) for k in mine.keys() | quote.keys() if mine.get(k) != quote.get(k)
                }
                return f"{self.name}: {symbol} is (held, board) {wrong}"
        return ""


class RestReader:
    """Polls `since`, by symbols and shape of its own."""

    def __init__(self, world: "World", name: str) -> None:
        self.world, self.name = world, name
        rng = world.rng
        self.symbols = rng.sample(world.symbols, k=min(4, len(world.symbols)))
        self.fields, self.depth = rng.choice(("full", "quote", "ltp")), rng.choice(DEPTHS)
        self.pos: str | None = None
        self.rows: dict[str, dict[str, Any]] = {}

    @property
    def shape(self) -> Shape:
        return Shape(parse_fields(self.fields), self.depth)

    def read(self) -> None:
        gateway = self.world.gateway
        query = f"symbols={','.join(self.symbols)}&fields={self.fields}&depth={self.depth}"
        if self.pos is None:
            # An answer in full of the same moment is what `since` goes on from.
            told = json.loads(quotes.batch(gateway, query).body)
            self.rows = {row["symbol"]: row for row in told if "error" not in row}
            self.pos = gateway.position
        else:
            answer = quotes.batch(gateway, f"{query}&since={self.pos}")
            assert answer.status == 200, answer
            told = json.loads(answer.body)
            before = Position.parse(self.pos)
            if not told["recovered"]:
                self.rows = {}
            for row in told["q"]:
                if "error" not in row:
                    assert not told["recovered"] or row["rev"] > before.rev
                    self._merge(row)
            self.pos = told["pos"]
            assert Position.parse(told["pos"]).rev >= before.rev
        for row in self.rows.values():
            self.world.oracle.observe(self.name, gateway.replica.epoch, row, self.shape)
        board = gateway.replica.rows
        for symbol in self.symbols:
            row = board.get(symbol)
            expected = encode.full(row, self.shape) if row is not None and row.has_data else None
            mine = self.rows.get(symbol)
            if mine is not None and expected is not None:
                mine = {**mine, "rev": expected["rev"]}
            assert mine == expected, f"{self.name} {symbol}"

    def _merge(self, row: dict[str, Any]) -> None:
        held = dict(self.rows.get(row["symbol"], {}))
        sides = {**held.get("depth", {}), **row.get("depth", {})}
        held |= row
        if "depth" in held:
            held["depth"] = {side: levels for side, levels in sides.items() if levels is not None}
        if "id" not in held and self.shape.whole:
            held |= encode.describe(self.world.gateway.replica.rows[row["symbol"]])
        if self.depth and "depth" not in held:
            held["depth"] = {}
        self.rows[row["symbol"]] = {name: value for name, value in held.items() if value is not None}


class World:
    """One schedule."""

    def __init__(self, seed: int, *, scrips: int = 12, clients: int = 5, full_size: bool = False) -> None:
        self.seed = seed
        self.rng = rng = random.Random(seed)
        self.clock = ManualClock()
        self.epochs = self.wires = 0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.oracle = Oracle()
        self.flushes: dict[Cohort, Iterator[None]] = {}
        self.queue: list[Message] = []
        self.archive: list[tuple[str, str, list[str], Any, int, dict[str, dict[str, Any]]]] = []
        self.piece = 200 if full_size else rng.choice((2, 3, 5))
        self.codes = 500_000
        self.writer = Board()
        self.writer.add([Instrument(symbol=CANARY_SYMBOL, id="CANARY", name="canary")])
        self.writer.add(self._new_instrument() for _ in range(scrips))
        self.writer.add([Instrument(symbol="IDX:TOP", id="TOP", name="top", kind="IDX")])
        self.writer.facts["indices"] = [
            {
                "symbol": "IDX:TOP",
                "name": "top",
                "members": dict.fromkeys(self.symbols[:3], 1),
                "base_value": 1,
                "base_cap": 1,
            }
        ]
        self.writer.facts["market"], self.writer.facts["feeds"] = {"status": "open"}, {"script": {"state": "live"}}
        self._begin_epoch()
        self.gateway = Gateway(
            replica=Board(),
            clock=self.clock,
            market=MarketClock(self.clock),
            limits=Limits(),
            later=lambda delay, call: self.timers.append((self.clock.monotonic() + delay, call)),
        )
        self.gateway.hub.piece = self.piece
        self.gateway.hub.slice = SLICE if full_size else rng.choice((1, 8000, 16_000))
        self._snapshot_again()
        # Often few choices, so that many clients share a flush and are met in the middle of one.
        self.fields = rng.sample(FIELD_LISTS, k=rng.choice((1, 1, 2, len(FIELD_LISTS))))
        self.depths = rng.sample(DEPTHS, k=rng.choice((1, 1, len(DEPTHS))))
        self.rates = rng.sample(RATES, k=rng.choice((1, 2, len(RATES))))
        kinds = rng.choice((("json",), ("msgpack",), ("json", "sse"), ("json", "msgpack", "sse")))
        self.clients = [Client(self, f"client {number}", rng.choice(kinds)) for number in range(clients)]
        self.readers = [RestReader(self, f"reader {number}") for number in range(2)]

    # -- the market -------------------------------------------------------------------------------------------------

    @property
    def symbols(self) -> list[str]:
        return [symbol for symbol in self.writer.rows if symbol[0].isdigit() and symbol != CANARY_SYMBOL]

    def next_number(self) -> int:
        self.wires += 1
        return self.wires

    def _new_instrument(self) -> Instrument:
        self.codes += 1
        group = self.rng.choice(("A", "B"))
        return Instrument(symbol=str(self.codes), id=f"ID{self.codes}", name=f"Scrip {self.codes}", group=group)

    def _begin_epoch(self) -> None:
        self.epochs += 1
        self.writer.begin(f"20261123T0345Z-{self.epochs:016x}", self.clock.wall_ms() * 1000, 1)
        self.writer.roll(lambda _: {})

    def tick(self) -> None:
        rng = self.rng
        changes = []
        for symbol in rng.sample([*self.symbols, CANARY_SYMBOL, "IDX:TOP"], k=rng.randint(1, 4)):
            values: dict[int, Any] = {
                number: None if rng.random() < 0.2 else rng.randint(1, 5)
                for number in rng.sample(NUMBERS, k=rng.randint(1, 3))
            }
            for side in field.LADDERS:
                if rng.random() < 0.3:
                    levels = [(rng.randint(1, 3), rng.randint(1, 3), 1) for _ in range(rng.randint(1, 5))]
                    values[side] = tuple(levels) if rng.random() < 0.8 else None
            stamp = self.clock.wall_ms() + rng.randint(0, 1)
            changes += self.writer.apply(SOURCE, [Tick(symbol, stamp, values)])
        self.queue.append(self.writer.seal(self.clock.wall_ms(), changes=changes))

    def fact(self) -> None:
        name = self.rng.choice(("market", "feeds"))
        fact = {"status": self.rng.choice(("open", "closed"))} if name == "market" else {"script": {"state": "stale"}}
        self.queue.append(self.writer.seal(self.clock.wall_ms(), facts={name: fact}))

    def list_a_scrip(self) -> None:
        new = self._new_instrument()
        values: dict[int, Any] = {field.CURRENT_PRICE: 7}
        self.queue.append(self.writer.seal(self.clock.wall_ms(), instruments=[new]))
        if self.rng.random() < 0.5:
            changes = self.writer.apply(SOURCE, [Tick(new.symbol, self.clock.wall_ms(), values)])
            self.queue.append(self.writer.seal(self.clock.wall_ms(), changes=changes))

    def new_epoch(self) -> None:
        if self.rng.random() < 0.3 and len(self.symbols) > 6:
            self._delist(self.rng.choice(self.symbols[3:]))
        self._begin_epoch()
        self.queue.clear()
        self._snapshot_again()

    def _delist(self, symbol: str) -> None:
        old = self.writer
        kept = [row for row in old.order if row.symbol != symbol]
        self.writer = Board(old.epoch, old.rev, old.token)
        self.writer.add(row.instrument for row in kept)
        for row in kept:
            self.writer.rows[row.symbol].take(row.image())
        self.writer.facts = old.facts
        for reader in self.readers:
            reader.symbols = [each for each in reader.symbols if each != symbol]
            reader.rows.pop(symbol, None)

    # -- the gateway ------------------------------------------------------------------------------------------------

    def deliver(self) -> None:
        if self.queue:
            message = self.queue.pop(0)
            self.gateway.hear(self.gateway.replica.follow(message), message)

    def lose(self) -> None:
        """Miss messages, as a follower that fell behind, and take the snapshot."""
        self.queue.clear()
        self._snapshot_again()

    def _snapshot_again(self) -> None:
        snapshot, replica = self.writer.snapshot(self.clock.wall_ms(), planned=True), self.gateway.replica
        if snapshot.epoch != replica.epoch:
            replica.load(snapshot)
            self.gateway.restart(planned=True)
        else:
            self.gateway.hear(replica.catch_up(snapshot), None)

    def flush(self, *, whole: bool = False) -> None:
        cohorts = [cohort for cohort in self.gateway.hub.cohorts if cohort not in self.flushes]
        due = [cohort for cohort in cohorts if cohort.due]
        if due and (whole or self.rng.random() < 0.5):
            cohort = self.rng.choice(due)
            self.flushes[cohort] = cohort.flush(self.clock.monotonic())
        if self.flushes:
            self._step(self.rng.choice(list(self.flushes)))

    def _step(self, cohort: Cohort) -> None:
        if next(self.flushes[cohort], self) is self:
            del self.flushes[cohort]

    def pump(self) -> None:
        if self.gateway.hub.pumping:
            pumping = sorted(self.gateway.hub.pumping, key=lambda outbox: self._name_of(outbox.sink))
            self.gateway.hub.pump(self.rng.choice(pumping), self.clock.monotonic())

    def _name_of(self, sink: object) -> str:
        return next((client.name for client in self.clients if client.wire is sink), "")

    def wait(self) -> None:
        self.clock.advance(self.rng.choice((0.01, 0.3, 1.5, 6.0)))
        now = self.clock.monotonic()
        due = [call for at, call in self.timers if at <= now]
        self.timers = [each for each in self.timers if each[0] > now]
        for call in due:
            call()
        for client in self.clients:
            if client.session is not None:
                client.session.beat(now)

    # -- the clients ------------------------------------------------------------------------------------------------

    def rows_of(self, items: list[str]) -> list[Row]:
        """Return the rows that some items stand for, by a rule of our own."""
        rows = self.gateway.replica.rows
        found: dict[str, Row] = {}
        for item in items:
            if item == "*":
                found |= {symbol: row for symbol, row in rows.items() if symbol != CANARY_SYMBOL}
            elif item.startswith("group:"):
                found |= {symbol: row for symbol, row in rows.items() if row.instrument.group == item[6:]}
            elif item.endswith("/members"):
                found |= {symbol: rows[symbol] for symbol in self.writer.facts["indices"][0]["members"]}
            else:
                found[item] = rows[item]
        return list(found.values())

    def change_a_client(self) -> None:
        rng = self.rng
        client = rng.choice(self.clients)
        if client.session is None:
            client.connect()
            return
        what = rng.random()
        if what < 0.4:
            client.read(rng.randint(1, 8))
        elif what < 0.55:
            wide = ("*", "group:A", "group:B", "IDX:TOP/members", "IDX:TOP", CANARY_SYMBOL)
            known = [*self.gateway.replica.rows]
            client.state.subscribe([rng.choice(wide) if rng.random() < 0.3 else rng.choice(known) for _ in range(2)])
        elif what < 0.65 and client.state.subscribed:
            client.state.unsubscribe([rng.choice(client.state.subscribed)])
        elif what < 0.72:
            client.state.show(fields=rng.choice(self.fields), depth=rng.choice(self.depths))
        elif what < 0.8:
            client.state.show(hz=rng.choice(self.rates))
        elif what < 0.87:
            assert client.wire is not None
            client.wire.full = not client.wire.full
        elif what < 0.92:
            client.cut()
        elif client.state.complete and client.state.position is not None:
            self._file(client)
        client.say()

    def _file(self, client: Client) -> None:
        """Keep what a client holds at a position, to resume from it at any later time."""
        state, position = client.state, client.state.position
        if len(self.archive) >= 10 or position is None or not state.quotes or state._reshaping:
            return
        if all(quote["rev"] <= position.rev for quote in state.quotes.values()) and state.subscribed:
            held = {symbol: dict(quote) for symbol, quote in state.quotes.items()}
            self.archive.append((client.kind, str(position), state.subscribed, state.fields, state.depth, held))

    def resume_from_the_past(self) -> None:
        """Resume from a position of the past: exactly what changed since is sent, and the sum is the board."""
        if not self.archive:
            return
        kind, pos, items, fields, depth, held = self.rng.choice(self.archive)
        replica, position = self.gateway.replica, Position.parse(pos)
        if position.rev > replica.rev or any(item[0].isdigit() and item not in replica.rows for item in items):
            return
        wire = Wire(kind, self.next_number())
        session = Session(self.gateway, wire, binary=wire.binary)
        cut = self.rng.randrange(len(items))  # in one message or in two
        last = {"fields": fields, "depth": depth, "stamps": self.rng.random() < 0.5, "seen": position.rev}
        for part in ({"symbols": items[:cut], "more": True}, {"symbols": items[cut:], **last}):
            if part["symbols"]:
                message = {"t": "resume", "id": 1, "pos": pos, **part}
                session.receive(frames.write(message, binary=wire.binary))
        told = [frames.read(wire.read()) for _ in range(len(wire.frames))]
        session.close()
        answers = [message for message in told if message["t"] == "resumed"]
        assert len(answers) == 1, told
        answer = answers[0]
        shape = Shape(parse_fields(fields), depth, wire.binary)
        rows = self.rows_of(items)
        if position.epoch != replica.epoch:
            assert answer["recovered"] is False
            return
        assert answer["recovered"] is True
        update = told[told.index(answer) + 1]
        assert update["t"] == "u", "one u follows"
        assert [message["t"] for message in told].count("u") == 1, "and only one"
        late = any(message["t"] == "snap" for message in told)
        assert update.get("pos") == (None if late else self.gateway.position), "or the sync of what is new has it"
        assert answer["changed"] == len(update["q"])
        shown = {row["symbol"] for message in told if message["t"] == "snap" for row in message["q"]}
        since = {symbol for symbol, rev in replica.facts.get("listed", {}).items() if rev > position.rev}
        assert shown <= since, "what was there before is not shown anew"
        held = {symbol: quote for symbol, quote in held.items() if symbol not in shown}
        deltas = {row.symbol: encode.delta(row, shape, position.rev) for row in rows if row.symbol in held}
        expected = {symbol: delta for symbol, delta in deltas.items() if delta is not None}
        assert {row["symbol"]: row for row in update["q"]} == json.loads(json.dumps(expected)), (
            f"exactly what changed since {pos}: {expected} of {items}, held {sorted(held)}; {told}"
        )
        merged = State(fields=fields, depth=depth)
        merged.quotes = dict(held)
        for row in update["q"]:
            merged._merge(row["symbol"], row)
        # What has come to a group since was not held, and comes as a whole.
        merged.quotes |= {row["symbol"]: row for message in told if message["t"] == "snap" for row in message["q"]}
        for row in rows:
            now = encode.full(row, shape)
            assert {**merged.quotes[row.symbol], "rev": now["rev"]} == now, f"{row.symbol} after resuming from {pos}"

    # -- a schedule -------------------------------------------------------------------------------------------------

    def run(self, steps: int = 250) -> None:
        """Do so many things, then let everything come to rest, and compare."""
        with pytest.MonkeyPatch.context() as patch:
            # The order of sets must not depend on where things lie in memory.
            patch.setattr(Outbox, "__hash__", lambda outbox: outbox.sink.number)
            patch.setattr(Session, "__hash__", lambda session: session.outbox.sink.number)
            patch.setattr("bhavcast.gateway.session.random.uniform", self.rng.uniform)
            try:
                self._run(steps)
            except BaseException as error:
                error.add_note(f"the schedule of seed {self.seed}")
                raise

    def _run(self, steps: int) -> None:
        acts: list[tuple[Callable[[], None], int]] = [
            (self.tick, 20),
            (self.deliver, 22),
            (self.flush, 30),
            (self.pump, 10),
            (self.change_a_client, 40),
            (self.wait, 5),
            (self.fact, 2),
            (self.lose, 1),
            (self.list_a_scrip, 1),
            (self.new_epoch, 1),
            (self.resume_from_the_past, 4),
            (lambda: self.rng.choice(self.readers).read(), 4),
        ]
        doing, weights = zip(*acts, strict=True)
        for act in self.rng.choices(doing, weights, k=steps):
            act()
        self.rest()
        wrong = [text for client in self.clients if (text := client.differs())]
        assert not wrong, "\n".join(wrong)
        for reader in self.readers:
            reader.read()

    def rest(self) -> None:
        """Let everything arrive."""
        for client in self.clients:
            if client.session is None:
                client.connect()
            assert client.wire is not None
            client.wire.full = False
        for _ in range(40):
            while self.queue:
                self.deliver()
            self.clock.advance(3.0)
            self.wait()
            for _ in range(30):
                self.pump()
            for cohort in list(self.gateway.hub.cohorts):
                if cohort not in self.flushes and cohort.due:
                    self.flushes[cohort] = cohort.flush(self.clock.monotonic())
            while self.flushes:
                self._step(next(iter(self.flushes)))
            for client in self.clients:
                client.read(10_000)
