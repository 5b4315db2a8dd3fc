from bhavcast.gateway.throttle import BEHIND_FOR, BEHIND_S, IN_TIME_FOR, STEPS, Throttle


def seconds(throttle: Throttle, late: float, count: int) -> list[float | None]:
    """Let some seconds pass with flushes so late; return the caps that came of it."""
    changes = []
    for _ in range(count):
        throttle.note(late)
        throttle.note(0.0)  # the worst counts
        if throttle.judge():
            changes.append(throttle.cap)
    return changes


def test_flushes_that_stay_behind_slow_everyone_down_step_by_step_and_not_for_ever():
    throttle = Throttle()
    assert seconds(throttle, BEHIND_S * 2, BEHIND_FOR * (len(STEPS) + 2)) == list(STEPS)
    assert throttle.cap == STEPS[-1]


def test_a_stall_is_no_overload():
    throttle = Throttle()
    for _ in range(10):
        assert seconds(throttle, 9.0, BEHIND_FOR - 1) == []
        assert seconds(throttle, 0.0, 1) == []
    assert throttle.cap is None


def test_flushes_in_time_let_everyone_go_step_by_step_again():
    throttle = Throttle()
    seconds(throttle, 1.0, BEHIND_FOR * 2)
    assert throttle.cap == STEPS[1]
    assert seconds(throttle, 0.0, IN_TIME_FOR - 1) == []
    assert seconds(throttle, BEHIND_S, 1) == []  # neither well nor bad: the count begins again
    assert seconds(throttle, 0.0, IN_TIME_FOR * 3) == [STEPS[0], None]
