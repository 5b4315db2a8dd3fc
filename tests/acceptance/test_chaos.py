"""The short form of `make chaos`: a few seeds, on the topologies that differ most."""

import pytest

from tests.chaos.seed import Run

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]


@pytest.mark.parametrize(("seed", "topology"), [(1, "local"), (2, "standby"), (3, "sentinel")])
async def test_under_faults_nobody_is_told_what_is_not_so_and_all_is_whole_again(seed, topology):
    told = await Run(seed, topology=topology).run()
    assert told.violations == [], "\n".join([f"logs: {told.folder}", *told.schedule, *told.violations])
    assert told.observed > 1000
