import itertools

import pytest

from bhavcast.telemetry.clock import ManualClock, MarketClock

NOW = 1_795_405_500_000


def test_a_clock_that_follows_runs_on_by_itself_at_the_speed_it_was_told():
    here = ManualClock()
    market = MarketClock(here)
    market.follow(NOW, virtual=True, speed=60.0)
    here.advance(2)
    assert market.now_ms() == NOW + 120_000
    assert market.state() == {"virtual": True, "speed": 60.0}


def test_a_word_that_comes_late_never_sets_it_back_and_one_that_is_ahead_sets_it_forward():
    here = ManualClock()
    market = MarketClock(here)
    market.follow(NOW, virtual=True, speed=1.0)
    here.advance(1)
    market.follow(NOW + 400, virtual=True, speed=1.0)
    assert market.now_ms() == NOW + 1000
    market.follow(NOW + 5_000_000, virtual=True, speed=1.0)
    assert market.now_ms() == NOW + 5_000_000


def test_a_time_that_begins_anew_may_be_an_earlier_one():
    market = MarketClock(ManualClock())
    market.follow(NOW, virtual=True, speed=1.0)
    market.follow(NOW - 10_000, virtual=True, speed=1.0, anew=True)
    assert market.now_ms() == NOW - 10_000


def test_a_real_clock_is_the_machines_own():
    here = ManualClock()
    market = MarketClock(here, start_ms=NOW)
    market.follow(NOW, virtual=False, speed=1.0)
    assert market.now_ms() == here.wall_ms()
    assert not market.virtual


def test_a_jump_of_the_wall_clock_does_not_move_a_virtual_market():
    here = ManualClock()
    market = MarketClock(here)
    market.follow(NOW, virtual=True, speed=1.0)
    for jump in (3600, -7200):
        here.jump_wall(jump)
        assert market.now_ms() == NOW


@pytest.mark.parametrize("hours", [-24, -1, 1, 24])
def test_the_exchange_goes_on_whatever_our_wall_clock_does(hours):
    clock = ManualClock()
    market = MarketClock(clock)
    heard = [market.steady_ms()]

    def go_on() -> None:
        for _ in range(20):
            clock.advance(0.25)
            heard.append(market.steady_ms())

    for jump in (hours, -hours):
        clock.jump_wall(jump * 3600)
        go_on()
    steps = [later - earlier for earlier, later in itertools.pairwise(heard)]
    assert set(steps) == ({250, 250 + hours * 3_600_000} if hours > 0 else {250})
    assert market.steady_ms() == market.now_ms() + max(0, hours) * 3_600_000
    clock.jump_wall(max(0, hours) * 3600)
    assert market.steady_ms() == market.now_ms(), "the two agree again once ours is right"


def test_without_a_jump_the_exchange_has_our_time_also_where_that_is_slewed():
    clock = ManualClock()
    market, fast = MarketClock(clock), MarketClock(clock, start_ms=1_000, speed=60)
    for _ in range(50):
        clock.advance(0.1)
        clock.jump_wall(0.02)
        assert market.steady_ms() == market.now_ms()
        assert fast.steady_ms() == fast.now_ms()
