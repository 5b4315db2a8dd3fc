"""Both clients, Python and JavaScript, do the same after each close code: come again with their position, or not at all."""

import asyncio
from asyncio.subprocess import PIPE

import pytest
from msgspec import json

from bhavcast.client.errors import StreamClosed
from bhavcast.client.stream import Client
from bhavcast.gateway.close_codes import CLOSE_CODES
from tests.clients.setup import ROOT
from tests.conformance.test_client_state import NODE, needs_node
from tests.integration.peer import Peer, peer, pos

PATIENCE_S = 20.0

PROGRAM = """
const [library, url] = process.argv.slice(1);
const { Bhavcast } = await import(library);
const prices = new Bhavcast(url, { fields: "ltp" });
prices.on("link", ({ state }) => {
  if (state === "waiting") prices.retryNow();
  if (state === "refused") process.exit();
});
prices.on("change", ({ quote }) => quote.rev === 20 && process.exit());
prices.subscribe("500325");
prices.connect();
"""


async def python(url: str) -> None:
    async def at_once(_seconds: float) -> None:
        await asyncio.sleep(0)

    async with Client(url, fields="ltp", sleep=at_once) as client:
        await client.subscribe("500325")
        try:
            async for update in client.updates():
                if update.quote["rev"] == 20:
                    return
        except StreamClosed:
            return


async def javascript(url: str) -> None:
    assert NODE is not None
    # Node 22 has a WebSocket as browsers do; 20 has it behind a flag that 22 still takes.
    words = ["--no-warnings", "--experimental-websocket", "--input-type=module", "-e", PROGRAM]
    library = str(ROOT / "web" / "lib" / "bhavcast.js")
    process = await asyncio.create_subprocess_exec(NODE, *words, library, url, stderr=PIPE)
    try:
        _, said = await process.communicate()
        assert process.returncode == 0, said.decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("code", CLOSE_CODES, ids=lambda code: code.name)
@pytest.mark.parametrize(
    "client",
    [python, pytest.param(javascript, marks=needs_node)],
    ids=lambda client: client.__name__,
)
async def test_a_close_code_says_whether_to_come_again_and_then_nothing_is_forgotten(client, code):
    said: list[dict] = []

    async def closes(line: Peer) -> None:
        await line.greet()
        await line.serve({"symbol": "500325", "current_price": 10.0, "rev": 5}, at=6)
        await line.say("u", pos=pos(9), q=[{"symbol": "500325", "current_price": 11.0, "rev": 8}])
        await line.socket.close(code.code, code.reason)

    async def goes_on(line: Peer) -> None:
        await line.greet()
        while (message := json.decode(await line.socket.recv()))["t"] == "set":
            pass
        said.append({name: message.get(name) for name in ("t", "pos", "symbols")})
        await line.say("resumed", id=message["id"], recovered=True, changed=1)
        await line.say("u", pos=pos(20), q=[{"symbol": "500325", "current_price": 12.0, "rev": 20}])
        await line.stay()

    async with asyncio.timeout(PATIENCE_S), peer(closes, goes_on) as url:
        await client(url)
    resume = {"t": "resume", "pos": pos(9), "symbols": ["500325"]}
    assert said == ([resume] if code.reconnect else [])
