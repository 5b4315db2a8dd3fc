"""The types of the JavaScript are sound, as jsconfig.json wants them; an editor shows the same."""

import subprocess

import pytest

from tests.clients.setup import HERE, ROOT, of_npm

pytestmark = pytest.mark.slow


def test_the_types_of_the_pages_and_the_library_are_sound():
    home = of_npm("typescript", HERE / "typescript")
    done = subprocess.run(
        [home / "node_modules" / ".bin" / "tsc", "--project", ROOT / "jsconfig.json"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout
