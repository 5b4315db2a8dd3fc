from hypothesis import given
from hypothesis import strategies as st

from bhavcast.app.supervise import FIRST_S, LONGEST_S, LOOP, STEADY_S, Restarts

RUNS = st.lists(st.floats(0, 100), min_size=1, max_size=200)


def test_the_first_restart_is_at_once_and_each_further_one_waits_twice_as_long_up_to_a_cap():
    restarts = Restarts(chance=lambda: 1.0)
    waits = [restarts.ended(0.0) for _ in range(12)]
    assert waits[:4] == [FIRST_S, 2 * FIRST_S, 4 * FIRST_S, 8 * FIRST_S]
    assert waits[-1] == LONGEST_S


def test_ending_over_and_over_is_a_crash_loop_until_a_run_was_steady():
    restarts = Restarts()
    looping = []
    for _ in range(LOOP):
        restarts.ended(STEADY_S / 2)
        looping.append(restarts.looping)
    assert looping == [False] * (LOOP - 1) + [True]
    assert restarts.ended(STEADY_S) <= FIRST_S
    assert not restarts.looping
    assert restarts.count == LOOP + 1


@given(RUNS, st.floats(0, 1))
def test_a_wait_is_never_longer_than_the_cap_and_never_nothing(runs, chance):
    restarts = Restarts(chance=lambda: chance)
    for steady in runs:
        assert FIRST_S / 2 <= restarts.ended(steady) <= LONGEST_S
