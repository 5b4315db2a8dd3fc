"""What /openapi.json says is what is served: schemathesis asks whatever the document allows, and more."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from bhavcast.access.keyring import Keyring
from bhavcast.domain.access import Key, digest
from bhavcast.gateway.close_codes import DRAINING
from tests.integration.test_access import Told, guarded
from tests.integration.venue import Venue

# In the environment of `make fuzz`; see requirements/fuzz.lock.
ROOT = Path(__file__).parents[2]
SCHEMATHESIS = shutil.which(
    "schemathesis", path=os.pathsep.join([str(ROOT / ".venv-fuzz" / "bin"), os.environ["PATH"]])
)
STREAM_S = 0.05
ADMIN = Key(id="1", name="chief", role="admin", sha256=digest("chief-key"), created=0)
WITH_KEY = "--header=X-API-Key:chief-key"
DRAIN = "/api/admin/drain"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(SCHEMATHESIS is None, reason="needs schemathesis: make .venv-fuzz/.fuzz"),
]


async def test_without_keys_every_answer_is_one_that_the_document_tells(tmp_path):
    async with Venue(control=Told()) as venue, streams_end(venue):
        await explore(venue, tmp_path)


async def test_with_a_key_too_and_what_operators_do(tmp_path):
    async with Venue(control=Told(), keeper=house()) as venue, streams_end(venue):
        await explore(venue, tmp_path, WITH_KEY, f"--exclude-path={DRAIN}")  # which has its own test below
        assert venue.recorded


async def test_with_keys_that_are_none(tmp_path):
    async with Venue(control=Told(), keeper=house()) as venue, streams_end(venue):
        # It shows all kinds of key at once: then that comes first, whatever the method.
        await explore(venue, tmp_path, without=["unsupported_method"], invented_keys=True)
        assert not venue.recorded


async def test_and_while_it_drains(tmp_path):
    async with Venue(control=Told(), keeper=house()) as venue:
        # After the first time the answer is the same to everything and everybody: 503.
        same = ["not_a_server_error", "ignored_auth", "unsupported_method"]
        await explore(venue, tmp_path, WITH_KEY, f"--include-path={DRAIN}", without=same)
        assert venue.gateway.draining


def house():
    """A house with keys that may be asked as fast as schemathesis can, and be shown as many that are none."""
    plenty = 10_000_000
    return guarded(Keyring([ADMIN]), requests_per_second=plenty, requests_burst=plenty, failures_per_minute=plenty)


@contextlib.asynccontextmanager
async def streams_end(venue: Venue) -> AsyncIterator[None]:
    """Send every stream away after a moment, as at the end of the service: nobody who waits for its end waits long."""

    async def send_away() -> None:
        while True:
            await asyncio.sleep(STREAM_S)
            for member in list(venue.gateway.members):
                member.send_away(DRAINING, 1)

    sending = asyncio.create_task(send_away())
    try:
        yield
    finally:
        sending.cancel()


async def explore(
    venue: Venue, folder: Path, *arguments: str, without: Iterable[str] = (), invented_keys: bool = False
) -> None:
    """Ask everything; `SCHEMATHESIS_EXAMPLES` and `SCHEMATHESIS_SEED` ask for more, and for the same again."""
    assert SCHEMATHESIS is not None
    # Invented keys are for a house that has keys: they would be all that the answers are about.
    (folder / "schemathesis.toml").write_text(f"[generation]\nwith-security-parameters = {invented_keys}\n".lower())
    asked = [
        "--checks=all",
        # Which symbols, fields, cursors and positions there are a schema cannot say: some that it allows are refused.
        f"--exclude-checks={','.join(['positive_data_acceptance', *without])}",
        f"--max-examples={os.environ.get('SCHEMATHESIS_EXAMPLES', '30')}",
        *([f"--seed={seed}"] if (seed := os.environ.get("SCHEMATHESIS_SEED")) else []),
        "--request-timeout=20",
        "--no-color",
        *arguments,
    ]
    process = await asyncio.create_subprocess_exec(
        SCHEMATHESIS,
        "run",
        f"{venue.url}/openapi.json",
        *asked,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()[-8000:]
