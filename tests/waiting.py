"""Waiting for what tells nobody: states of the product and of other processes have no events for tests."""

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any, Final

PATIENCE_S: Final = 60.0  # never how long it takes, only when to give up
LOOK_S: Final = 0.005

Why = str | Callable[[], object]


async def until(
    look: Callable[[], Any],
    why: Why = "it did not happen",
    *,
    within: float = PATIENCE_S,
    but: tuple[type[Exception], ...] = (),
) -> Any:
    """Let others work until what is looked at is so; return it. An awaitable is awaited; the errors `but` mean "not yet"."""
    ends = time.monotonic() + within
    while True:
        try:
            found = look()
            if inspect.isawaitable(found):
                found = await found
        except but:
            found = None
        if found:
            return found
        assert time.monotonic() < ends, _told(why, within)
        await asyncio.sleep(LOOK_S)


def wait_until(
    look: Callable[[], Any],
    why: Why = "it did not happen",
    *,
    within: float = PATIENCE_S,
    but: tuple[type[Exception], ...] = (),
) -> Any:
    """Wait for something that another process does; return it."""
    ends = time.monotonic() + within
    while True:
        try:
            found = look()
        except but:
            found = None
        if found:
            return found
        assert time.monotonic() < ends, _told(why, within)
        time.sleep(LOOK_S)


def _told(why: Why, within: float) -> str:
    return f"not within {within:g} s: {why() if callable(why) else why}"
