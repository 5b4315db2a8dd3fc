"""What a quote's state is, by the phase of its scrip, the state of its source and its age."""

from typing import get_args

import pytest

from bhavcast.board.board import Board
from bhavcast.board.staleness import QUIET_AFTER_MS, QUIET_PERIODS, SLICE, TURN, Staleness
from bhavcast.domain import field
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.session import TICKS_DUE_PHASES, Phase, ScripClass
from bhavcast.domain.tick import FeedState, Source, Tick

SIM = Source(name="sim", mode="sim", grade="tick")
POLL = Source(name="poll", mode="delayed", grade="polled", period_ms=60_000)
DAY = Source(name="bhavcopy", mode="eod", grade="eod")
NOW = 1_795_405_500_000
PHASES: tuple[Phase, ...] = get_args(Phase)
SILENT: tuple[FeedState, ...] = ("stale", "failed", "starting", "paused", "ended")


def scrip(number: int = 1, **more: object) -> Instrument:
    return Instrument(symbol=f"{600000 + number}", id=f"S{number}", name="EXAMPLE LTD.", **more)  # type: ignore[arg-type]  # fields of an instrument


class Market:
    """A board under a staleness sweep, with a phase for each class that the test sets."""

    def __init__(self, *instruments: Instrument) -> None:
        self.board = Board()
        self.board.add(instruments or (scrip(),))
        self.phase: Phase = "continuous"
        self.phases: dict[ScripClass, Phase] = {}
        self.feeds: dict[str, FeedState] = {"sim": "live", "poll": "live", "bhavcopy": "live"}
        self.staleness = Staleness(self.board, lambda cls, at: self.phases.get(cls, self.phase))

    def tick(self, symbol: str = "600001", *, source: Source = SIM, at: int = NOW) -> None:
        self.board.apply(source, [Tick(symbol, at, {field.CURRENT_PRICE: 100})])

    def sweep(self, at: int = NOW, times: int = 1) -> list[str]:
        """Sweep so often; return the symbols that changed."""
        return [change.symbol for _ in range(times) for change in self.staleness.sweep(at, self.feeds)]

    def state(self, symbol: str = "600001") -> object:
        return self.board.rows[symbol][field.STATE]


@pytest.mark.parametrize("phase", PHASES)
def test_a_scrip_of_which_nobody_spoke_has_no_data_in_any_phase(phase):
    market = Market()
    market.phase = phase
    market.sweep()
    assert market.state() == "no_data"
    assert market.board.rows["600001"][field.PHASE] == phase


@pytest.mark.parametrize("phase", PHASES)
def test_the_phase_decides_before_anything_else(phase):
    market = Market()
    market.phase = phase
    market.tick()
    market.sweep()
    expected = {"closed": "closed", "halted": "halted", "auction_after_halt": "halted"}.get(phase, "live")
    assert market.state() == expected
    assert market.board.rows["600001"].tick_state == expected


@pytest.mark.parametrize(
    "phase", [phase for phase in PHASES if phase not in ("closed", "halted", "auction_after_halt")]
)
@pytest.mark.parametrize("state", get_args(FeedState))
def test_a_silent_source_makes_stale_only_where_ticks_are_due(phase, state):
    market = Market()
    market.phase = phase
    market.feeds["sim"] = state
    market.tick()
    market.sweep()
    assert market.state() == ("stale" if phase in TICKS_DUE_PHASES and state in SILENT else "live")


def test_a_source_of_which_nothing_is_known_is_stale():
    market = Market()
    del market.feeds["sim"]
    market.tick()
    market.sweep()
    assert market.state() == "stale"


def test_a_scrip_is_quiet_after_a_minute_without_a_tick_and_live_with_the_next():
    market = Market()
    market.tick()
    assert market.sweep(NOW + QUIET_AFTER_MS) == ["600001"]
    assert market.state() == "live"
    assert market.sweep(NOW + QUIET_AFTER_MS + 1) == ["600001"]
    assert market.state() == "quiet"
    market.tick(at=NOW + QUIET_AFTER_MS + 2)
    assert market.state() == "live", "it need not wait for the sweep"


