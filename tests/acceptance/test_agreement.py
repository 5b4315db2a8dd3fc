"""Programs for five interfaces, each as it is published, follow the same scrip at once, and in the end hold the same."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clients.setup import HERE as CLIENTS
from tests.clients.setup import kite_client, socketio_client
from tests.system import System
from tests.waiting import wait_until

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

SCRIP, TOKEN = "500325", 128083204
PRICES = 4  # different ones that each has to see before it is quiet
PATIENCE_S = 60.0
Quote = dict[str, Any]


class Follower:
    """A running program, and the quote that it holds according to what it says."""

    def __init__(self, command: list[Any], key: str, reading: Callable[[Quote, Any], Quote], folder: Path) -> None:
        self.quote: Quote = {}
        self.prices: set[float] = set()
        self._reading = reading
        self.process = subprocess.Popen(
            [str(each) for each in command],
            cwd=folder,
            env=os.environ | {"KEY": key},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._listen)
        self._reader.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with contextlib.suppress(json.JSONDecodeError):
                self.quote = self._reading(self.quote, json.loads(line.removeprefix("data: ")))
                self.prices |= {self.quote["price"]} if "price" in self.quote else set()

    def end(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.kill()
        self.process.wait()
        self._reader.join()
        self.process.stdin.close()
        self.process.stdout.close()


def of_whole_quotes(_: Quote, told: Quote) -> Quote:
    return {"price": told["current_price"], "volume": told["volume"], "rev": told["rev"]}


def of_events(held: Quote, message: Quote) -> Quote:
    """Merge as the protocol's page says; a line that is no message is not read."""
    named = {"current_price": "price", "volume": "volume", "rev": "rev"}
    for row in message.get("q", ()):
        held = held | {named[name]: value for name, value in row.items() if name in named}
    return held


def of_socketio(held: Quote, told: list[Any]) -> Quote:
    event, content = told
    if event == "batch_data":
        return {"price": content["data"][0]["price"]}
    return {"price": content["data"]["price"]} if event == "stock_update" else held


def of_kite(held: Quote, told: list[Any]) -> Quote:
    kind, ticks = told
    if kind != "ticks":
        return held
    return {"price": ticks[-1]["last_price"], "volume": ticks[-1]["volume_traded"]}


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    running = System(tmp_path / "data", "--scrips", "200", "--rate", "400", BHAVCAST_KITE_ENABLED="true")
    yield running
    running.end()


def test_five_clients_follow_one_scrip_and_agree(system: System, tmp_path: Path) -> None:
    chromium = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    if chromium is None or shutil.which("curl") is None:
        pytest.skip("needs Chromium and curl (on Debian and Ubuntu: apt install chromium curl)")
    node, kite = socketio_client(), kite_client()
    key = system.keys("create", "--name", "desk", "--role", "operator")["key"]
    system.up("--at", "10:30:00")
    with_key = tmp_path / "curl.conf"
    with_key.write_text(f'header = "X-API-Key: {key}"\n')
    stream = f"{system.url}/api/stream?symbols={SCRIP}&fields=ltp&hz=5"
    programs: dict[str, tuple[list[Any], Callable[[Quote, Any], Quote], Path]] = {
        "socket.io-client": (["node", "follow.js", system.url, "websocket", SCRIP], of_socketio, node),
        "kiteconnect": ([kite, CLIENTS / "kite" / "follow.py", system.url, TOKEN], of_kite, tmp_path),
        "websockets": (
            [sys.executable, CLIENTS / "websockets" / "follow.py", system.url, SCRIP],
            of_whole_quotes,
            tmp_path,
        ),
        "browser": (
            [sys.executable, CLIENTS / "page" / "follow.py", chromium, system.url, SCRIP],
            of_whole_quotes,
            tmp_path,
        ),
        "curl": (["curl", "-sN", "--noproxy", "*", "--config", with_key, stream], of_events, tmp_path),
    }
    followers: dict[str, Follower] = {}
    try:
        for name, (command, reading, folder) in programs.items():
            followers[name] = Follower(command, key, reading, folder)
        wait_until(
            lambda: all(len(each.prices) >= PRICES for each in followers.values()),
            lambda: {name: len(each.prices) for name, each in followers.items()},
        )
        with httpx.Client(base_url=system.url, headers={"X-API-Key": key}, trust_env=False) as http:
            assert http.post("/api/admin/feeds/sim/pause").status_code == 200

            wait_until(
                lambda: http.get("/api/feeds").json()["feeds"]["sim"]["state"] == "paused",
                lambda: http.get("/api/feeds").text,
            )
            true = of_whole_quotes({}, http.get(f"/api/stock/{SCRIP}").raise_for_status().json())

            def agreed() -> bool:
                # It may still be marked as stale, which is a revision of its own.
                true["rev"] = http.get(f"/api/stock/{SCRIP}").json()["rev"]
                return all(each.quote.items() <= true.items() for each in followers.values())

            wait_until(agreed, lambda: (true, {name: each.quote for name, each in followers.items()}))
        # Each interface told what it can tell.
        assert {name: sorted(each.quote) for name, each in followers.items()} == {
            "socket.io-client": ["price"],
            "kiteconnect": ["price", "volume"],
            "websockets": ["price", "rev", "volume"],
            "browser": ["price", "rev", "volume"],
            "curl": ["price", "rev", "volume"],
        }
    finally:
        for each in followers.values():
            each.end()
