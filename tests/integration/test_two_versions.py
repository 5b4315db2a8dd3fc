"""Ingest and gateways of two releases on one bus: real processes, of wheels that are built from this tree.

`next`: a release with additions to the bus's format: a field more, a fact more, a kind of message more. `second`: one
with the next version of it.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.redis_servers import Cast, running
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
FORMAT = ("domain/format.py", 'BUS: Final = Format("bus")', 'BUS: Final = Format("bus", {})')
# What a release adds: told by the canary each second, and by everything that is said.
ADDED = (
    ("domain/field.py", '    Field(ASKS, "asks",', '    Field(36, "mood", Kind.COUNT, True, "added"),\n    Field(ASKS, "asks",'),
    ("flow.py", "{fields.LAST_TRADE_TIME: now}", "{fields.LAST_TRADE_TIME: now, 36: now % 1000}"),
    ("flow.py", '"clock": line.market.state(),', '"clock": line.market.state(), "weather": {"at": now},'),
    ("domain/change.py", "    received: int = 0\n", '    received: int = 0\n    bars: str = "500325"\n'),
    ("__init__.py", '"0.1.0"', '"0.2.0"'),
)  # fmt: skip
RELEASES: dict[str, tuple[tuple[str, str, str], ...]] = {
    "now": (),
    "next": (*ADDED, (*FORMAT[:2], FORMAT[2].format("1, 1"))),
    "second": ((*FORMAT[:2], FORMAT[2].format("2")), ("__init__.py", '"0.1.0"', '"2.0.0"')),
}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> dict[str, Path]:
    """The folders in which releases are installed, by name; the present one is where the tests found it."""
    return {name: _install(name, tmp_path_factory.mktemp(name)) for name in RELEASES if name != "now"}


def _install(name: str, folder: Path) -> Path:
    tree = folder / "tree"
    tree.mkdir()
    for each in ("src", "web"):
        shutil.copytree(ROOT / each, tree / each, ignore=shutil.ignore_patterns("__pycache__"))
    for each in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / each, tree / each)
    for file, old, new in RELEASES[name]:
        path = tree / "src" / "bhavcast" / file
        text = path.read_text()
        assert text.count(old) == 1, f"{file} has {text.count(old)} × {old!r}"
        path.write_text(text.replace(old, new))
    if name == "next":  # a field's place in the table is its number
        path = tree / "src" / "bhavcast" / "domain" / "field.py"
        lines = path.read_text().splitlines(keepends=True)
        mood = next(line for line in lines if '"mood"' in line)
        lines.remove(mood)
        last = next(number for number, line in enumerate(lines) if line.startswith("    Field(ASKS"))
        path.write_text("".join([*lines[: last + 1], mood, *lines[last + 1 :]]))
    tools = {**os.environ, "PYTHONPATH": str(ROOT / "build" / "tools")}
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=tree, env=tools, check=True, capture_output=True, timeout=200)
    [wheel] = folder.glob("*.whl")
    install = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--no-index", "--target", str(folder / "in")]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True, timeout=100)
    return folder / "in"


class Role:
    """One process of a release; its log is in a file."""

    def __init__(self, role: str, folder: Path, release: Path | None, cast: Cast, *flags: str) -> None:
        self.log = folder / f"{role}.log"
        folder.mkdir(exist_ok=True)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("BHAVCAST_")}
        path = {} if release is None else {"PYTHONPATH": str(release)}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bhavcast", "serve", role, "--data", str(folder / "data"), "--scrips", "200",
                 "--rate", "100", "--port", "0", *flags],
                stdout=log,
                stderr=log,
                cwd=folder,
                env={**clean, **path, "BHAVCAST_BUS_URL": f"unix://{cast.address.path}", "BHAVCAST_BUS_KIND": "redis"},
            )  # fmt: skip

    @property
    def said(self) -> str:
        return re.sub(r"\x1b\[[0-9;]*m", "", self.log.read_text())

    @property
    def url(self) -> str:
        found = re.search(r"url=(\S+)", self.said)
        return found[1] if found else ""

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, trust_env=False, timeout=5)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def until(what: Callable[[], Any], *roles: Role) -> Any:
    not_yet = (httpx.HTTPError, ValueError, LookupError)
    return wait_until(what, lambda: "\n".join(role.said[-2000:] for role in roles), but=not_yet)


@pytest.fixture
def start(tmp_path, wheels) -> Iterator[Callable[..., Role]]:
    with contextlib.ExitStack() as ends:
        cast = ends.enter_context(contextlib.contextmanager(running)("standalone", tmp_path / "redis"))

        def begin(role: str, release: str, *flags: str, folder: str = "") -> Role:
            folder = folder or f"{role}-{release}"
            at = ["--at", "10:30:00"] if role == "ingest" else []
            started = Role(role, tmp_path / folder, wheels.get(release), cast, *at, *flags)
            ends.callback(started.end)
            return started

        yield begin


def rev(gateway: Role) -> int:
    return int(gateway.get("/api/market/status").json()["pos"].partition(":")[2])


def is_past(gateway: Role, position: int) -> bool:
    return rev(gateway) > position


def is_healthy(gateway: Role) -> bool:
    return bool(gateway.url and gateway.get("/health").json()["status"] == "healthy")


def both_go_on_and_agree(ingest: Role, *gateways: Role) -> None:
    """Every gateway hears what is said from now on, and where two are at one revision of a scrip, its values are equal."""
    for gateway in gateways:
        until(partial(is_healthy, gateway), ingest, gateway)
    for gateway in gateways:
        until(partial(is_past, gateway, rev(gateway) + 50), ingest, gateway)
    same = 0

    def agree() -> bool:
        nonlocal same
        rows = [
            {row["symbol"]: row for row in gateway.get("/api/stocks/batch?symbols=500325,532540,500180").json()}
            for gateway in gateways
        ]  # fmt: skip
        for symbol in rows[0]:
            told = [row[symbol] for row in rows]
            if len({row["rev"] for row in told}) == 1:
                known = [{name: value for name, value in row.items() if name != "mood"} for row in told]
                assert all(each == known[0] for each in known), known
                same += 1
        return same >= 5

    until(agree, ingest, *gateways)
    for role in (ingest, *gateways):
        assert "error" not in role.said.lower(), role.said[-2000:]
        assert role.process.poll() is None


@pytest.mark.parametrize("writer", ["now", "next"])
def test_gateways_of_two_releases_follow_an_ingest_of_either(start, writer):
    ingest = start("ingest", writer)
    gateways = [start("gateway", "now"), start("gateway", "next")]
    both_go_on_and_agree(ingest, *gateways)
    versions = [gateway.get("/health").json()["version"] for gateway in gateways]
    assert versions == ["0.1.0", "0.2.0"]


def test_a_gateway_of_the_next_version_reads_the_one_before_and_an_older_one_says_what_it_lacks(start):
    ingest = start("ingest", "now")
    old, new = start("gateway", "now"), start("gateway", "second")
    both_go_on_and_agree(ingest, old, new)
    # The writer is replaced: whoever is new goes on, whoever is old knows that it does not, and does not end.
    ingest.end()
    ingest = start("ingest", "second", folder="ingest-now")
    before = rev(new)
    until(partial(is_past, new, before), ingest, new)
    until(partial(is_healthy, new), ingest, new)
    until(lambda: old.get("/health").status_code == 503, ingest, old)
    assert "not understood here" in old.get("/health").text
    assert old.said.count("the bus cannot be understood here") == 1
    assert "expected version 1 of its format (bus), got 2: a newer Bhavcast wrote it" in old.said
    assert old.process.poll() is None
    late = start("gateway", "now", folder="late")
    until(lambda: "the bus cannot be understood here" in late.said, late)
    # An ingest that is old does not begin where a newer one was: it says so in one error.
    ingest.end()
    older = start("ingest", "now", folder="ingest-other")
    assert older.process.wait(PATIENCE_S) == 3, older.said
    assert older.said.count("error: ") == 1
    assert "expected version 1 of its format (bus), got 2" in older.said
    assert "Traceback" not in older.said
