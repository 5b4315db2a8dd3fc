"""When cohorts flush: each in a rhythm of its own, apart from the others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bhavcast.gateway.pace import moment, phase

PART = st.floats(0, 1, exclude_max=True)


@given(st.floats(0, 1e7), st.sampled_from([0.05, 0.1, 1 / 3, 1.0, 2.0]), PART)
def test_moments_follow_each_other_by_a_period(now, period, part):
    first = moment(now, period, part)
    assert now < first <= now + period * 1.001
    second = moment(first, period, part)
    assert second - first == pytest.approx(period, rel=1e-6)
    assert moment(first - period / 1000, period, part) == pytest.approx(first), "who wakes early does not lose one"


@given(st.lists(PART, max_size=12))
def test_a_phase_is_as_far_from_the_others_as_there_is_room(taken):
    new = phase(taken)
    assert 0 <= new < 1
    distance = min((min((new - each) % 1, (each - new) % 1) for each in taken), default=1)
    assert distance >= 1 / (2 * (len(taken) or 1)) - 1e-9


def test_the_second_of_two_begins_half_a_period_later():
    assert phase([0.25]) == 0.75
    assert phase([0.0, 0.5]) == 0.25
