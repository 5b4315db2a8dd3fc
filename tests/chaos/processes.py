"""The processes of a run: started, killed, stopped and continued by the seed, and started again when they end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from bhavcast.app import tether
from tests.chaos.nursery import Child, nursery


class Processes:
    """All of a run, living ones by name; they do not outlive this process."""

    def __init__(self, pids: Path | None) -> None:
        self.all: dict[str, Actor] = {}
        self._pids = pids
        self._waited_by_gone = 0.0
        self.lifeline, self._ours = os.pipe()

    def note(self) -> None:
        """Write down which they are, for whoever wants to hold them all for a while."""
        if self._pids is not None:
            living = [each.process.pid for each in self.all.values() if each.process is not None]
            self._pids.write_text("\n".join(map(str, [os.getpid(), nursery().process.pid, *living])) + "\n")

    def waited_s(self) -> float:
        """Return how long all of them together have been ready to run and were not let by the machine."""
        living = (each.process.pid for each in self.all.values() if each.process is not None)
        return self._waited_by_gone + _waited_s("self") + sum(map(_waited_s, living))

    def gone(self, pid: int) -> None:
        """Note that one is about to be gone, or is a zombie."""
        self._waited_by_gone += _waited_s(pid)

    def end(self) -> None:
        """Kill what is left."""
        for each in self.all.values():
            each.kill()
        os.close(self.lifeline)
        os.close(self._ours)


def _waited_s(pid: int | str) -> float:
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


class Actor:
    """One process that is meant to run, whoever runs as it."""

    def __init__(self, name: str, command: list[str], home: Path, among: Processes, **environment: str) -> None:
        self.name, self._command, self._home, self._among = name, command, home, among
        clean = {key: value for key, value in os.environ.items() if not key.startswith("BHAVCAST_")}
        self._environment = clean | environment
        self.process: subprocess.Popen[bytes] | Child | None = None
        self.url = ""
        self.flags: list[str] = []  # of the next start only
        self.wanted = False
        self.stopped = False
        self.started_at = 0.0
        self.log = home / f"{name}.log"
        among.all[name] = self

    def start(self) -> None:
        """Start it, where it does not run."""
        if self.process is not None:
            return
        module, *arguments = self._command
        if module in ("role", "writer"):
            arguments += self.flags
            self.process = nursery().bear(module, arguments, self._environment, self._home, self.log)
        else:
            tie = [sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), str(self._among.lifeline)]
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    [*tie, *self._command], stdout=log, stderr=log, cwd=self._home, env=self._environment,
                    pass_fds=[self._among.lifeline],
                )  # fmt: skip
        self.flags, self.wanted, self.stopped, self.started_at = [], True, False, time.monotonic()
        self._among.note()

    def kill(self) -> None:
        """SIGKILL, and nobody starts it again but the seed."""
        self.wanted = self.stopped = False
        if self.process is not None:
            self._among.gone(self.process.pid)
            self.process.kill()
            self.process.wait()
            self.process = None
            self._among.note()

    def stop(self) -> None:
        """SIGSTOP: it is there, and does nothing."""
        if self.process is not None:
            self.process.send_signal(signal.SIGSTOP)
            self.stopped = True

    def go_on(self) -> None:
        """SIGCONT."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.stopped = False

    def ask_to_end(self) -> None:
        """SIGTERM."""
        self.wanted = False
        if self.process is not None:
            self.process.terminate()

    def ended(self) -> int | None:
        """Return the exit code of one that has ended by itself, once."""
        if self.process is None or (code := self.process.poll()) is None:
            return None
        self.process = None
        self._among.note()
        return code
