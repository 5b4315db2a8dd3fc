"""The measuring itself: verdicts, ratios within a round, and what is not measured is said."""

import json
import socket
import threading

import pytest
from benchmarks import market, servers
from benchmarks.__main__ import SCENARIOS, main
from benchmarks.feeder import LENGTH
from benchmarks.measure import Contender, NotMeasuredError, Outcome, Plan, alternate, judge
from benchmarks.servers import BASELINE
from benchmarks.targets import TARGETS, Target, verdict

from bhavcast.board.board import Board
from bhavcast.board.encode import Encoder
from bhavcast.domain import field
from bhavcast.domain.change import Change, Message, encode
from bhavcast.domain.shape import Shape
from bhavcast.load.native import compiled

QUIET = Plan(rounds=3, log=lambda text: None)


@pytest.mark.parametrize(
    ("bound", "value", "expected"),
    [
        ("at most", 1.0, "goal"),
        ("at most", 1.3, "pass"),
        ("at most", 1.5, "FAIL"),
        ("at least", 1.0, "FAIL"),
        ("at least", 1.4, "goal"),
        ("at most", None, "not measured"),
    ],
)
def test_a_verdict_follows_from_the_bounds(bound, value, expected):
    must, goal = (1.4, 1.1) if bound == "at most" else (1.2, 1.4)
    assert verdict(Target("x", "figure", bound, must, goal), value) == expected


def test_ratios_are_formed_within_a_round_so_drift_cancels():
    ours, theirs = iter([10.0, 20.0, 40.0]), iter([5.0, 10.0, 20.0])
    outcome = Outcome("x")
    alternate(
        outcome,
        [Contender("a", lambda: {"cost|µs": next(ours)}), Contender("b", lambda: {"cost|µs": next(theirs)})],
        QUIET,
    )
    outcome.compare("cost", "a", ["b"])
    ratio = outcome.find("a ÷ b, cost")
    assert ratio is not None
    assert (ratio.rounds, ratio.median, ratio.spread) == ([2.0, 2.0, 2.0], 2.0, 0.0)


def test_contenders_take_turns():
    order: list[str] = []

    def turn(name):
        def measure():
            order.append(name)
            return {"cost|µs": 1.0}

        return Contender(name, measure)

    alternate(Outcome("x"), [turn("a"), turn("b")], QUIET)
    assert order == ["a", "b", "a", "b", "a", "b"]


def test_a_baseline_that_is_not_there_is_not_measured_rather_than_passed():
    def absent():
        raise NotMeasuredError("nginx is not installed")

    outcome = Outcome("http-single")
    alternate(outcome, [Contender("bhavcast", lambda: {"CPU per request|µs": 9.0}), Contender("nginx", absent)], QUIET)
    outcome.compare("CPU per request", "bhavcast", ["nginx"])
    assert "nginx: not measured, nginx is not installed" in outcome.notes
    assert {line.verdict for line in judge(outcome) if line.target} == {"not measured"}


def test_every_target_belongs_to_a_scenario_and_is_in_order():
    assert {target.scenario for target in TARGETS} == set(SCENARIOS)
    for target in TARGETS:
        assert verdict(target, target.must) in ("pass", "goal")


def test_an_unknown_scenario_is_wrong_usage():
    with pytest.raises(SystemExit) as ended:
        main(["no-such-scenario"])
    assert ended.value.code == 2


@pytest.mark.parametrize("source", sorted(BASELINE.glob("*.c")), ids=lambda path: path.stem)
def test_the_c_baselines_compile_without_a_warning(source):
    if compiled(source, strict=True) is None:
        pytest.skip("there is no C compiler: install one (cc)")


def test_the_c_that_joins_rows_says_what_a_gateway_says(tmp_path):
    if compiled(BASELINE / "ws_send.c") is None:
        pytest.skip("there is no C compiler: install one (cc)")
    board, opening = Board(), market.snapshot(3)
    board.load(opening)
    told = [
        {"500001": {field.CURRENT_PRICE: 150_005, field.CHANGE: -5, field.VOLUME: 7, field.TIMESTAMP: market.START_MS}},
        {
            "500001": {field.CHANGE: None, field.PERCENT_CHANGE: 1_250, field.BIDS: ((149_995, 10, 1),) * 5},
            "500000": {field.VALUE: 2**40, field.TRADES: 70_000, field.LAST_TRADE_TIME: market.START_MS + 61_001},
            "500002": {field.CURRENT_PRICE: 1},  # which nobody subscribed
        },
        {"500000": {field.CURRENT_PRICE: -150_000, field.BID_QUANTITY: 200, field.TIMESTAMP: 951_782_399_999}},
    ]
    with socket.socket(socket.AF_UNIX) as bus:
        bus.bind(str(tmp_path / "bus"))
        bus.listen(1)
        feed: list[socket.socket] = []

        def open_feed():
            feed.append(bus.accept()[0])
            say(feed[0], encode(opening))

        opener = threading.Thread(target=open_feed, daemon=True)
        opener.start()
        with (
            servers.c_joiner(1, 100, tmp_path / "bus") as server,
            socket.create_connection(("127.0.0.1", server.port)) as client,
        ):
            opener.join()
            heard = subscribed(client, ["500001", "500000"])
            for message in messages(opening.rev, told):
                since = board.position.rev
                changed = {board.order[slot].symbol: board.order[slot] for slot in board.follow(message)}
                say(feed[0], encode(message))
                rows = [
                    Encoder(Shape()).delta(changed[it], since).decode() for it in ("500001", "500000") if it in changed
                ]
                assert next(heard) == f'{{"t":"u","pos":"{board.position}","q":[{",".join(rows)}]}}'
            feed[0].close()


def messages(rev, told):
    """Yield a message for each of some values by symbol."""
    for changed in told:
        first, changes = rev + 1, []
        for symbol, values in changed.items():
            rev += 1
            changes.append(Change(symbol, rev, values))
        yield Message(
            epoch=market.EPOCH,
            token=market.TOKEN,
            from_rev=first,
            to_rev=rev,
            published=market.START_MS,
            changes=changes,
        )


def say(feed, encoded):
    feed.sendall(len(encoded).to_bytes(LENGTH, "big") + encoded)


def subscribed(client, symbols):
    """Subscribe as the load does, and yield the frames after `sync`."""
    client.settimeout(60)
    client.sendall(b"GET /ws HTTP/1.1\r\n\r\n")
    stream = client.makefile("rb")
    while stream.readline() != b"\r\n":
        pass
    sub = json.dumps({"t": "sub", "symbols": symbols}, separators=(",", ":")).encode()
    client.sendall(bytes([0x81, 0x80 | len(sub), 0, 0, 0, 0]) + sub)
    assert frame(stream) == '{"t":"sync"}'
    return iter(lambda: frame(stream), None)


def frame(stream):
    length = stream.read(2)[1]
    return stream.read(length if length < 126 else int.from_bytes(stream.read(2), "big")).decode()


def test_a_scenario_that_breaks_does_not_stop_the_others(monkeypatch, tmp_path):
    def broken(plan):
        raise RuntimeError("the server ended")

    done = []

    def works(plan):
        done.append(plan)
        return Outcome("start")

    monkeypatch.setattr("benchmarks.measure.RESULTS", tmp_path)
    monkeypatch.setitem(SCENARIOS, "sim", broken)
    monkeypatch.setitem(SCENARIOS, "start", works)
    assert main(["sim", "start"]) == 3
    assert len(done) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["start.json"]
