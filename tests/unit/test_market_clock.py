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
