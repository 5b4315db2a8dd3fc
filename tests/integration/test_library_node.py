"""web/lib/bhavcast.js in Node.js, with its own WebSocket, at a gateway that wants a key."""

import asyncio
import shutil
from asyncio.subprocess import PIPE

import pytest

from tests.clients.setup import ROOT
from tests.docs.stage import PATIENCE_S
from tests.integration.test_access import guarded
from tests.integration.venue import Venue

PROGRAM = """
const [library, url, key] = process.argv.slice(1);
const { Bhavcast } = await import(library);
const prices = new Bhavcast(url, key ? { fields: "ltp", key } : { fields: "ltp" });
prices.on("link", ({ state, code }) => state === "refused" && (console.log(state, code), process.exit()));
prices.subscribe("RELIANCE");
prices.connect();
for await (const quotes of prices) {
  for (const quote of quotes) console.log(quote.symbol, quote.current_price);
  process.exit();
}
"""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("node") is None, reason="node is not here")]


async def ran(*words: str) -> str:
    process = await asyncio.create_subprocess_exec(*words, stdout=PIPE)
    try:
        async with asyncio.timeout(2 * PATIENCE_S):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return said.decode().strip()


@pytest.mark.parametrize(("key", "said"), [("desk-key", "500325 1532.9"), ("no-key", "refused 4500")])
async def test_the_key_comes_as_the_first_message(key, said):
    version = int((await ran("node", "--version")).removeprefix("v").partition(".")[0])
    # Node 22 has a WebSocket as browsers do; 20 has it behind a flag.
    flags = ["--experimental-websocket"] if version < 22 else []
    library = str(ROOT / "web" / "lib" / "bhavcast.js")
    async with Venue(keeper=guarded()) as venue:
        url = venue.url.replace("http", "ws", 1) + "/ws"
        told = await ran("node", "--no-warnings", *flags, "--input-type=module", "-e", PROGRAM, library, url, key)
    assert told == said
