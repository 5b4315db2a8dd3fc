"""The first page in a real browser, against the real system."""

import json
import re
import signal
import time
from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PATIENCE_MS, Tab
from tests.system import System

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ROWS = "#watched tbody tr"
# What was asked when the gateway went is cut off; what is asked after that is refused.
GONE = ("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE", "ERR_SOCKET_NOT_CONNECTED")


def shown_prices(tab: Tab) -> dict[str, float]:
    cells = tab.page.eval_on_selector_all(
        ROWS, "rows => rows.map(row => [row.dataset.symbol, row.cells[1].textContent])"
    )
    return {symbol: float(text.replace(",", "")) for symbol, text in cells if text != "–"}


def until(tab: Tab, what: str, is_so: Callable[[], bool], seconds: float = PATIENCE_MS / 1000) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        tab.page.wait_for_timeout(50)  # what the tab reports is heard only in its calls


def assert_shows_what_rest_says(tab: Tab, system: System) -> None:
    def same() -> bool:
        shown = shown_prices(tab)
        return len(shown) >= 10 and system.prices(list(shown)) == shown

    # Prices move on between the two answers now and then.
    until(tab, "the watchlist shows the prices that REST gives", same)


def open_live(tab: Tab, url: str) -> None:
    tab.page.goto(url)
    expect(tab.page.locator("#link")).to_have_text("live")
    until(tab, "ten prices", lambda: len(shown_prices(tab)) == 10)


@pytest.mark.parametrize("where", ["url", "frontend"])
def test_the_page_shows_moving_prices_and_what_they_are_worth(system, open_tab, where):
    tab = open_tab()
    open_live(tab, getattr(system, where) + "/")
    before = shown_prices(tab)
    until(tab, "a price moves", lambda: shown_prices(tab) != before)
    assert_shows_what_rest_says(tab, system)

    expect(tab.page.locator("#mode")).to_have_text("Simulated")
    expect(tab.page.locator("#market")).to_have_text("Open · continuous trading")
    expect(tab.page.locator("#feeds")).to_have_text("sim live")
    expect(tab.page.locator("#virtual")).to_be_visible()
    expect(tab.page.locator("#age")).to_have_text(re.compile(r"^\d\.\d s old$"))
    expect(tab.page.locator("#clock")).to_have_text(re.compile(r"^10:3\d:\d\d$"))
    expect(tab.page.locator("#alarms")).to_be_empty()
    expect(tab.page.locator("#indices b").first).to_have_text(re.compile(r"^\d\d,\d{3}\.\d\d$"))
    expect(tab.page.locator(".book tbody tr").first).to_have_text(re.compile(r"\d"))
    expect(tab.page.locator("#breadth .counts")).to_have_text(re.compile(r"▲ \d+ up.*▼ \d+ down"))
    tab.assert_content(system.url, system.frontend)


@pytest.mark.parametrize("where", ["url", "frontend"])
def test_the_page_survives_the_gateway_without_a_reload(system, open_tab, where):
    tab = open_tab()
    open_live(tab, getattr(system, where) + "/")
    tab.page.evaluate("window.neverReloaded = true")
    tab.assert_content(system.url, system.frontend)

    tab.expected_complaint = GONE
    system.end()
    alarm = tab.page.locator("#alarms")
    expect(alarm).to_contain_text("The gateway is lost")
    expect(alarm).to_contain_text("do not move")
    expect(tab.page.locator("#link")).to_have_text(re.compile(r"^(lost, again in \d+ s|connecting…)$"))
    expect(tab.page.locator("#market")).to_contain_text("(last known)")
    expect(tab.page.locator("#ranked")).to_contain_text("Not up to date: the gateway does not answer")
    assert len(shown_prices(tab)) == 10

    system.up()
    expect(tab.page.locator("#link")).to_have_text("live")
    expect(alarm).to_be_empty()
    assert_shows_what_rest_says(tab, system)
    before = shown_prices(tab)
    until(tab, "prices move again", lambda: shown_prices(tab) != before)
    assert tab.page.evaluate("window.neverReloaded") is True
    tab.assert_content(system.url, system.frontend)


def test_a_gateway_that_says_nothing_is_lost_too(system, open_tab):
    tab = open_tab()
    open_live(tab, system.url + "/")
    tab.expected_complaint = "Failed to load resource"
    system.send(signal.SIGSTOP)
    try:
        expect(tab.page.locator("#age")).to_have_text(re.compile("^STALE, "))
        expect(tab.page.locator("#alarms")).to_contain_text("The gateway is lost")
    finally:
        system.send(signal.SIGCONT)
    expect(tab.page.locator("#link")).to_have_text("live")
    assert_shows_what_rest_says(tab, system)


