"""Tutorials and how-tos do what they say: their blocks are run, in order, against the real system.

The convention is in CONTRIBUTING.md. Each page has a folder of its own; the ports it is written with become free ones.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.docs.regions import ROOT
from tests.reference_files import legacy, legacy_file, master_file, scrip

PAGES: Final = sorted(
    [*(ROOT / "docs" / "tutorial").glob("*.md"), *(ROOT / "docs" / "how-to").glob("*.md"), ROOT / "README.md"]
)
BLOCK: Final = re.compile(
    r"^```(\w+) (run|start|fails|kill|shows|file)\b ?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
UP_WITHIN_S: Final = 40.0
DOWN_WITHIN_S: Final = 15.0
RUN_WITHIN_S: Final = 60.0
UNVERIFIED: Final = ssl._create_unverified_context()  # whether it is there is asked, not who it is
PORTS: Final = ("5000", "5001", "6390", "8080", "8082")
SCRIPTS: Final = Path(sys.executable).parent


class Block(NamedTuple):
    """One fenced block: in which language, what is to be done with it, and with what."""

    language: str
    what: str
    how: str
    text: str


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page that something is to be done with."""
    return [Block(*match.groups()) for match in BLOCK.finditer(page.read_text())]


class Reader:
    """Somebody who follows a page."""

    def __init__(self, folder: Path, page: Path) -> None:
        self.folder = folder
        self.ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
        self.port = self.ports["5000"]
        self.said = ""
        self.system: subprocess.Popen[str] | None = None
        self.log = folder / "up.log"
        # A small market starts sooner; ports that a page does not name are free ones too.
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("BHAVCAST_")},
            "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}",
            "BHAVCAST_SCRIPS": "300",
            "BHAVCAST_BUS_KIND": "auto" if page.stem == "scale-out" else "memory",
            "BHAVCAST_PORT": self.ports["5000"],
            "BHAVCAST_FRONTEND_PORT": self.ports["8080"],
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "300",
        }

    def follow(self, block: Block) -> None:
        """Do what a block says."""
        text = self._here(block.text)
        match block.what:
            case "start":
                self._start(text)
            case "kill":
                self._run(["bash", "-euo", "pipefail", "-c", text], 0.0)
                assert self.system is not None
                self.system.wait(DOWN_WITHIN_S)
            case "file":
                path = self.folder / block.how
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
                if path.name == "bhavcast.toml":
                    self._believe_the_file()
            case "shows":
                self._shows(text)
            case "run" | "fails":
                seconds = float(block.how.removesuffix("s") or 0)
                code = [sys.executable, "-c", text] if block.language == "python" else ["bash", "-eu", "-c", text]
                done = self._run(code, seconds)
                if not seconds:
                    assert (done == 0) == (block.what == "run"), f"{text}\nended with {done}:\n{self.said}"
            case _:
                pytest.fail(f"nobody knows how to {block.what}")

    def _here(self, text: str) -> str:
        for written, real in self.ports.items():
            text = re.sub(rf"(127\.0\.0\.1:|port |port = ){written}\b", rf"\g<1>{real}", text)
        text = text.replace(".venv/bin/", "")
        gateway, frontend = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.ports['8080']}"
        text = re.sub(r"^(bhavcast (?:quote|watch) (?!.*--url).*)$", rf"\1 --url {gateway}", text, flags=re.MULTILINE)
        return re.sub(
            r"^(bhavcast verify)$", rf"\1 --url {gateway} --frontend-url {frontend}", text, flags=re.MULTILINE
        )

    def _believe_the_file(self) -> None:
        for name in ("BHAVCAST_PORT", "BHAVCAST_FRONTEND_PORT"):
            del self.environment[name]
        self.port = self.ports["5001"]

    def _start(self, text: str) -> None:
        self.stop()
        command = text.strip()
        if command.startswith("make run"):
            assert re.search(
                r"^run:.*\n\t@\$\(BIN\)/bhavcast up \$\(ARGS\)$", (ROOT / "Makefile").read_text(), re.MULTILINE
            )
            command = "bhavcast up"
        port = re.search(r"--port (\d+)", command)
        port_number = port[1] if port else self.port
        with self.log.open("w") as log:
            self.system = subprocess.Popen(
                command.split(), cwd=self.folder, env=self.environment, stdout=log, stderr=log, text=True
            )
        _wait_until_ready(self.system, port_number, self.log)
        self.said = self.log.read_text()

    def _run(self, command: list[str], seconds: float) -> int:
        """Run something; after `seconds`, if any, press Ctrl-C. Return its exit code."""
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            self.said, _ = process.communicate(timeout=seconds or RUN_WITHIN_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGINT)
            self.said, _ = process.communicate(timeout=DOWN_WITHIN_S)
            assert seconds, f"not done after {RUN_WITHIN_S} s: {self.said}"
        return process.returncode

    def _shows(self, text: str) -> None:
        said = " ".join(self.said.split())
        for line in filter(None, (line.strip() for line in text.splitlines())):
            at = 0
            for part in (" ".join(part.split()) for part in line.split("…")):
                found = said.find(part, at)
                assert found >= 0, f"expected {line!r} in:\n{self.said}"
                at = found + len(part)

    def stop(self) -> None:
        """Press Ctrl-C where the system runs."""
        if self.system is not None and self.system.poll() is None:
            self.system.send_signal(signal.SIGINT)
            assert self.system.wait(DOWN_WITHIN_S) == 0, self.log.read_text()
        self.system = None

    def kill(self) -> None:
        """Leave nothing behind, whatever happened."""
        if self.system is not None and self.system.poll() is None:
            self.system.kill()
            self.system.wait()
        for file in self.folder.glob("*.pid"):
            with contextlib.suppress(ProcessLookupError, ValueError):
                os.kill(int(file.read_text()), signal.SIGKILL)


