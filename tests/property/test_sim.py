"""Whatever is done to the simulated market, what it says stays consistent."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from bhavcast.domain.field import Ladder
from bhavcast.feeds.sim.auction import Auction, equilibrium
from bhavcast.feeds.sim.book import asks_at, bids_at, level
from bhavcast.reference.builtin import universe
from tests.sim_tape import MINUTE, NEW_RULES, OLD_RULES, Tape, at, market

UNIVERSE = universe(60, 1)

quantities = st.lists(st.integers(0, 50), min_size=1, max_size=13)


@given(quantities, st.data())
def test_an_auction_finds_what_trying_every_price_finds(bids: list[int], data: st.DataObject) -> None:
    asks = data.draw(st.lists(st.integers(0, 50), min_size=len(bids), max_size=len(bids)))
    middle = data.draw(st.integers(0, len(bids) - 1))
    matched = [min(sum(bids[i:]), sum(asks[: i + 1])) for i in range(len(bids))]
    at_best, quantity = equilibrium(bids, asks, middle)
    assert quantity == max(matched) == matched[at_best] or (quantity == 0 == max(matched) and at_best == middle)
    if quantity:
        surplus = [abs(sum(bids[i:]) - sum(asks[: i + 1])) for i in range(len(bids)) if matched[i] == quantity]
        assert abs(sum(bids[at_best:]) - sum(asks[: at_best + 1])) == min(surplus)


@given(st.integers(1, 10_000), st.integers(1, 50), st.lists(st.integers(0, 2**32 - 1), max_size=40))
def test_an_auction_stays_inside_its_limits(ticks: int, gap: int, orders: list[int]) -> None:
    middle, lower, upper = ticks * 5, max(5, ticks * 5 - 500), ticks * 5 + 500
    auction = Auction(middle, gap * 5, lower, upper)
    for bits in orders:
        auction.enter(bits, 30.0, 1)
    auction.find()
    ladders = (*auction.bid_ladder(), *auction.ask_ladder())
    assert all(lower <= price <= upper and price % 5 == 0 and shares > 0 for price, shares, _ in ladders)
    assert lower <= auction.price <= upper


@given(st.lists(st.tuples(st.integers(1, 400), st.integers(0, 2**24)), min_size=1, max_size=20), st.integers(1, 6))
def test_ladders_stay_ordered_wherever_the_best_price_goes(path: list[tuple[int, int]], gap: int) -> None:
    bids: Ladder = ()
    asks: Ladder = ()
    for best, bits in path:
        bids = bids_at(bids, best, gap, 1, level(best, bits, 50.0, 1), bits, 50.0, 1)
        asks = asks_at(asks, best, gap, 400, level(best, bits, 50.0, 1), bits, 50.0, 1)
        assert bids[0][0] == asks[0][0] == best
        assert [held[0] for held in bids] == sorted({held[0] for held in bids}, reverse=True)
        assert [held[0] for held in asks] == sorted({held[0] for held in asks})
        assert len(bids) <= 5
        assert len(asks) <= 5
        assert bids[-1][0] >= 1
        assert asks[-1][0] <= 400


moments = st.tuples(
    st.sampled_from([OLD_RULES, NEW_RULES, OLD_RULES.replace(month=8, day=12), NEW_RULES - timedelta(1)]),
    st.integers(0, 24 * 60 - 1),
).map(lambda pair: at(pair[0], *divmod(pair[1], 60)))
events = st.lists(
    st.one_of(
        st.tuples(st.just("advance"), st.integers(1, 40_000)),
        st.tuples(st.just("leap"), st.integers(1, 5 * 60 * MINUTE)),
        st.tuples(st.just("shock"), st.sampled_from([-40, -12, -6, 6, 12, 40])),
        st.tuples(st.just("halt"), st.sampled_from([10, 15, 20])),
        st.tuples(st.just("restore"), st.just(0)),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=25, deadline=None)
@given(moments, events, st.integers(0, 1000))
def test_no_course_of_events_makes_the_market_contradict_itself(
    moment: int, course: list[tuple[str, int]], seed: int
) -> None:
    simulated = market(60, seed=seed, rate=150)
    simulated.start(moment)
    tape = Tape(UNIVERSE, simulated, exact=False)
    for event, amount in course:
        if event == "advance":
            tape.take(simulated.advance(simulated.now + amount))
        elif event == "leap":
            day = simulated.date
            simulated.leap(simulated.now + amount)
            if simulated.date != day:
                tape.rows.clear()
        elif event == "shock":
            simulated.shock(amount / 100)
        elif event == "halt":
            simulated.force_halt(amount)
        else:
            tape.take(simulated.advance(simulated.now))
            now = simulated.now
            simulated = tape.market = market(60, seed=seed + 1, rate=150)
            simulated.restore(tape.rows, now)
    tape.take(simulated.advance(simulated.now + 20_000))
    assert tape.complaints == []