def test_a_scrip_is_added_and_removed_by_keyboard_and_kept(system, open_tab):
    tab = open_tab()
    open_live(tab, system.url + "/")
    tab.page.keyboard.press("/")
    tab.page.keyboard.type("titan")
    expect(tab.page.locator("#found [role=option]").first).to_contain_text("TITAN")
    tab.page.keyboard.press("Enter")
    row = tab.page.locator(f"{ROWS}[data-symbol='500114']")
    expect(row).to_contain_text("TITAN")
    expect(row.locator("td").first).to_have_text(re.compile(r"\d"))
    expect(tab.page.locator("#scrip h2")).to_have_text("TITAN")

    tab.page.reload()
    expect(row.locator("td").first).to_have_text(re.compile(r"\d"))
    row.focus()
    tab.page.keyboard.press("Delete")
    expect(row).to_have_count(0)
    tab.page.reload()
    until(tab, "ten prices", lambda: len(shown_prices(tab)) == 10)
    expect(row).to_have_count(0)
    tab.assert_content(system.url)


def test_a_search_that_finds_nothing_says_so(system, open_tab):
    tab = open_tab()
    open_live(tab, system.url + "/")
    tab.page.locator("#search").fill("nosuchscrip")
    expect(tab.page.locator("#found")).to_contain_text("No scrip is called “nosuchscrip”.")
    tab.assert_content(system.url)


def test_of_the_market_table_only_the_rows_in_view_exist_and_are_subscribed(system, open_tab):
    tab = open_tab()
    open_live(tab, system.url + "/")
    rows = tab.page.locator("#grid .rows .row:visible")
    expect(rows).to_have_count(30)
    tab.sent.clear()
    tab.page.locator("#grid .head button", has_text="Scrip").click()
    tab.page.locator("#choice").select_option("all")
    expect(tab.page.locator("#count")).to_have_text("300 scrips")
    first = tab.page.locator("#grid .row[aria-rowindex='2']")
    expect(first.locator(".cell").nth(3)).to_have_text(re.compile(r"\d"))
    assert rows.count() < 60

    def asked() -> list[str]:
        named = [symbol for frame in tab.sent if '"sub"' in frame for symbol in json.loads(frame)["symbols"]]
        return [symbol for symbol in named if not symbol.startswith("IDX:")]  # the strip of indices has its own time

    until(tab, "the rows in view are subscribed", lambda: bool(asked()))
    assert 10 < len(asked()) < 60

    tab.page.locator("#grid .view").evaluate("view => view.scrollTop = view.scrollHeight")
    last = tab.page.locator("#grid .row[aria-rowindex='301']")
    expect(last.locator(".cell").nth(3)).to_have_text(re.compile(r"\d"))
    assert rows.count() < 60
    tab.assert_content(system.url)


def test_the_market_table_is_sorted_by_what_moves(system, open_tab):
    tab = open_tab()
    open_live(tab, system.url + "/")
    tab.page.locator("#choice").select_option("all")
    percent = tab.page.locator("#grid .head button", has_text="%")
    expect(tab.page.locator("#grid .head [aria-sort=descending]")).to_have_text("%")
    percent.click()
    expect(tab.page.locator("#grid .head [aria-sort=ascending]")).to_have_text("%")

    def ascending() -> bool:
        cells = tab.page.eval_on_selector_all(
            "#grid .rows .row:not([hidden])",
            "rows => rows.map(row => [+row.ariaRowIndex, row.children[5].textContent]).sort((a, b) => a[0] - b[0])",
        )
        shown = [float(text.strip("%").replace("−", "-")) for _, text in cells if text != "–"]
        return len(shown) > 20 and shown == sorted(shown) and shown[0] < 0

    until(tab, "the losers come first", ascending)
    tab.assert_content(system.url)


def test_the_reference_lists_the_routes_and_tries_them(system, open_tab):
    for origin in (system.url, system.frontend):
        tab = open_tab()
        tab.page.goto(f"{origin}/docs")
        route = tab.page.locator("[id='GET-/api/stock/{symbol}']")
        route.get_by_role("button", name="Try it").click()
        expect(route.locator("pre").first).to_contain_text('"symbol": "500325"')
        expect(tab.page.locator("#start pre").first).to_contain_text(f"curl {system.url}/api/stock/RELIANCE")
        tab.assert_content(system.url, system.frontend)


