"""What all tests share."""

import filecmp
import os
from pathlib import Path

import pytest
from hypothesis import settings

import bhavcast

pytest_plugins = ["tests.skips"]

ROOT = Path(__file__).resolve().parent.parent

# A shared machine may stall for a second; a slow example is not a failure, and each test has its timeout.
settings.register_profile("bhavcast", deadline=None, print_blob=True)
settings.load_profile("bhavcast")


def stale_files() -> list[str]:
    """Name the sources that differ from what is installed; empty when the wheel is made of these sources."""
    source, installed = ROOT / "src" / "bhavcast", Path(bhavcast.__file__).parent
    pairs = [(path, installed / path.relative_to(source)) for path in source.rglob("*.py")]
    pairs += [(path, installed / "web" / path.relative_to(ROOT / "web")) for path in (ROOT / "web").rglob("*.*")]
    return [
        str(path.relative_to(ROOT))
        for path, copy in pairs
        if path.is_file() and not (copy.is_file() and filecmp.cmp(path, copy, shallow=False))
    ]


def pytest_sessionstart(session: pytest.Session) -> None:
    """Refuse to test an old wheel: the result would be about other code."""
    if not hasattr(session.config, "workerinput") and (stale := stale_files()):
        names = ", ".join(stale[:3]) + (" …" if len(stale) > 3 else "")
        pytest.exit(f"The installed wheel is older than the sources ({names}): run make setup", returncode=4)


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real BSE files: ../shared/data, or the folder `data` in the one that BHAVCAST_SHARED names."""
    folder = Path(os.environ.get("BHAVCAST_SHARED") or ROOT.parent / "shared") / "data"
    if not folder.is_dir():
        pytest.skip(f"the real BSE files are not here: {folder} is missing")
    return folder
