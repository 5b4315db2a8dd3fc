"""The Python generators' side of the contract with their parent; load.h is the C side."""

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable

import msgspec


def options(arguments: list[str], defaults: dict[str, str]) -> dict[str, str]:
    """Read key=value arguments over the defaults."""
    return defaults | dict(argument.split("=", 1) for argument in arguments)


def percentile(ordered: list[float], part: float) -> float:
    """Return one percentile of ordered values; 0 if there are none."""
    return ordered[min(int(part * len(ordered)), len(ordered) - 1)] if ordered else 0.0


def say(word: str) -> None:
    """Tell the parent."""
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


async def measure(seconds: float, reset: Callable[[], None], result: Callable[[], dict[str, object]]) -> None:
    """Say `ready`, wait for the parent's word, and measure for the time given."""
    told = asyncio.Event()
    asyncio.get_running_loop().add_reader(0, told.set)
    say("ready")
    await told.wait()
    if not sys.stdin.readline():
        return
    asyncio.get_running_loop().remove_reader(0)
    reset()
    started, cpu = time.monotonic(), time.process_time()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(seconds)
    measured = {"seconds": time.monotonic() - started, "cpu_seconds": time.process_time() - cpu}
    say(msgspec.json.encode(measured | result()).decode())
