"""The installed command in a process of its own, and a system for it to talk to."""

import json
import os
import re
import selectors
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

COMMAND = Path(sysconfig.get_path("scripts")) / "bhavcast"
START_S = 60.0


class Answer(NamedTuple):
    """What a command ended with."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class System(NamedTuple):
    """A running system."""

    url: str
    frontend_url: str
    data: Path


def bhavcast(*arguments: object, timeout: float = 60.0, **environment: str) -> Answer:
    """Run a command to its end; whatever goes wrong, a user sees no traceback."""
    done = subprocess.run(
        [COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environ(**environment),
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Answer(done.returncode, done.stdout, done.stderr)


def environ(**more: str) -> dict[str, str]:
    """The environment, without settings of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BHAVCAST_")}
    return {**kept, "COLUMNS": "100", **more}


@contextmanager
def running(data: Path, *arguments: object, command: str = "up") -> Iterator[System]:
    """Start a system on free ports, wait until it says where it is, and stop it in the end."""
    ports = ["--port", "0", "--frontend-port", "0", "--data", str(data)]
    process = subprocess.Popen(
        [COMMAND, command, *map(str, arguments), *ports],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environ(),
    )
    try:
        text = _until_greeted(process)
        found = dict(re.findall(r"^ +(page|frontend) +(http\S+?)/?$", text, re.MULTILINE))
        yield System(found["page"], found["frontend"], data)
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            process.kill()
            process.wait()
            assert process.stderr is not None
            process.stderr.close()


def _until_greeted(process: subprocess.Popen[bytes]) -> str:
    assert process.stderr is not None
    text, until = b"", time.monotonic() + START_S
    with selectors.DefaultSelector() as selector:
        selector.register(process.stderr, selectors.EVENT_READ)
        while b"Ctrl-C stops it." not in text:
            if time.monotonic() > until or not selector.select(START_S):
                raise AssertionError(f"not up within {START_S:g} s: {text.decode()}")
            piece = os.read(process.stderr.fileno(), 65536)
            if not piece:
                raise AssertionError(f"ended with {process.wait()}: {text.decode()}")
            text += piece
    return text.decode()
