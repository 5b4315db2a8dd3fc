"""Both clients, Python and JavaScript, are the same machine: the same frames make them hold and say the same.

The vectors under tests/wire are played to each, and sequences of calls and frames, sensible and mutated, to both at once.
"""

import shutil
import subprocess
from functools import cache
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import json

from bhavcast.client import frames
from bhavcast.client.errors import BadFrame
from bhavcast.client.state import Disorder, State

HERE = Path(__file__).parent
VECTORS = sorted((HERE.parent / "wire").glob("*.jsonl"))
EPOCHS = ("20261123T0345Z-9f1c03ab77de5a20", "20261124T0345Z-0000000000000001")
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="needs Node.js")


class Python:
    """bhavcast.client.state."""

    def __init__(self) -> None:
        self.state = State()

    def do(self, command: str, argument: Any = None) -> dict[str, Any]:
        failed = None
        try:
            match command:
                case "begin":
                    self.state = State(**argument)
                case "show":
                    self.state.show(**argument)
                case "disconnected" | "begin_anew":
                    getattr(self.state, command)()
                case _:
                    getattr(self.state, command)(argument)
        except BadFrame as error:
            failed = type(error).__name__ if isinstance(error, Disorder) else "BadFrame"
        state = self.state
        return {
            "failed": failed,
            "position": None if state.position is None else str(state.position),
            "complete": state.complete,
            "greeted": state.greeted,
            "subscribed": state.subscribed,
            "heartbeat_ms": state.heartbeat_ms,
            "sent": [frames.read(frame) for frame in state.outgoing()],
            "quotes": dict(state.quotes),
        }


