"""Every input that was kept is tried again."""

from pathlib import Path

import pytest

from tests.fuzz import targets

CORPUS = sorted(path for path in (Path(__file__).parent / "corpus").rglob("*") if path.is_file())


@pytest.fixture(scope="module", autouse=True)
def house():
    targets.house.cache_clear()
    yield
    if targets.house.cache_info().currsize:
        targets.house().close()
        targets.house.cache_clear()


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_kept_input_is_harmless(path):
    targets.TARGETS[path.parent.name](path.read_bytes())


def test_every_target_has_a_corpus():
    assert {path.parent.name for path in CORPUS} == targets.TARGETS.keys()
