"""The unmodified socket.io-client from npm, run by Node, over each transport."""

import asyncio
import json
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest

from tests.clients.setup import socketio_client
from tests.docs.stage import PATIENCE_S
from tests.integration.venue import Venue
from tests.waiting import until

pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="session")
def folder() -> Path:
    """The folder of the program with its package, made if it is not there or its lock has changed."""
    return socketio_client()


async def heard(process: asyncio.subprocess.Process, *wanted: str) -> list[Any]:
    """Hear until each of these events was told, in whatever order; return what they tell."""
    assert process.stdout is not None
    told: dict[str, Any] = {}
    async with asyncio.timeout(2 * PATIENCE_S):
        while told.keys() != set(wanted) and (line := await process.stdout.readline()):
            event, content = json.loads(line)
            if event in wanted:
                told[event] = content
    return [told[each] for each in wanted]


@pytest.mark.parametrize("transport", ["websocket", "polling", "upgrade"])
async def test_a_program_for_socket_io_follows(folder: Path, transport: str):
    async with Venue() as venue:
        process = await asyncio.create_subprocess_exec(
            "node", "follow.js", venue.url, transport, "RELIANCE", "NOBODY", cwd=folder, stdin=PIPE, stdout=PIPE
        )
        try:
            await follow(process, venue, transport)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            process._transport.close()  # type: ignore[attr-defined]  # its pipes would be collected as unclosed


async def follow(process: asyncio.subprocess.Process, venue: Venue, transport: str) -> None:
    assert process.stdin is not None
    moves = ["upgrade"] if transport == "upgrade" else []
    _, confirmed, batch, *upgraded = await heard(process, "connect", "subscription_confirmed", "batch_data", *moves)
    assert upgraded == ["websocket"] * len(moves)
    assert (confirmed["symbols"], confirmed["bad"][0]["code"]) == (["500325"], "unknown_symbol")
    assert batch["data"][0]["price"] == 1532.9
    for price in (154_000, 154_100):
        await venue.price("500325", price)
        (update,) = await heard(process, "stock_update")
        assert update["data"]["price"] == price / 100
    process.stdin.write(b'["get_connection_info",null]\n["subscribe_batch",{"symbols":7}]\n')
    info, error, refused = await heard(process, "connection_info", "error", "ack subscribe_batch")
    assert info["transport"] == ("polling" if transport == "polling" else "websocket")
    assert error["field"] == "symbols"
    assert refused == {"error": error}
    process.stdin.close()
    async with asyncio.timeout(PATIENCE_S):
        assert await process.wait() == 0
    await until(lambda: not venue.gateway.members)