def _free_ports(count: int) -> list[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _wait_until_ready(process: subprocess.Popen[str], port: str, log: Path) -> None:
    deadline = time.monotonic() + UP_WITHIN_S
    while time.monotonic() < deadline:
        assert process.poll() is None, f"it ended: {log.read_text()}"
        scheme = "https" if "https://" in log.read_text() else "http"
        try:
            address = f"{scheme}://127.0.0.1:{port}/health/ready"
            with urllib.request.urlopen(address, timeout=1, context=UNVERIFIED) as answer:
                if answer.status == 200 and "Ctrl-C stops it." in log.read_text():
                    return
        except OSError:
            pass
        time.sleep(0.05)
    pytest.fail(f"not ready after {UP_WITHIN_S} s: {log.read_text()}")


@pytest.fixture
def reader(tmp_path: Path, page: Path) -> Iterator[Reader]:
    """Somebody in a folder with files like the exchange's, of a few scrips, with invented prices."""
    named = {"500325": "RELIANCE", "500209": "INFY", "532540": "TCS"}
    others = {str(600001 + number): f"EXAMPLE{number}" for number in range(60)}
    scrips = [scrip(code, TckrSymb=name, FinInstrmNm=f"{name} LTD.") for code, name in (named | others).items()]
    days = [legacy(code, SC_NAME=name.ljust(12)) for code, name in (named | others).items()]
    (tmp_path / "BSE_EQ_SCRIP_15062023.csv").write_bytes(master_file(*scrips))
    (tmp_path / "EQ070521.CSV").write_bytes(legacy_file(*days))
    follower = Reader(tmp_path, page)
    try:
        yield follower
    finally:
        follower.kill()
        shutil.rmtree(tmp_path / "var", ignore_errors=True)


@pytest.mark.acceptance
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem)
def test_whoever_follows_the_page_sees_what_it_says(page: Path, reader: Reader):
    if page.stem == "scale-out" and shutil.which("redis-server") is None:
        pytest.skip("no redis-server (on Debian and Ubuntu: apt install redis-server)")
    for block in blocks(page):
        reader.follow(block)
    reader.stop()


def test_a_file_to_write_is_named_before_it():
    """What stands behind the language of a block is for this test; whoever reads the page does not see it."""
    for page in PAGES:
        text = page.read_text()
        for match in BLOCK.finditer(text):
            if match[2] == "file":
                before = text[: match.start()].rstrip().rpartition("\n\n")[2]
                assert f"`{match[3].strip()}`" in before, f"{page.name}: where does {match[3]} come from?"
