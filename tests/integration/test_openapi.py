"""What /openapi.json says is what is served: schemathesis asks whatever the document allows, and more."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from tests.integration.venue import Venue

# In the environment of `make fuzz`; see requirements/fuzz.lock.
ROOT = Path(__file__).parents[2]
SCHEMATHESIS = shutil.which(
    "schemathesis", path=os.pathsep.join([str(ROOT / ".venv-fuzz" / "bin"), os.environ["PATH"]])
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(SCHEMATHESIS is None, reason="needs schemathesis: make .venv-fuzz/.fuzz"),
]


async def test_every_answer_is_one_that_the_document_tells(tmp_path):
    assert SCHEMATHESIS is not None
    async with Venue() as venue:
        process = await asyncio.create_subprocess_exec(
            SCHEMATHESIS,
            "run",
            f"{venue.url}/openapi.json",
            "--checks=all",
            # Which symbols, fields, cursors and positions there are a schema cannot say: some that it allows are refused.
            "--exclude-checks=positive_data_acceptance",
            "--max-examples=40",
            # Streams do not end. Routes for a role ask for the key before they look at the method, and the preflight
            # of a session lists its methods by halves: not covered yet.
            "--exclude-path-regex=^/(ws|api/(stream|session|admin/.*))$",
            "--no-color",
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()[-8000:]
