"""A real Chromium, and the whole system as a user starts it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sysconfig
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
UP_WITHIN_S = 30.0


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The machine's Chromium."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no Chromium is installed (on Debian and Ubuntu: apt install chromium)")
    # Root, as in a container, cannot have Chromium's sandbox.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


class Tab:
    """A page, and everything that it asked for or complained of."""

    def __init__(self, browser: Browser, **options: Any) -> None:
        self.context = browser.new_context(viewport={"width": 1440, "height": 900}, **options)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.origins: set[str] = set()
        self.sent: list[str] = []
        self.complaints: list[str] = []
        self.expected_complaint = ""
        self.page.add_init_script(
            "window.violations = [];"
            "addEventListener('securitypolicyviolation', (e) => violations.push(`${e.violatedDirective} ${e.blockedURI}`));"
        )
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.on("websocket", self._streams)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _asked(self, url: str) -> None:
        found = re.match(r"(?:http|ws)(s?://[^/]+)", url)
        if found is not None:  # data: asks nobody
            self.origins.add(f"http{found[1]}")

    def _streams(self, socket: Any) -> None:
        self._asked(socket.url)
        socket.on("framesent", lambda frame: self.sent.append(frame if isinstance(frame, str) else frame.decode()))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        if not self.expected_complaint or self.expected_complaint not in message.text:
            self.complaints.append(message.text)

    def assert_content(self, *origins: str) -> None:
        """Nothing was asked of anyone else, nothing broke the policy, nothing was complained of."""
        assert self.origins <= set(origins)
        assert self.page.evaluate("window.violations") == []
        assert self.complaints == []


@pytest.fixture
def open_tab(chromium: Browser) -> Iterator[Callable[..., Tab]]:
    """A function that opens a tab in a profile of its own."""
    tabs: list[Tab] = []

    def open_it(**options: Any) -> Tab:
        tabs.append(Tab(chromium, **options))
        return tabs[-1]

    yield open_it
    for tab in tabs:
        tab.context.close()


class System:
    """`bhavcast up` on ports of its own."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.gateway = self.frontend = ""
        self.process: subprocess.Popen[str] | None = None
        self.said: list[str] = []

    def up(self, *flags: str) -> None:
        """Start it, on the ports of the last time, and wait until it says where it is."""
        ports = [url.rpartition(":")[2] or "0" for url in (self.gateway, self.frontend)]
        command = Path(sysconfig.get_path("scripts")) / "bhavcast"
        self.process = subprocess.Popen(
            [command, "up", "--port", ports[0], "--frontend-port", ports[1], "--data", str(self.data), *flags],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("BHAVCAST_")},
        )
        is_up = threading.Event()
        self.reader = threading.Thread(target=self._listen, args=(self.process, is_up))
        self.reader.start()
        assert is_up.wait(UP_WITHIN_S), "it did not come up:\n" + "\n".join(self.said[-20:])

    def _listen(self, process: subprocess.Popen[str], is_up: threading.Event) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self.said.append(line.rstrip())
            if found := re.match(r"\s+(page|frontend)\s+(http://[^/\s]+)", line):
                setattr(self, "gateway" if found[1] == "page" else "frontend", found[2])
            if "Ctrl-C" in line:
                is_up.set()

    def keys(self, *arguments: str) -> Any:
        """Change its keys; return what the command says."""
        command = Path(sysconfig.get_path("scripts")) / "bhavcast"
        done = subprocess.run(
            [command, "keys", *arguments, "--json", "--data", str(self.data)], capture_output=True, check=True
        )
        return json.loads(done.stdout)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        self.reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()
        self.process = None

    def prices(self, symbols: list[str]) -> dict[str, float]:
        """What REST says."""
        quotes = httpx.get(f"{self.gateway}/api/stocks/batch", params={"symbols": ",".join(symbols)}).json()
        return {quote["symbol"]: quote["current_price"] for quote in quotes}


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """The whole system in the middle of a slow trading day."""
    running = System(tmp_path / "data")
    running.up("--scrips", "300", "--rate", "25", "--at", "10:30:00")
    yield running
    running.kill()
