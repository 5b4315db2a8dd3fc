"""The short form of `make chaos`: a few seeds, on the topologies that differ most.

Here all must be whole again; within how many seconds is measured by `make chaos`, on a machine that has nothing else to do.
"""

import pytest

from tests.chaos.seed import GIVE_UP_S, Run

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]


@pytest.mark.parametrize(("seed", "topology"), [(1, "local"), (2, "standby"), (3, "sentinel")])
async def test_under_faults_nobody_is_told_what_is_not_so_and_all_is_whole_again(seed, topology):
    run = Run(seed, topology=topology)
    run.out.whole_within_s = GIVE_UP_S
    told = await run.run()
    assert told.violations == [], "\n".join([f"logs: {told.folder}", *told.schedule, *told.violations])
    assert told.observed > 1000
