"""Every input that was kept is tried again."""

import re
from pathlib import Path

import pytest

from tests.fuzz import targets

# What the fuzzer reached something new with has a digest for its name; what once failed, or is written by hand, a name.
FILES = sorted(path for path in (Path(__file__).parent / "corpus").rglob("*") if path.is_file())
FOUND = [path for path in FILES if re.fullmatch(r"[0-9a-f]{40}", path.name)]
CORPUS = [path for path in FILES if path not in FOUND]


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


@pytest.mark.parametrize("target", targets.TARGETS)
def test_what_the_fuzzer_found_its_way_with_is_harmless(target):
    for path in FOUND:
        if path.parent.name == target:
            targets.TARGETS[target](path.read_bytes())


def test_every_target_has_a_corpus():
    assert {path.parent.name for path in CORPUS} == targets.TARGETS.keys()