class JavaScript:
    """The state of web/lib, in a process of its own."""

    def __init__(self) -> None:
        assert NODE is not None
        script, library = HERE / "client_state.mjs", files("bhavcast") / "web" / "lib"
        self.node = subprocess.Popen(  # one for the whole run; it ends with its input
            [NODE, str(script), str(library)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def do(self, command: str, argument: Any = None) -> dict[str, Any]:
        assert self.node.stdin is not None
        assert self.node.stdout is not None
        self.node.stdin.write(json.encode([command, argument]) + b"\n")
        self.node.stdin.flush()
        return json.decode(self.node.stdout.readline())

    def close(self) -> None:
        self.node.communicate(timeout=10)


@pytest.fixture(scope="module")
def javascript():
    client = JavaScript()
    yield client
    client.close()


@pytest.fixture(params=["python", pytest.param("javascript", marks=needs_node)])
def client(request):
    return Python() if request.param == "python" else request.getfixturevalue("javascript")


# -- vectors ------------------------------------------------------------------------------------------------------------


@cache
def lines(path: Path) -> list[dict[str, Any]]:
    return [json.decode(line) for line in path.read_bytes().splitlines()]


class Player:
    """Speaks a vector's part of the service to a client that chooses its own messages and their ids."""

    def __init__(self, client: Python | JavaScript, lines: list[dict[str, Any]]) -> None:
        self.client = client
        first: dict[str, Any] = next((line["c"] for line in lines if line.get("c", {}).get("t") == "sub"), {})
        self.told = client.do("begin", {name: first[name] for name in ("fields", "depth", "hz") if name in first})
        self.fresh: list[dict[str, Any]] = []  # sent, and not yet found in the vector
        self.ids: dict[int, list[dict[str, Any]]] = {}

    def play(self, line: dict[str, Any]) -> None:
        if "cut" in line:
            self.do("disconnected")
            self.fresh, self.ids = [], {}
        elif "c" in line and isinstance(line["c"], dict):
            self.ask(line["c"])
        elif "s" in line:
            head, *rows = line["s"] if isinstance(line["s"], list) else [line["s"]]
            self.hear(head | {"q": rows} if rows else head)

    def do(self, command: str, argument: Any = None) -> None:
        self.told = self.client.do(command, argument)
        assert self.told["failed"] is None
        self.fresh += self.told["sent"]

    def ask(self, message: dict[str, Any]) -> None:
        kind, symbols = message["t"], message.get("symbols", [])
        symbols = [symbols] if isinstance(symbols, str) else symbols
        if not all(isinstance(symbol, str) for symbol in symbols):
            return  # a mistake that these clients do not make
        match kind:
            case "sub":
                self.do("subscribe", symbols)
            case "unsub":
                self.do("unsubscribe", symbols)
            case "set":
                kind = "unsub" if symbols else "set"
                if symbols:
                    self.do("unsubscribe", [item for item in self.told["subscribed"] if item not in symbols])
                self.do("show", {name: message[name] for name in ("fields", "depth", "hz") if name in message})
        if isinstance(message.get("id"), int):
            self.ids[message["id"]] = [each for each in self.fresh if each["t"] == kind]
        if not message.get("more"):
            self.fresh = []

    def hear(self, message: dict[str, Any]) -> None:
        asked = self.ids.get(message.get("id"), [])  # type: ignore[arg-type]  # null is nobody's
        if message["t"] == "ack" and asked and asked[-1]["t"] == "unsub":  # to a `set` it lists what stays
            self.say(message | {"id": asked[-1]["id"], "ok": asked[-1]["symbols"]})
        elif message["t"] == "ack" and len(asked) > 1:  # one question of the vector was several of the client's
            for each in asked:
                self.say(
                    message | {"id": each["id"], "ok": [item for item in message["ok"] if item in each["symbols"]]}
                )
        elif isinstance(message.get("id"), int):
            self.say(message | {"id": asked[-1]["id"] if asked else 1_000_000 + message["id"]})
        else:
            self.say(message)

    def say(self, message: dict[str, Any]) -> None:
        self.do("receive", json.encode(message).decode())


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_it_holds_what_the_vector_says(client, path):
    conversation = lines(path)
    player = Player(client, conversation)
    for line in conversation:
        player.play(line)
    held = conversation[-1]["held"]
    assert (player.told["quotes"], player.told["position"]) == (held["quotes"], held["pos"])


# -- anything -----------------------------------------------------------------------------------------------------------

NAMES = ("500325", "532540", "TCS", "INE467B01029", "group:A", "GROUP:B", "IDX:SENSEX/members", "*", "x" * 70)
CODES = {"TCS": "532540", "INE467B01029": "532540"}
SHAPES = ({"fields": "ltp"}, {"fields": ["open"], "depth": 2}, {"hz": 1}, {"depth": 0})


class Service:
    """Says what a service might: mostly an answer to what it was asked, sometimes anything."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.open: list[dict[str, Any]] = []
        self.late: list[dict[str, Any]] = []  # snapshots that belong to answers
        self.rev = 10
        self.epoch = EPOCHS[0]

    def step(self) -> tuple[str, Any]:
        chance = self.chance
        draw = chance.random()
        if draw < 0.12:
            return "subscribe", chance.sample(NAMES, chance.randint(1, 3))
        if draw < 0.2:
            return "unsubscribe", chance.sample(NAMES, chance.randint(1, 2))
        if draw < 0.24:
            return "show", chance.choice(SHAPES)
        if draw < 0.28:
            self.open, self.late = [], []
            return "disconnected", None
        if draw < 0.29:
            return "begin_anew", None
        text = json.encode(self.message()).decode()
        if draw > 0.97:  # one character is another
            at = chance.randrange(len(text))
            text = text[:at] + chance.choice('0"{}[],:ntx\x00\ufffd') + text[at + 1 :]
        return "receive", text

    def message(self) -> dict[str, Any]:
        chance = self.chance
        self.rev += chance.randint(0, 3)
        if self.late and chance.random() < 0.7:
            return self.late.pop(0)
        if self.open and chance.random() < 0.8:
            return self.answer(self.open.pop(0))
        kind = chance.choice(
            ("u", "u", "u", "hb", "hello", "snap", "sync", "reset", "status", "error", "resumed", "new")
        )
        number = chance.choice((None, chance.randint(0, 12)))
        match kind:
            case "reset":
                self.epoch = chance.choice(EPOCHS)
                self.late = [{"t": "snap", "id": None, "q": self.rows()}, {"t": "sync", "id": None, "pos": self.pos()}]
                return {"t": "reset", "epoch": self.epoch}
            case "hello":
                return {"t": "hello", "limits": {"symbols_per_message": chance.choice((2, 500))}, "heartbeat_ms": 700}
            case "status":
                return {
                    "t": "status",
                    "symbol": chance.choice(NAMES),
                    "state": chance.choice(("unknown_symbol", "stale")),
                }
            case "u" | "hb" | "sync":
                return {"t": kind, "id": number, "q": self.rows()} | (
                    {"pos": self.pos()} if chance.random() < 0.8 else {}
                )
            case _:
                return {"t": kind, "id": number, "q": self.rows(), "recovered": chance.random() < 0.5}

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        chance, number = self.chance, asked["id"]
        if chance.random() < 0.1:
            return {"t": "error", "id": number, "code": "bad_request", "message": "no"}
        snapshot = [{"t": "snap", "id": number, "q": self.rows()}, {"t": "sync", "id": number, "pos": self.pos()}]
        if asked["t"] == "resume":
            recovered = chance.random() < 0.6
            self.late += [{"t": "u", "pos": self.pos(), "q": self.rows()}] if recovered else snapshot
            return {"t": "resumed", "id": number, "recovered": recovered}
        if asked["t"] != "unsub":
            self.late += snapshot
        symbols = asked.get("symbols", [])
        bad = [symbol for symbol in symbols if len(symbol) > 64 or chance.random() < 0.1]
        ok = list(dict.fromkeys(CODES.get(symbol, symbol) for symbol in symbols if symbol not in bad))
        return {
            "t": "ack",
            "id": number,
            "ok": ok,
            "bad": [{"symbol": each[:64], "code": "unknown_symbol"} for each in bad],
        }

    def rows(self) -> list[dict[str, Any]]:
        chance = self.chance
        found = []
        for symbol in chance.sample(("500325", "532540", "500209"), chance.randint(0, 3)):
            row: dict[str, Any] = {"symbol": symbol, "rev": max(0, self.rev - chance.randint(0, 4))}
            row |= {name: chance.choice((None, 1, 2.5)) for name in ("open", "low") if chance.random() < 0.6}
            if chance.random() < 0.3:
                row["depth"] = {"bids": chance.choice((None, [], [{"price": 1}])), "asks": None}
            if symbol == "532540" and chance.random() < 0.5:
                row |= {"id": "TCS", "isin": "INE467B01029"}
            found.append(row)
        return found

    def pos(self) -> str:
        return f"{self.epoch}:{self.rev}"


@needs_node
@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**64 - 1))
def test_both_hold_and_say_the_same_after_anything(javascript, seed):
    python, service = Python(), Service(Random(seed))
    history: list[Any] = [("begin", {})]
    for client in (python, javascript):
        client.do("begin", {})
    for number in range(60):
        step = ("receive", '{"t":"hello"}') if number == 0 else service.step()
        history.append(step)
        ours, theirs = python.do(*step), javascript.do(*step)
        assert sorted_items(theirs) == sorted_items(ours), history
        service.open += ours["sent"]


def sorted_items(told: dict[str, Any]) -> dict[str, Any]:
    """Sets have an order in JavaScript, and none in Python."""
    return told | {"subscribed": sorted(told["subscribed"])}
