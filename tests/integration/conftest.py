"""One running system for all tests of the commands that talk to one."""

from collections.abc import Iterator

import pytest

from tests.integration.cli import System, running


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with running(tmp_path_factory.mktemp("system"), "--scrips", 200, "--at", "11:00") as found:
        yield found
