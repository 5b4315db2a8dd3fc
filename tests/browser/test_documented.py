"""What the documentation shows of a program, run from its very text: on a page of another origin, with and without a key."""

import functools
import html
import http.server
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.regions import ROOT
from tests.system import System

pytestmark = pytest.mark.browser

HOW_TO = (ROOT / "docs" / "how-to" / "read-prices-from-a-browser.md").read_text()
TUTORIAL = (ROOT / "docs" / "tutorial" / "live-prices.md").read_text()
REFERENCE = (ROOT / "web" / "docs.html").read_text()
PAGE = '<!doctype html><meta charset="utf-8"><script type="module" src="prices.js"></script>'


def fenced(text: str, language: str) -> str:
    found = re.search(rf"^```{language}\b[^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def shown(heading: str) -> str:
    """Return the program below a heading of the reference's page."""
    found = re.search(rf"<h3>{heading}</h3>\s*<pre data-origin>(.*?)</pre>", REFERENCE, re.DOTALL)
    assert found is not None
    return html.unescape(found[1])


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_) -> None:
        """Say nothing."""


class Desk:
    """Another origin, whose pages are the files of a folder; and the system that lets it in."""

    def __init__(self, system: System, folder: Path, origin: str) -> None:
        self.system = system
        self.folder = folder
        self.origin = origin

    def put(self, name: str, text: str) -> None:
        """Write a file, with the address of this system in the place of the one that is written everywhere."""
        (self.folder / name).write_text(text.replace("//127.0.0.1:5000", self.system.url.removeprefix("http:")))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    folder = tmp_path / "desk"
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Silent, directory=str(folder)))
    origin = f"http://localhost:{server.server_address[1]}"
    system = System(tmp_path / "data", "--scrips", "300", "--rate", "100", BHAVCAST_ALLOWED_ORIGINS=origin)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield Desk(system, folder, origin)
    finally:
        system.end()
        server.shutdown()
        serving.join()
        server.server_close()


def program(which: str, desk: Desk) -> str:
    """Return a program in JavaScript; that of the tutorial wants a copy of the library beside it."""
    if which == "reference":
        return shown("JavaScript")
    for name in ("bhavcast.js", "state.js", "frames.js"):
        desk.put(name, (ROOT / "web" / "lib" / name).read_text())
    return fenced(TUTORIAL, "js")


@pytest.mark.parametrize("which", ["tutorial", "reference"])
def test_live_prices_in_ten_lines_of_javascript(desk, open_tab, which):
    desk.system.up("--at", "10:30:00")
    text = program(which, desk)
    assert len(text.strip().splitlines()) <= 10
    desk.put("index.html", PAGE)
    desk.put("prices.js", text)
    tab = open_tab()
    with tab.page.expect_console_message(lambda said: re.match(r"500325 \d+(\.\d+)? live", said.text) is not None):
        tab.page.goto(f"{desk.origin}/index.html")


def test_live_prices_in_ten_lines_of_python(desk):
    desk.system.up("--at", "10:30:00")
    text = shown("Python")
    assert len(text.strip().splitlines()) <= 10
    desk.put("prices.py", text)
    running = subprocess.Popen([sys.executable, "-u", desk.folder / "prices.py"], stdout=subprocess.PIPE, text=True)
    watch = threading.Timer(60, running.kill)
    watch.start()
    assert running.stdout is not None
    try:
        assert any(re.match(r"500325 \d+(\.\d+)? live$", line) for line in running.stdout)
    finally:
        watch.cancel()
        running.kill()
        running.wait()
        running.stdout.close()


def test_the_page_of_the_how_to_and_with_a_key(desk, open_tab):
    key = desk.system.keys("create", "--name", "page")["key"]
    desk.system.up("--at", "10:30:00")
    desk.put("open.html", fenced(HOW_TO, "html"))
    keyed = fenced(HOW_TO, "html").replace('{ fields: "ltp" }', f'{{ fields: "ltp", key: "{key}" }}')
    assert key in keyed
    desk.put("keyed.html", keyed)
    tab = open_tab()
    tab.page.goto(f"{desk.origin}/keyed.html")
    tab.page.wait_for_function("/500325 [0-9.]+ live/.test(document.querySelector('#prices').textContent)")
    with tab.page.expect_websocket() as opened:
        tab.page.goto(f"{desk.origin}/open.html")
    opened.value.wait_for_event("close")
    assert tab.page.text_content("#prices") == ""
