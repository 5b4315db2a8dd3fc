"""The parts of the simulator, each by itself."""

import pytest

from bhavcast.feeds.sim.auction import equilibrium
from bhavcast.feeds.sim.chance import NORMALS, SIZES
from bhavcast.feeds.sim.halts import Breaker
from bhavcast.feeds.sim.volume import intensity, share
from tests.sim_tape import NEW_RULES, at


def test_an_auction_matches_the_most_shares() -> None:
    bids = [0, 10, 20, 30]  # at ascending prices
    asks = [25, 20, 5, 0]
    assert equilibrium(bids, asks, 0) == (2, 50)


def test_an_auction_without_a_meeting_matches_nothing_at_its_middle() -> None:
    assert equilibrium([10, 0, 0], [0, 0, 10], 1) == (1, 0)


def test_of_equal_matches_the_smaller_surplus_wins() -> None:
    # 10 match at every price from 0 to 2; at 2 nobody is left over.
    assert equilibrium([5, 5, 10], [10, 0, 0], 0) == (2, 10)


def test_volume_of_a_day_is_one_and_its_edges_are_high() -> None:
    assert share(0, 1) == pytest.approx(1)
    assert share(0, 0.08) / share(0.46, 0.54) > 2.5
    assert share(0.92, 1) / share(0.46, 0.54) > 2.5
    assert intensity(0) == pytest.approx(3, rel=0.2)


def test_tables_of_chance_have_the_moments_they_claim() -> None:
    assert sum(NORMALS) == pytest.approx(0, abs=1e-6)
    assert sum(z * z for z in NORMALS) / len(NORMALS) == pytest.approx(1, rel=0.01)
    assert sum(SIZES) / len(SIZES) == pytest.approx(1)


def test_a_higher_level_prolongs_a_halt() -> None:
    breaker, end = Breaker(), at(NEW_RULES, 15, 30)
    assert breaker.trip(10, at(NEW_RULES, 10), end)
    assert breaker.next_level() == 15
    assert breaker.trip(15, at(NEW_RULES, 10, 50), end)
    assert breaker.phase(at(NEW_RULES, 10, 49)) == "auction_after_halt"
    assert breaker.phase(at(NEW_RULES, 10, 50)) == "halted"
    assert breaker.phase(at(NEW_RULES, 12, 36)) == "auction_after_halt"
    assert breaker.next_edge(at(NEW_RULES, 12, 36)) == at(NEW_RULES, 12, 50)


def test_a_halt_late_in_the_day_ends_with_trading() -> None:
    breaker, end = Breaker(), at(NEW_RULES, 15, 30)
    breaker.trip(15, at(NEW_RULES, 14, 30), end)
    assert [(halt.start, halt.end) for halt in breaker.halts] == [(at(NEW_RULES, 14, 30), end)]
    assert breaker.phase(end) is None


def test_no_halt_by_ten_per_cent_in_the_last_hour() -> None:
    breaker = Breaker()
    assert not breaker.trip(10, at(NEW_RULES, 14, 45), at(NEW_RULES, 15, 30))
    assert breaker.halts == []
    assert breaker.next_level() == 15
