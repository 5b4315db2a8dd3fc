"""Set up clients that are not Bhavcast's, as they are published: once, under build/, from a lock with hashes."""

import contextlib
import fcntl
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
KITE_LOCK = ROOT / "requirements" / "kite.lock"
WITHIN_S = 100


def socketio_client() -> Path:
    """Return the folder of the program for socket.io-client with its package."""
    source = HERE / "socketio"
    home = of_npm("socketio-client", source)
    shutil.copy(source / "follow.js", home)
    return home


def of_npm(name: str, source: Path) -> Path:
    """Return a folder with what the lock of `source` names; skip where there is no Node.js."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node or npm is not here")
    home = ROOT / "build" / name
    stamped(
        home,
        source / "package-lock.json",
        ["rm", "-rf", home],
        ["cp", "-r", source, home],
        ["npm", "ci", "--prefix", home, "--no-audit", "--no-fund", "--ignore-scripts"],
    )
    return home


def kite_client() -> Path:
    """Return the interpreter of the environment that has kiteconnect."""
    home = ROOT / "build" / "kite-client"
    interpreter = home / "bin" / "python"
    stamped(
        home,
        KITE_LOCK,
        [sys.executable, "-m", "venv", "--clear", home],
        [interpreter, "-m", "pip", "install", "--quiet", "--no-input", "--require-hashes", "-r", KITE_LOCK],
    )
    return interpreter


def stamped(home: Path, lock: Path, *commands: Sequence[str | Path]) -> None:
    """Run the commands that make a folder, unless it was made of this lock; skip where that cannot be done."""
    stamp = home / "made-of"
    wanted = lock.read_bytes()
    home.parent.mkdir(exist_ok=True)
    with exclusively(home.with_suffix(".lock")):
        if stamp.is_file() and stamp.read_bytes() == wanted:
            return
        for command in commands:
            try:
                done = subprocess.run(
                    command, cwd=home.parent, capture_output=True, text=True, timeout=WITHIN_S, check=False
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                pytest.skip(f"{Path(command[0]).name} does not run here: {error}")
            if done.returncode:
                pytest.skip(f"{home.name} cannot be set up here: {done.stderr[-200:]}")
        stamp.write_bytes(wanted)


@contextlib.contextmanager
def exclusively(path: Path) -> Iterator[None]:
    """Let one worker at a time do it."""
    with path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
