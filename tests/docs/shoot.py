"""Take the picture of the page, docs/images/page.png: `.venv/bin/python -m tests.docs.shoot`, with Chromium.

The market is the one of seed 1, seen some seconds after 11:00 of a day that does not change; prices differ a little from
picture to picture, because the picture is taken when the page is ready and not at an exact moment.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "page.png"
COMMAND = [str(Path(sys.executable).parent / "bhavcast"), "up", "--port", "0", "--frontend-port", "0"]
MOMENT = ["--at", "2026-11-23T11:00:00"]


def _address(system: "subprocess.Popen[str]") -> str:
    assert system.stderr is not None
    for line in system.stderr:
        if line.split()[:1] == ["page"]:
            return line.split()[1]
    raise SystemExit("it did not start")


def main() -> None:
    """Start the system, look at its page, stop it."""
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as data, sync_playwright() as playwright:
        system = subprocess.Popen([*COMMAND, *MOMENT, "--data", data], stderr=subprocess.PIPE, text=True)
        try:
            browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1360, "height": 860}, color_scheme="light")
            page.goto(_address(system))
            page.wait_for_timeout(8000)
            page.screenshot(path=PICTURE)
            browser.close()
        finally:
            system.terminate()
            system.wait(10)


if __name__ == "__main__":
    main()
