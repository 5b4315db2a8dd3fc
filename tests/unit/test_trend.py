"""The judge of the soak: growth is found among noise, and noise is not taken for growth."""

import random

import pytest

from tests.soak.trend import trend

HALF_HOUR = [n / 720 for n in range(360)]  # a sample every five seconds
SEEDS = range(12)


def noise(seed: int, size: float) -> list[float]:
    chance = random.Random(seed)
    return [100 + chance.gauss(0, size) for _ in HALF_HOUR]


def walk_of_days(seed: int) -> list[float]:
    """What a day of the market costs rises over some minutes and is given back, a little different each day."""
    chance = random.Random(seed)
    heights = [chance.uniform(8, 12) for _ in range(6)]
    return [100 + heights[int(time * 10)] * (time * 10 % 1) + chance.gauss(0, 0.2) for time in HALF_HOUR]


@pytest.mark.parametrize("seed", SEEDS)
def test_noise_is_not_growth(seed):
    assert not trend(HALF_HOUR, noise(seed, 5), 0.25).grows


@pytest.mark.parametrize("seed", SEEDS)
def test_days_that_come_and_go_are_not_growth(seed):
    assert not trend(HALF_HOUR, walk_of_days(seed), 0.25).grows


@pytest.mark.parametrize("seed", SEEDS)
def test_growth_is_found_among_both(seed):
    leak = [value + 40 * time for time, value in zip(HALF_HOUR, walk_of_days(seed), strict=True)]
    found = trend(HALF_HOUR, leak, 0.25)
    assert found.grows
    assert found.slope == pytest.approx(40, rel=0.3)


def test_a_leap_is_not_a_slope():
    leap = [10.0 if time < 0.4 else 13.0 for time in HALF_HOUR]
    assert not trend(HALF_HOUR, leap, 1).grows


def test_a_leak_of_one_descriptor_a_minute_is_found():
    leak = [float(40 + int(time * 60)) for time in HALF_HOUR]
    assert trend(HALF_HOUR, leak, 1).slope == pytest.approx(60, rel=0.05)
    assert trend(HALF_HOUR, leak, 1).grows


def test_nothing_that_moves_has_no_slope():
    found = trend(HALF_HOUR, [42.0] * len(HALF_HOUR), 1)
    assert (found.slope, found.middle, found.grows) == (0, 42, False)
