"""Processes of the product that are there at once: forked from one that has imported everything.

    python -m tests.chaos.nursery DESCRIPTOR

reads a line of JSON for each and answers with its process id. What is forked is nobody's child until the harness, which
has asked the kernel for orphans, is its parent: it is killed, waited for and outlived like any other child.
"""

import ctypes
import functools
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from bhavcast.app import tether

PR_SET_CHILD_SUBREAPER: Final = 36  # <linux/prctl.h>


class Child:
    """A forked process, as `subprocess.Popen` would show it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        if self.returncode is None:
            self._reap(os.WNOHANG)
        return self.returncode

    def wait(self) -> int | None:
        """Wait for its end."""
        if self.returncode is None:
            self._reap(0)
        return self.returncode

    def _reap(self, how: int) -> None:
        pid, status = os.waitpid(self.pid, how)
        if pid:
            self.returncode = os.waitstatus_to_exitcode(status)

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it is there."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class Nursery:
    """The harness's end."""

    def __init__(self) -> None:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
        ours, theirs = socket.socketpair()
        lifeline, self._alive = os.pipe()  # the other end stays here
        command = [sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), str(lifeline)]
        command += [sys.executable, "-m", "tests.chaos.nursery", str(theirs.fileno()), str(os.getpid())]
        root = str(Path(__file__).resolve().parents[2])
        self.process = subprocess.Popen(
            command, pass_fds=[lifeline, theirs.fileno()], env={**os.environ, "PYTHONPATH": root}
        )
        theirs.close()
        os.close(lifeline)
        self._wire = ours.makefile("rw")

    def bear(self, module: str, arguments: list[str], environment: dict[str, str], home: Path, log: Path) -> Child:
        """Start a module's `run` with arguments, in a folder and with a log of its own."""
        asked = {
            "module": module,
            "arguments": arguments,
            "environment": environment,
            "home": str(home),
            "log": str(log),
        }
        print(json.dumps(asked), file=self._wire, flush=True)
        return Child(int(self._wire.readline()))


@functools.cache
def nursery() -> Nursery:
    """Return the one of this process."""
    return Nursery()


# -- the other end --------------------------------------------------------------------------------------------------------


def serve(wire: socket.socket, harness: int) -> None:
    """Fork what is asked for, until nobody asks any more."""
    from bhavcast.app.roles import gateway  # noqa: F401 - imported so that no child has to
    from tests.chaos import role, writer

    modules = {"role": role, "writer": writer}
    lines = wire.makefile("rw")
    for line in lines:
        asked = json.loads(line)
        if (between := os.fork()) == 0:
            if os.fork():
                os._exit(0)
            while os.getppid() != harness:
                os.sched_yield()
            print(os.getpid(), file=lines, flush=True)
            wire.close()
            live(modules[asked["module"]], asked)
        os.waitpid(between, 0)


def live(module: Any, asked: dict[str, Any]) -> None:
    """Be the process that was asked for."""
    code = 1
    try:
        ctypes.CDLL(None).prctl(tether.PR_SET_PDEATHSIG, signal.SIGKILL)
        log = os.open(asked["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(asked["home"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        code = module.run(asked["arguments"])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
