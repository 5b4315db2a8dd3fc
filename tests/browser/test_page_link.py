"""The link between the page and its gateway, and what a network can do to it: the page says how old its prices are, goes on
by itself, and is never loaded again. The table is docs/explanation/links.md.
"""

import asyncio
import re
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Tab
from tests.browser.test_page import GONE, assert_shows_what_rest_says, open_live, shown_prices, until
from tests.integration.test_links import FAULTS
from tests.proxy import Proxy
from tests.system import System

pytestmark = [pytest.mark.browser, pytest.mark.slow]

HEARTBEAT_MS = 1000
# The page gives a silent gateway up after three heartbeats, and calls prices stale after ten seconds.
PATIENCE_S = 30.0


class Wire:
    """A proxy in a thread of its own: the browser's driver has the loop of this one."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._proxy = Proxy(None, ("127.0.0.1", 0))
        self._wait(self._proxy.__aenter__())
        self.url = f"http://127.0.0.1:{self._proxy.port}"

    def _wait(self, work: Coroutine[Any, Any, object]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    def leads_to(self, url: str) -> None:
        """Say where it ends."""
        self._proxy.target = ("127.0.0.1", int(url.rpartition(":")[2]))

    def do(self, fault: Callable[[Proxy], None]) -> None:
        """Let it do something."""

        async def work() -> None:
            fault(self._proxy)

        self._wait(work())

    def end(self) -> None:
        self._wait(self._proxy.__aexit__())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.end()


@pytest.fixture(scope="module")
def system(wire, tmp_path_factory) -> Iterator[System]:
    """A system whose page, at the frontend, is told that its gateway is at the other end of the wire."""
    settings = {"BHAVCAST_PUBLIC_URL": wire.url, "BHAVCAST_HEARTBEAT_MS": str(HEARTBEAT_MS)}
    running = System(tmp_path_factory.mktemp("system") / "data", "--scrips", "300", "--rate", "25", **settings)
    running.up("--at", "10:30:00")
    wire.leads_to(running.url)
    yield running
    running.end()


# What a browser complains of when a wire is cut under it, or gives up waiting for.
CUT = (*GONE, "ERR_TIMED_OUT", "ERR_CONNECTION_CLOSED", "WebSocket is closed before the connection is established")


def seconds_of_day(text: str) -> float:
    """Read the first `10:30:05.5` of a text."""
    found = re.search(r"(\d\d):(\d\d):(\d\d(?:\.\d+)?)", text)
    assert found is not None, text
    return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])


def market_now(system: System) -> float:
    """Return the gateway's own word on the market's time."""
    return seconds_of_day(httpx.get(f"{system.url}/api/market/status").json()["clock"]["now"])


def assert_goes_on(tab: Tab, system: System) -> None:
    """Live, with no word of warning, moving, at the gateway's time, and complete."""
    expect(tab.page.locator("#link")).to_have_text("live")
    expect(tab.page.locator("#alarms")).to_be_empty()
    expect(tab.page.locator("#market")).not_to_contain_text("last known")
    expect(tab.page.locator("#age")).to_have_text(re.compile(r"^\d\.\d s old$"))
    before = shown_prices(tab)
    until(tab, "a price moves", lambda: shown_prices(tab) != before)
    clock = tab.page.locator("#clock")
    until(tab, "its clock is the market's", lambda: abs(market_now(system) - seconds_of_day(clock.inner_text())) < 2)
    assert_shows_what_rest_says(tab, system)


def assert_says_that_it_is_cut_off(tab: Tab, system: System) -> None:
    """Of when the prices are, how old that is, that they do not move, and no price that moves."""
    alarm, age = tab.page.locator("#alarms"), tab.page.locator("#age")
    expect(alarm).to_contain_text("The gateway is lost")
    expect(alarm).to_contain_text("do not move")
    expect(tab.page.locator("#market")).to_contain_text("(last known)")
    frozen = shown_prices(tab)

    def is_honest() -> bool:
        said = re.fullmatch(r"STALE, (\d+) s old", age.inner_text())
        of = seconds_of_day(alarm.inner_text())
        return said is not None and abs(market_now(system) - of - int(said[1])) < 2

    until(tab, "it says how old its prices are", is_honest)
    assert shown_prices(tab) == frozen


@pytest.mark.parametrize("fault", FAULTS)
def test_the_page_tells_of_a_network_that_misbehaves_and_survives_it(fault, system, wire, open_tab):
    tab = open_tab()
    tab.expected_complaint = CUT
    lines: list[str] = []
    tab.page.on("websocket", lambda socket: lines.append(socket.url))
    open_live(tab, system.frontend + "/")
    tab.page.evaluate("window.neverReloaded = true")
    opened, watched = len(lines), list(shown_prices(tab))
    beside = system.prices(watched)

    wire.do(FAULTS[fault])
    if fault in ("delayed", "throttled"):
        assert_goes_on(tab, system)
    elif fault in ("silent", "cut"):
        assert_says_that_it_is_cut_off(tab, system)
    else:
        until(tab, "it comes back on a line of its own", lambda: len(lines) > opened)
    until(tab, "others see prices move", lambda: system.prices(watched) != beside)

    wire.do(Proxy.heal)
    assert_goes_on(tab, system)
    assert tab.page.evaluate("window.neverReloaded") is True
    tab.assert_content(system.frontend, wire.url)


def test_the_link_is_in_the_documentation():
    assert "| page |" in Path("docs/explanation/links.md").read_text()
