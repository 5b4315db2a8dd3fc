"""The unmodified kiteconnect client, in an environment of its own, against a gateway that serves the Kite API."""

import asyncio
import json
import subprocess
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest

from tests.clients.setup import KITE_LOCK, kite_client
from tests.conftest import ROOT
from tests.docs.stage import PATIENCE_S
from tests.integration.venue import Venue

RELIANCE, SENSEX = 128083204, 265

pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="session")
def python() -> Path:
    """The interpreter of the client's environment, made if it is not there or its lock has changed."""
    return kite_client()


class Program:
    """The program, and what it said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def until(self, wanted: str) -> Any:
        assert self.process.stdout is not None
        async with asyncio.timeout(3 * PATIENCE_S):
            while line := await self.process.stdout.readline():
                kind, told = json.loads(line)
                if kind == wanted:
                    return told
        raise AssertionError(f"it ended before {wanted}: {await self.errors()}")

    async def errors(self) -> str:
        assert self.process.stderr is not None
        return (await self.process.stderr.read()).decode()

    async def say(self, *words: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(" ".join(map(str, words)).encode() + b"\n")
        await self.process.stdin.drain()


async def test_a_program_for_kiteconnect_asks_and_follows(python: Path):
    async with Venue(kite_api=True) as venue:
        program = Program(
            await asyncio.create_subprocess_exec(
                python,
                ROOT / "tests" / "clients" / "kite" / "follow.py",
                venue.url,
                str(RELIANCE),
                str(SENSEX),
                "4711",
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
            )
        )
        try:
            await follow(program, venue)
            assert program.process.stdin is not None
            program.process.stdin.close()
            async with asyncio.timeout(PATIENCE_S):
                await program.process.wait()
        finally:
            if program.process.returncode is None:
                program.process.kill()
                await program.process.wait()
            program.process._transport.close()  # type: ignore[attr-defined]  # its pipes would be collected as unclosed


async def follow(program: Program, venue: Venue) -> None:
    assert await program.until("ltp") == {"BSE:RELIANCE": {"instrument_token": RELIANCE, "last_price": 1532.9}}
    ohlc = await program.until("ohlc")
    assert ohlc["BSE:500325"]["ohlc"] == {"open": 1532.9, "high": 1533.45, "low": 1532.65, "close": 1548.3}
    assert ohlc["BSE:SENSEX"]["instrument_token"] == SENSEX
    quote = (await program.until("quote"))["BSE:RELIANCE"]
    assert quote["timestamp"] == "2026-11-23 09:15:01"  # the client has made a datetime of it, without a zone
    assert (quote["volume"], quote["net_change"], quote["lower_circuit_limit"]) == (215, -15.4, 1393.5)
    assert [len(quote["depth"][side]) for side in ("buy", "sell")] == [5, 5]
    assert quote["depth"]["buy"][0] == {"price": 1532.65, "quantity": 126, "orders": 6}
    instruments = {each["tradingsymbol"]: each for each in await program.until("instruments")}
    assert (instruments["RELIANCE"]["instrument_token"], instruments["RELIANCE"]["segment"]) == (RELIANCE, "BSE")
    assert (instruments["SENSEX"]["instrument_token"], instruments["SENSEX"]["segment"]) == (SENSEX, "INDICES")
    refused, code, message = await program.until("refused")
    assert (refused, code) == ("InputException", 400)
    assert "i: expected at least one instrument" in message

    await program.until("connect")
    assert "4711" in (await program.until("error"))[1]
    full: dict[int, Any] = {}
    while full.keys() != {RELIANCE, SENSEX}:
        full |= {each["instrument_token"]: each for each in await program.until("ticks") if each["mode"] == "full"}
    tick = full[RELIANCE]
    assert tick["tradable"]
    assert (tick["last_price"], tick["last_traded_quantity"], tick["volume_traded"]) == (1532.9, 26, 215)
    assert tick["ohlc"] == {"open": 1532.9, "high": 1533.45, "low": 1532.65, "close": 1548.3}
    assert (tick["total_buy_quantity"], tick["total_sell_quantity"], tick["oi"]) == (4405, 4535, 0)
    assert tick["depth"]["buy"][:2] == [
        {"quantity": 126, "price": 1532.65, "orders": 6},
        {"quantity": 296, "price": 1532.45, "orders": 6},
    ]
    assert tick["depth"]["sell"][0] == {"quantity": 152, "price": 1533.1, "orders": 8}
    assert tick["exchange_timestamp"] is not None
    assert not full[SENSEX]["tradable"]
    assert full[SENSEX]["last_price"] == 83682.41

    await venue.price("500325", 154_000)
    assert [(each["mode"], each["last_price"]) for each in await program.until("ticks")] == [("full", 1540.0)]
    await program.say("mode", "ltp", RELIANCE)
    expected = {"tradable": True, "mode": "ltp", "instrument_token": RELIANCE, "last_price": 1540.0}
    assert await program.until("ticks") == [expected]
    await venue.price("500325", 154_100)
    assert await program.until("ticks") == [expected | {"last_price": 1541.0}]
    await program.until("heartbeat")
    await program.say("unsubscribe", RELIANCE)


def test_the_lock_is_the_clients_own():
    assert "kiteconnect==" in KITE_LOCK.read_text()
    assert "twisted" not in (ROOT / "requirements" / "run.lock").read_text()
    assert subprocess.run([sys.executable, "-c", "import kiteconnect"], capture_output=True, check=False).returncode
