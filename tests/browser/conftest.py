"""A real Chromium, and the whole system as a user starts it."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.system import System

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Never how long anything takes, only when to give up: a browser beside other work has little of the machine.
PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)


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
        self.page.set_default_timeout(PATIENCE_MS)
        self.origins: set[str] = set()
        self.sent: list[str] = []
        self.complaints: list[str] = []
        self.expected_complaint: str | tuple[str, ...] = ""
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
        expected = self.expected_complaint
        if not any(each and each in message.text for each in ((expected,) if isinstance(expected, str) else expected)):
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


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """The whole system in the middle of a slow trading day."""
    running = System(tmp_path / "data", "--scrips", "300", "--rate", "25")
    running.up("--at", "10:30:00")
    yield running
    running.end()