def test_a_polled_source_may_miss_some_of_its_periods():
    market = Market()
    market.tick(source=POLL)
    patience = QUIET_PERIODS * POLL.period_ms
    market.sweep(NOW + patience)
    assert market.state() == "live"
    market.sweep(NOW + patience + 1)
    assert market.state() == "quiet"


def test_a_stale_source_outweighs_a_quiet_scrip_and_what_comes_back_is_judged_by_its_age():
    market = Market()
    market.tick()
    market.feeds["sim"] = "stale"
    market.sweep(NOW + QUIET_AFTER_MS + 1)
    assert market.state() == "stale"
    market.feeds["sim"] = "live"
    market.sweep(NOW + QUIET_AFTER_MS + 2)
    assert market.state() == "quiet"


def test_an_official_day_is_closed_at_any_hour():
    market = Market()
    market.tick(source=DAY)
    market.sweep()
    assert market.state() == "closed"


def test_a_suspended_scrip_is_halted_in_every_phase():
    market = Market(scrip(status="S"))
    market.tick()
    for phase in PHASES:
        market.phase = phase
        market.sweep()
        assert market.state() == "halted"


def test_a_tick_in_a_halt_or_after_the_close_does_not_make_a_scrip_live():
    market = Market()
    for phase, state in (("halted", "halted"), ("closed", "closed")):
        market.phase = phase  # type: ignore[assignment]  # one of the phases
        market.tick()
        market.sweep()
        market.tick(at=NOW + 1)
        assert market.state() == state


def test_classes_have_phases_of_their_own_and_a_redefined_scrip_another_after_forgetting():
    market = Market(scrip(1), scrip(2, closing_auction=True), scrip(3, call_auction="periodic"))
    market.phases = {"standard": "continuous", "closing_auction": "cas_entry", "periodic": "pre_open_match"}
    market.sweep()
    phases = [row[field.PHASE] for row in market.board.order]
    assert phases == ["continuous", "cas_entry", "pre_open_match"]
    market.board.add([scrip(1, closing_auction=True)])
    market.staleness.forget()
    market.sweep(times=TURN)
    assert market.board.rows["600001"][field.PHASE] == "cas_entry"


def test_what_has_not_changed_takes_no_revision():
    market = Market()
    market.tick()
    market.sweep()
    rev = market.board.rev
    assert market.sweep(NOW + 1, times=2 * TURN) == []
    assert market.board.rev == rev


def test_a_change_of_phase_reaches_every_scrip_in_slices():
    market = Market(*(scrip(n) for n in range(1, 2 * SLICE + 501)))
    slices = [len(market.sweep()) for _ in range(4)]
    assert slices == [SLICE, SLICE, 500, 0]
    market.phase = "closed"
    assert [len(market.sweep()) for _ in range(4)] == [SLICE, SLICE, 500, 0]


def test_a_phase_that_changes_again_in_the_middle_of_its_slices_reaches_every_scrip():
    market = Market(*(scrip(n) for n in range(1, 2 * SLICE + 501)))
    market.sweep()
    market.phase = "closed"
    market.sweep(times=4)
    assert {row[field.PHASE] for row in market.board.order} == {"closed"}


def test_time_alone_reaches_every_scrip_within_a_turn():
    market = Market(*(scrip(n) for n in range(1, 21)))
    for number in range(1, 21):
        market.tick(f"{600000 + number}")
    market.sweep()
    changed = market.sweep(NOW + QUIET_AFTER_MS + 1, times=TURN)
    assert sorted(changed) == [f"{600000 + number}" for number in range(1, 21)]


def test_scrips_that_are_added_are_swept_at_once_and_an_empty_board_is_swept_too():
    market = Market()
    market.sweep()
    market.board.add([scrip(n) for n in range(2, 100)])
    assert len(market.sweep()) == 98
    assert Staleness(Board(), lambda cls, at: "closed").sweep(NOW, {}) == []
