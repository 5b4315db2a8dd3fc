"""The one that writes."""

from collections.abc import Callable

import msgspec

from bhavcast.app.build import build
from bhavcast.app.config import Config
from bhavcast.app.control import LineControl
from bhavcast.app.control_socket import listening
from bhavcast.app.line import keep_archive, run_ingest, sync
from bhavcast.app.notify import notify, started_again
from bhavcast.app.process import reload_on_hangup, settle, stop_on_signals, until
from bhavcast.flow import recover


async def serve(config: Config, reread: Callable[[], Config]) -> int:
    """Write until told to stop; return the exit code."""
    stop = stop_on_signals()
    reload_on_hangup(reread)
    if started_again():
        config = msgspec.structs.replace(config, at=None)  # the market has gone on since
    parts = build(config, alone=config.bus.kind == "embedded")

    async def lead() -> None:
        notify(STATUS="waiting for the lease")
        await recover(parts.line, parts.recovery, parts.writer)
        async with listening(config.data, LineControl(parts.line)):
            settle()
            notify(READY="1", STATUS=f"writing epoch {parts.line.board.epoch}")
            await run_ingest(parts.line)

    async def finish() -> None:
        notify(STOPPING="1")

    try:
        work = {
            "ingest": lead(),
            "sync": sync(parts.journal, config.journal.fsync_ms),
            "archive": keep_archive(parts.journal, config.journal, parts.clock),
        }
        return await until(stop, work, finish)
    finally:
        await parts.bus.close()
        parts.journal.close()
        parts.lease.release()
