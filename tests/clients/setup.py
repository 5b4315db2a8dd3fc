"""Set up clients that are not Bhavcast's, as they are published: once, under build/, from a lock with hashes."""

import contextlib
import fcntl
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

WITHIN_S = 100


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