@pytest.mark.parametrize("where", ["url", "frontend"])
def test_whoever_has_a_key_signs_in_and_out_and_a_revoked_key_ends_it(system, open_tab, where):
    text = system.keys("create", "--name", "desk")["key"]
    deadline = time.monotonic() + 5
    while httpx.get(f"{system.url}/api/indices").status_code != 401:
        assert time.monotonic() < deadline, "the system has not heard of the key"
        time.sleep(0.05)
    tab = open_tab()
    tab.expected_complaint = "401"
    tab.page.goto(getattr(system, where) + "/")
    door = tab.page.locator("#door")
    door.locator("input").fill("bhk_wrong")
    door.get_by_role("button", name="Sign in").click()
    expect(door.locator("[role=alert]")).to_contain_text("expected a key")
    door.locator("input").fill(text)
    door.get_by_role("button", name="Sign in").click()
    expect(door).to_have_count(0)
    expect(tab.page.locator("#link")).to_have_text("live")
    until(tab, "ten prices", lambda: len(shown_prices(tab)) == 10)
    (cookie,) = tab.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert tab.page.evaluate("document.cookie") == ""
    assert text not in str(tab.page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})"))

    tab.page.reload()
    expect(tab.page.locator("#link")).to_have_text("live")
    tab.page.get_by_role("button", name="Sign out desk").click()
    expect(door).to_be_visible()
    assert tab.context.cookies() == []
    door.locator("input").fill(text)
    door.get_by_role("button", name="Sign in").click()
    expect(tab.page.locator("#link")).to_have_text("live")

    system.keys("revoke", "desk")
    expect(door).to_be_visible()
    tab.assert_content(system.url, system.frontend)


def test_a_closed_market_is_told_from_a_fault(tmp_path, open_tab):
    closed = System(tmp_path / "data", "--scrips", "300")
    closed.up("--at", "2026-12-25T11:00:00")
    try:
        tab = open_tab()
        open_live(tab, closed.url + "/")
        expect(tab.page.locator("#market")).to_have_text("Holiday · Christmas")
        expect(tab.page.locator("#age")).to_have_text(re.compile(r"^as of \d\d:\d\d:\d\d, no trading now$"))
        expect(tab.page.locator("#feeds")).to_have_text("sim not due now")
        expect(tab.page.locator("#scrip .headline .label").last).to_have_text("closed")
        expect(tab.page.locator("#alarms")).to_be_empty()
        tab.assert_content(closed.url)
    finally:
        closed.end()


def test_a_page_that_does_not_learn_where_its_gateway_is_says_so_and_tries_again(system, open_tab):
    tab = open_tab()
    tab.expected_complaint = "Failed to load resource"
    tab.page.route("**/config.json", lambda route: route.fulfill(status=503, body="not now"))
    tab.page.goto(system.url + "/")
    alarm = tab.page.locator("#alarms")
    expect(alarm).to_contain_text(
        "could not start: the server that it came from does not say where the gateway is (status 503)"
    )
    expect(tab.page.locator("main")).to_be_hidden()
    tab.page.unroute("**/config.json")
    alarm.get_by_role("button", name="Try again").click()
    expect(tab.page.locator("#link")).to_have_text("live")
    tab.assert_content(system.url)


@pytest.mark.parametrize("width", [300, 390, 760, 930, 1120, 1280, 1600, 1920])
def test_at_any_width_scrips_have_their_names_and_no_price_is_cut(system, open_tab, width):
    tab = open_tab()
    tab.page.set_viewport_size({"width": width, "height": 844})
    open_live(tab, system.url)
    tab.page.locator("#watched tbody tr").first.click()
    expect(tab.page.locator("#scrip .price")).to_contain_text("₹")
    for ranking in ("Gain", "Value"):
        tab.page.locator("#ranking button", has_text=ranking).click()
        expect(tab.page.locator("#ranked td").first).to_have_text(re.compile(r"\d"))
        cut = tab.page.evaluate(
            """() => [...document.querySelectorAll(
                    "#watched, #watched td, #movers .bar, #ranked, #ranked .link, .view, #grid .rows .cell:not(.company), .book :is(th, td), #scrip dd"
                )]
                .filter((cell) => cell.offsetWidth && cell.scrollWidth > cell.clientWidth).map((cell) => cell.textContent)"""
        )
        assert cut == []
    short = tab.page.evaluate(
        """() => [...document.querySelectorAll("#watched tbody th.name")]
            .filter((name) => name.querySelector("b").getBoundingClientRect().right > name.getBoundingClientRect().right)
            .map((name) => name.textContent)"""
    )
    assert short == []


@pytest.mark.parametrize("most", [300, 390])
def test_the_page_fits_a_phone(system, open_tab, most):
    tab = open_tab(color_scheme="dark")
    tab.page.set_viewport_size({"width": most, "height": 844})
    for path in ("/", "/docs"):
        tab.page.goto(system.url + path)
        expect(tab.page.locator("#link, #routes h3").first).to_be_visible()
        width = tab.page.evaluate("document.documentElement.scrollWidth")
        assert width <= most, f"{path} is {width} px wide"
