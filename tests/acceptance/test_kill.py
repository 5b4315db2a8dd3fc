"""The whole system as a user starts it, killed, stopped, started twice, and told of an import while it runs."""

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bhavcast.client.events import Hello, Reset, Resumed, Synced, Update
from bhavcast.client.stream import Client
from tests.integration.test_cli import call, error_of
from tests.reference_files import master_file, scrip
from tests.system import Rows, System
from tests.waiting import until

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

PATIENCE_S = 30.0


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    running = System(tmp_path / "data", "--scrips", "200", "--rate", "100")
    running.up("--at", "10:30:00")
    yield running
    running.end()


class Watcher:
    """A client of the whole market, and everything that it was ever told."""

    def __init__(self, system: System, *, binary: bool = False) -> None:
        self.client = Client(system.stream, depth=5, hz=0, binary=binary, sleep=lambda _: asyncio.sleep(0.1))
        self.seen: dict[tuple[str, int], dict[str, Any]] = {}
        self.epochs: list[str] = []
        self.recovered: list[bool] = []
        self.synced = 0
        self.resets = 0

    async def listen(self) -> None:
        """Hear until cancelled."""
        await self.client.subscribe("*")
        async for event in self.client.events():
            if isinstance(event, Update):
                quote = dict(event.quote)
                known = self.seen.setdefault((event.symbol, quote["rev"]), quote)
                assert known == quote, "whoever saw a revision saw the same values"
            elif isinstance(event, Hello):
                self.epochs.append(event.message["epoch"])
            elif isinstance(event, Resumed):
                self.recovered.append(event.recovered)
            elif isinstance(event, Synced):
                self.synced += 1
            elif isinstance(event, Reset):
                self.resets += 1
                self.epochs.append(event.epoch)

    @property
    def last(self) -> Rows:
        """Each row at the newest revision at which it was seen."""
        newest: Rows = {}
        for (symbol, rev), quote in self.seen.items():
            if rev >= newest.get(symbol, {"rev": 0})["rev"]:
                newest[symbol] = quote
        return newest

    async def ends_equal(self, system: System) -> None:
        """Every row is found equal to what HTTP says of it at the same revision."""
        left = {symbol for symbol, quote in self.client.quotes.items() if "timestamp" in quote}
        until = time.monotonic() + PATIENCE_S
        assert len(left) >= 200
        while left:
            assert time.monotonic() < until, f"{len(left)} rows never were the same: {sorted(left)[:5]}"
            held = dict(self.client.quotes)
            for symbol, row in (await system.rest(sorted(left))).items():
                for quote in (held[symbol], self.client.quotes[symbol]):
                    if quote["rev"] == row["rev"]:
                        assert dict(quote) == row
                        left.discard(symbol)
            await asyncio.sleep(0.05)


async def heard(true: Callable[[], bool], listening: asyncio.Task[None]) -> None:
    """Wait for it, unless whoever listens has failed: that is raised."""

    def so() -> bool:
        if listening.done():
            listening.result()
        return true()

    await until(so)


@contextlib.asynccontextmanager
async def watching(system: System, *, binary: bool = False):
    watcher = Watcher(system, binary=binary)
    listening = asyncio.create_task(watcher.listen())
    try:
        await heard(lambda: watcher.synced > 0, listening)
        yield watcher, listening
    finally:
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening
        await watcher.client.aclose()


async def test_after_a_kill_at_any_moment_the_board_is_the_same_and_clients_resume(system):
    chance = random.Random(20261123)
    async with watching(system) as (watcher, listening):
        for kill in range(1, 4):
            enough = len(watcher.seen) + chance.randrange(20, 250)
            await heard(lambda: len(watcher.seen) > enough, listening)  # noqa: B023 - awaited within the turn
            await asyncio.to_thread(system.end)
            await heard(lambda: not watcher.client.connected, listening)
            last = watcher.last
            await asyncio.to_thread(system.up)
            rows = await system.rest(sorted(last))
            assert rows.keys() == last.keys()
            for symbol, quote in last.items():
                assert rows[symbol]["rev"] >= quote["rev"]
                if rows[symbol]["rev"] == quote["rev"]:
                    assert rows[symbol] == quote
            await heard(lambda: len(watcher.recovered) == kill, listening)  # noqa: B023 - awaited within the turn
            await watcher.ends_equal(system)
    assert len(set(watcher.epochs)) == 1, "nothing was lost, so it is the same epoch"
    assert watcher.recovered == [True, True, True]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
async def test_a_signal_stops_it_cleanly_and_a_start_goes_on(system, number):
    async with watching(system, binary=True) as (watcher, listening):
        assert await asyncio.to_thread(system.end, number) == 0
        assert not [line for line in system.said if "Traceback" in line or "error" in line]
        last = watcher.last
        await asyncio.to_thread(system.up)
        rows = await system.rest(sorted(last))
        assert all(rows[symbol]["rev"] >= quote["rev"] for symbol, quote in last.items())
        await heard(lambda: watcher.recovered == [True], listening)
        await watcher.ends_equal(system)
    assert len(set(watcher.epochs)) == 1


def test_a_port_in_use_is_said_in_one_line(system, tmp_path):
    port = system.url.rpartition(":")[2]
    done = call("up", "--data", str(tmp_path / "other"), "--port", port, "--frontend-port", "0", "--scrips", "200")
    assert done.returncode == 3
    assert error_of(done) == f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another with --port"


def test_a_second_system_on_a_data_folder_is_refused_naming_the_first(system):
    done = call("up", "--data", str(system.data), "--port", "0", "--frontend-port", "0", "--scrips", "200")
    assert done.returncode == 3
    assert system.process is not None
    assert error_of(done) == f"{system.data} is being written by process {system.process.pid}"
    assert httpx.get(f"{system.url}/api/stock/RELIANCE").status_code == 200


async def test_an_import_wanted_now_begins_an_epoch_on_the_running_system(system, tmp_path):
    file = tmp_path / "BSE_EQ_SCRIP_23112026.csv"
    file.write_bytes(master_file(scrip(690001, TckrSymb="BROUGHTIN")))
    async with watching(system) as (watcher, listening):
        assert (await system.quote("BROUGHTIN")).status_code == 404
        arguments = ("import", "master", str(file), "--partial", "--now", "--data", str(system.data))
        done = await asyncio.to_thread(call, *arguments)
        assert done.returncode == 0, done.stderr
        assert "in a new epoch" in done.stderr
        await heard(lambda: watcher.resets == 1 and watcher.client.position is not None, listening)
        assert len(set(watcher.epochs)) == 2
        answer = await system.quote("BROUGHTIN")
        # The simulator trades it from then on; whoever asks before its first trade is told so.
        assert answer.status_code == 200 or answer.json()["code"] == "no_data_yet", answer.text
        await heard(lambda: len(watcher.client.quotes) >= 200, listening)
        await watcher.ends_equal(system)
