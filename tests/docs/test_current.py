"""What is made from the product is what the product says now."""

import asyncio
from pathlib import Path

import pytest

from tests.docs.refresh import written
from tests.docs.regions import ROOT, WIRE, pages, renewed
from tests.wire.conversations import CONVERSATIONS

pytestmark = pytest.mark.slow

REFRESH = "out of date: .venv/bin/python -m tests.docs.refresh"
# A scrip that stays silent is told of after five seconds.
_WAITS = {"notices"}


@pytest.mark.parametrize("page", [p for p in pages() if "<!-- end -->" in p.read_text()], ids=lambda page: page.stem)
def test_the_regions_of_a_page_say_what_the_product_says(page: Path):
    text = page.read_text()
    assert asyncio.run(renewed(text)) == text, f"{page.relative_to(ROOT)} is {REFRESH}"


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in _WAITS else []) for name in CONVERSATIONS]
)
async def test_the_gateway_speaks_as_in_the_vector(name: str):
    file = WIRE / f"{name}.jsonl"
    assert await asyncio.wait_for(written(name), 60) == file.read_text(), f"{file.relative_to(ROOT)} is {REFRESH}"


def test_there_is_no_vector_that_nobody_speaks():
    assert {file.stem for file in WIRE.glob("*.jsonl")} == set(CONVERSATIONS)
