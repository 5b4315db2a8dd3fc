"""Write the vectors and the made regions of all pages again: `.venv/bin/python -m tests.docs.refresh`."""

import asyncio
import sys

from msgspec import json

from tests.docs.regions import ROOT, WIRE, pages, renewed
from tests.wire.conversations import CONVERSATIONS, vector


async def written(name: str) -> str:
    """Return the content of a vector's file."""
    return "".join(json.encode(line).decode() + "\n" for line in await vector(name))


async def _all(vectors: bool) -> None:
    for name in CONVERSATIONS if vectors else ():
        (WIRE / f"{name}.jsonl").write_text(await written(name))
    for page in pages():
        before = page.read_text()
        after = await renewed(before)
        if after != before:
            print(f"written: {page.relative_to(ROOT)}")
            page.write_text(after)


if __name__ == "__main__":
    asyncio.run(_all("--pages" not in sys.argv))
