"""CPU time and memory of process trees, and which core they may run on; Linux."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil


def tree(pids: Iterable[int]) -> list[int]:
    """Return the processes with all their children that still run."""
    found: dict[int, None] = {}
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in (parent := psutil.Process(pid), *parent.children(recursive=True)):
                found[process.pid] = None
    return list(found)


def resident_bytes(pids: Iterable[int]) -> int:
    """Return the resident memory of the processes and their children; what they share is counted for each."""
    total = 0
    for pid in tree(pids):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += psutil.Process(pid).memory_info().rss
    return total


class CpuTime(NamedTuple):
    """Nanoseconds on a core, and nanoseconds of being ready to run while something else had it."""

    used: int
    waited: int

    def since(self, before: "CpuTime") -> "CpuTime":
        """Return what was added."""
        return CpuTime(self.used - before.used, self.waited - before.waited)


class CpuMeter:
    """CPU time of process trees: all threads, all children.

    Taken from /proc/<pid>/task/<tid>/schedstat, which counts exactly, not by samples of the clock tick. What a thread
    used between the last reading and its end is lost.
    """

    def __init__(self, pids: Iterable[int]) -> None:
        self._pids = tuple(pids)
        self._threads: dict[tuple[int, str], tuple[int, int]] = {}

    def read(self) -> CpuTime:
        """Return the totals so far; they never fall when a thread ends."""
        for pid in tree(self._pids):
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    with contextlib.suppress(OSError):
                        used, waited, _ = (task / "schedstat").read_text().split()
                        self._threads[pid, task.name] = int(used), int(waited)
        return CpuTime(sum(used for used, _ in self._threads.values()), sum(w for _, w in self._threads.values()))


@contextlib.contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Pin whatever is started inside the block to one core; nothing happens where the core does not exist.

    The calling thread itself runs there meanwhile, so a child is on its core from its first instruction.
    """
    before = os.sched_getaffinity(0)
    if core is None or core not in before or len(before) < 2:
        yield
        return
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
