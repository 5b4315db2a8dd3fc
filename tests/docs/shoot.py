"""Take the picture of the page, docs/images/page.png: `.venv/bin/python -m tests.docs.shoot`, with Chromium.

The market is the one of seed 1, seen some seconds after 11:00 of a day that does not change; prices differ a little from
picture to picture, because the picture is taken when the page is ready and not at an exact moment. With a palette of 256
colours (`pngquant --force --ext .png 256`) it takes a third of the room, and looks the same.
"""

import shutil
import signal
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.system import System

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "page.png"


def main() -> None:
    """Start the system, look at its page, stop it."""
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as data, sync_playwright() as playwright:
        system = System(Path(data))
        system.up("--at", "2026-11-23T11:00:00")
        try:
            browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="light")
            page.goto(system.url)
            page.wait_for_timeout(8000)
            page.screenshot(path=PICTURE)
            browser.close()
        finally:
            system.end(signal.SIGTERM)


if __name__ == "__main__":
    main()
