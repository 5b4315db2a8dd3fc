"""What every process of the system does alike: its loop, its signals, and how it ends."""

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final

import structlog

from bhavcast.app.config import Config
from bhavcast.app.notify import notify
from bhavcast.domain.errors import BhavcastError, UnknownFormat
from bhavcast.telemetry import log as logs

log = structlog.get_logger()

# Most of what lives here lives long: rows, instruments, code. Looking through it for cycles at every 700 allocations
# would stop the loop for nothing.
GC_THRESHOLD: Final = (50_000, 50, 50)
# These end by themselves when they are asked to, after their clients.
SERVERS: Final = ("gateway", "frontend")
# A cancellation that comes at the moment of a timeout inside a library can be lost: it is said again.
AGAIN_S: Final = 1.0


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the event loop of that name; None for asyncio's own, also where uvloop does not run."""
    if name == "asyncio":
        return None
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def settle() -> None:
    """Tell the garbage collector that what is here now stays, and to look for cycles less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)


async def until(
    stop: asyncio.Event, work: Mapping[str, Coroutine[Any, Any, object]], finish: Callable[[], Awaitable[None]]
) -> int:
    """Run until a signal comes or a part that must not end does; return the exit code.

    `finish` asks what serves to end; the others are not asked.

    Raises:
        UnknownFormat: what a part found was written by another Bhavcast; it is the caller's to tell.
    """
    tasks = {asyncio.create_task(each, name=name) for name, each in work.items()}
    waiting = asyncio.create_task(stop.wait(), name="stop")
    code, pending = 0, {*tasks, waiting}
    refused: UnknownFormat | None = None
    while waiting in pending and code == 0:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {waiting}:
            fault = task.exception()
            if isinstance(fault, UnknownFormat):
                refused, code = fault, 1
            elif task.get_name() != "welcome" or fault is not None:
                log.error("a part ended that must not", part=task.get_name(), exc_info=fault)
                code = 1
    await finish()
    left = {*tasks, waiting}
    while left:
        for task in left:
            if task.get_name() not in SERVERS:
                task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_S)
        if left:
            log.info("some parts have not ended yet", parts=sorted(task.get_name() for task in left))
    if refused is not None:
        raise refused
    return code


def stop_on_signals() -> asyncio.Event:
    """Return an event that SIGINT and SIGTERM set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop


def reload_on_hangup(reread: Callable[[], Config], *looks: Callable[[], None]) -> None:
    """At SIGHUP take up the level of the log, and have `looks` take up their files; anything else needs a new start."""

    def reload() -> None:
        notify(RELOADING="1")
        try:
            level = reread().log_level
        except BhavcastError as error:
            log.error("the configuration cannot be used; the one before it stands", error=error.detail)
        else:
            logs.set_level(level)
            log.info("read again", log_level=level)
        for look in looks:
            look()
        notify(READY="1")

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
