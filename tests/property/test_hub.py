"""Hub, cohorts, outboxes and sessions under random schedules, against the board itself.

A schedule that fails names its seed; `World(seed).run()` of tests/stream_world.py runs it again.
"""

import pytest

from tests.stream_world import World


@pytest.mark.parametrize("block", range(5))
def test_whatever_happens_in_whatever_order_every_client_ends_with_the_board(block):
    for seed in range(block * 20, block * 20 + 20):
        World(seed).run()


def test_so_it_does_where_snapshots_and_flushes_have_their_real_sizes():
    for seed in range(3):
        World(seed, scrips=450, full_size=True).run(150)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_so_it_does_in_thousands_of_schedules(block):
    for seed in range(10_000 + block * 300, 10_000 + block * 300 + 300):
        World(seed, clients=3 + seed % 5).run(100 + seed % 400)
