"""The rules of state hold under every schedule tried, and fail without any one of their clauses.

BHAVCAST_MODEL_SEED=n repeats one seed with its shortest trace; BHAVCAST_MODEL_BROKEN=clause breaks a clause for it.
BHAVCAST_MODEL_SEEDS=n tries as many seeds.
"""

import os
from itertools import chain

import pytest

from tests.model.rules import CLAUSES, Rules, broken
from tests.model.world import Plan, failure, report

CHUNK = 500
USUAL_SEEDS = 3_000
MORE_SEEDS = 10_000
BOUND = 12_000  # seeds within which a broken clause must be noticed

ONE_SEED = os.environ.get("BHAVCAST_MODEL_SEED")
BROKEN = os.environ.get("BHAVCAST_MODEL_BROKEN")
SEEDS = int(os.environ.get("BHAVCAST_MODEL_SEEDS", "0"))

# Where the search for a rare failure begins, only to save time; wrong hints cost nothing else.
HINTS = {
    "drops_older": 2_300,
    "foreign_means_snapshot": 1_800,
    "hb_waits_for_sync": 1_700,
    "run_id_checked": 750,
    "stale_sync_ignored": 800,
}


def chunks() -> list[object]:
    """Cut the seeds into parts; those beyond the usual number are slow, unless asked for."""
    starts = range(0, SEEDS or MORE_SEEDS, CHUNK)
    return [pytest.param(s, marks=[pytest.mark.slow] if s >= USUAL_SEEDS and not SEEDS else []) for s in starts]


@pytest.mark.parametrize("start", chunks() if ONE_SEED is None else [])
def test_rules_hold(start: int) -> None:
    """No schedule of a chunk of seeds violates an invariant."""
    for seed in range(start, start + CHUNK):
        plan = Plan.draw(seed)
        if failure(plan, Rules(), plan.schedule):
            pytest.fail(report(seed, plan, Rules()), pytrace=False)


def test_the_seed_that_is_asked_for() -> None:
    """The seed asked for violates nothing; the first one, where none is."""
    seed = int(ONE_SEED or 0)
    plan, rules = Plan.draw(seed), broken(BROKEN) if BROKEN else Rules()
    if failure(plan, rules, plan.schedule):
        pytest.fail(report(seed, plan, rules), pytrace=False)


@pytest.mark.parametrize("clause", CLAUSES)
def test_clause_is_needed(clause: str) -> None:
    """Some schedule fails once the clause is broken."""
    rules, hint = broken(clause), HINTS.get(clause, 0)
    for seed in chain(range(hint, BOUND), range(hint)):
        plan = Plan.draw(seed)
        if failure(plan, rules, plan.schedule):
            return
    pytest.fail(f"nobody notices that {CLAUSES[clause]}", pytrace=False)


@pytest.mark.parametrize(
    "event",
    [
        "g0 for c0 recovers",
        "g1 for c0 waits",
        "closes 4010",
        "503 behind",
        "refused",
        "published",
        "bus fails",
        "Reset",
        "continues E",
        "begins E",
        "disk_full",
    ],
)
def test_schedules_reach(event: str, traces: str) -> None:
    """The schedules are not idle: each rare event happens among the first seeds."""
    assert event in traces


@pytest.fixture(scope="module")
def traces() -> str:
    """Return what happens in the first seeds, settling apart."""
    lines: list[str] = []
    for seed in range(300):
        plan = Plan.draw(seed)
        failure(plan, Rules(), plan.schedule, lines)
    return "\n".join(lines)
