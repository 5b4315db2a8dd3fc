"""`start`: how long a newcomer waits for the first quote, and an operator for the same board after a kill -9."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import servers
from benchmarks.measure import Contender, Outcome, Plan, Reading, alternate
from benchmarks.servers import Answer
from bhavcast.load.cpu import CpuMeter, tree

QUOTE = "/api/stock/500325"
LIVED = 5.0  # seconds of trading before the kill
PATIENCE = 30.0


@contextlib.contextmanager
def _up(data: Path, bus: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port, frontend, monitor = (str(servers.free_port()) for _ in range(3))
    command: list[str | Path] = [Path(sys.executable).with_name("bhavcast"), "up", "--data", data, "--port", port]
    command += ["--frontend-port", frontend, "--monitor-port", monitor]
    with servers.process(command, folder=data, environment={"BHAVCAST_BUS_KIND": bus}) as child:
        yield child, int(port)


def _wait(child: subprocess.Popen[bytes], port: int, accepted: Callable[[Answer], bool]) -> float:
    """Return the time at which a quote was answered as wanted."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and child.poll() is None:
        with contextlib.suppress(OSError):
            if accepted(servers.fetch(port, QUOTE)):
                return time.monotonic()
        time.sleep(0.005)
    raise RuntimeError(f"no such quote within {PATIENCE:.0f} s, or the process ended (status {child.poll()})")


def _position(answer: Answer) -> tuple[str, int]:
    epoch, rev = answer.header("X-Bhavcast-Position").split(":")
    return epoch, int(rev)


def _kill(child: subprocess.Popen[bytes]) -> None:
    for pid in tree([child.pid]):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    child.wait()


def start(plan: Plan) -> Outcome:
    """`bhavcast up` on an empty data directory, then on the one that a kill -9 of everything left.

    Its Redis dies too, so an epoch begins there, from the board that the journal holds; one process goes on in its own.
    """

    def measure(bus: str) -> Reading:
        with tempfile.TemporaryDirectory(prefix="bhavcast-") as folder:
            data, began = Path(folder), time.monotonic()
            with _up(data, bus) as (child, port):
                first = _wait(child, port, lambda answer: answer.status == 200) - began
                used = CpuMeter([child.pid]).read().used / 1e9
                time.sleep(LIVED)
                epoch, rev = _position(servers.fetch(port, QUOTE))
                _kill(child)
            began = time.monotonic()
            with _up(data, bus) as (child, port):

                def same(answer: Answer) -> bool:
                    if answer.status != 200:
                        return False
                    now_epoch, now_rev = _position(answer)
                    return (now_epoch == epoch or bus != "memory") and now_rev >= rev

                again = _wait(child, port, same) - began
        return {"first quote|s": first, "CPU until first quote|s": used, "same board after kill -9|s": again}

    outcome = Outcome("start")
    contenders = [Contender("", lambda: measure("auto")), Contender("one process", lambda: measure("memory"))]
    alternate(outcome, contenders, plan)
    outcome.note(
        "from the start of the process to the answer; the same board: at or past the last revision, in one process in the same epoch too"
    )
    return outcome
