"""When a message was where, as told by each process that it passes through; all on the clock of one machine (µs)."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final

from bhavcast.domain import field
from bhavcast.domain.change import Message
from bhavcast.gateway.gateway import Gateway
from bhavcast.load.contract import percentile

KEPT: Final = 50_000  # messages remembered: more than a measurement has


def answer(told: Callable[[], Iterable[Any]]) -> None:
    """Answer each line on stdin with a line of JSON."""

    def asked() -> None:
        if sys.stdin.readline():
            print(json.dumps([*told()]), flush=True)
        else:
            asyncio.get_running_loop().remove_reader(0)

    asyncio.get_running_loop().add_reader(0, asked)


def ask(child: subprocess.Popen[bytes]) -> list[list[int]]:
    """Have a process tell what it remembers."""
    assert child.stdin
    assert child.stdout
    child.stdin.write(b"\n")
    child.stdin.flush()
    while not (line := child.stdout.readline()).startswith(b"["):  # what it logs is passed over
        if not line:
            raise RuntimeError("it ended and told nothing")
    found: list[list[int]] = json.loads(line)
    return found


class Ear:
    """Implements flow.Audience: notes when a message came, and puts that into each of its rows as the number of trades."""

    def __init__(self, gateway: Gateway, now_us: Callable[[], int]) -> None:
        self._gateway, self._now = gateway, now_us
        self.heard: dict[int, int] = {}
        self.restart, self.linked, self.interest = gateway.restart, gateway.linked, gateway.interest

    def hear(self, slots: list[int], message: Message | None) -> None:
        """Pass on what changed."""
        if message is not None and len(self.heard) < KEPT:
            now = self.heard[message.to_rev] = self._now()
            for slot in slots:
                self._gateway.replica.order[slot][field.TRADES] = now
        self._gateway.hear(slots, message)


def spread(micros: Iterable[int], name: str) -> dict[str, float]:
    """Return the percentiles of a hop as figures."""
    ordered = [float(each) for each in sorted(micros)]
    return {f"p{part} {name}|ms": percentile(ordered, part / 100) / 1000 for part in (50, 99)}
