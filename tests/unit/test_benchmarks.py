"""The measuring itself: verdicts, ratios within a round, and what is not measured is said."""

import pytest
from benchmarks.__main__ import SCENARIOS, main
from benchmarks.measure import Contender, NotMeasuredError, Outcome, Plan, alternate, judge
from benchmarks.servers import BASELINE
from benchmarks.targets import TARGETS, Target, verdict

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
