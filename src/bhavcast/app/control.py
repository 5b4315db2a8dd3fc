"""What an operator can do to the sources and the guard of this process."""

import asyncio
from typing import Any, Final

from bhavcast.domain.errors import BhavcastError, Conflict, UnknownSource
from bhavcast.feeds.supervisor import Supervised
from bhavcast.flow import Ingest
from bhavcast.telemetry import log as logs
from bhavcast.telemetry.log import Level

WITHIN_S: Final = 5.0
MOST_ERRANDS: Final = 64


class LineControl:
    """Implements gateway.control.Control over the one ingest of this process."""

    def __init__(self, line: Ingest) -> None:
        self._line = line

    async def pause(self, source: str) -> None:
        """Close a source, and stay silent on it until it is resumed."""
        self._supervised(source, "paused").pause()

    async def resume(self, source: str) -> None:
        """Open a source again."""
        self._supervised(source, "resumed").resume()

    async def prefer(self, source: str) -> None:
        """Refuse: where one source speaks there is nothing to prefer it to."""
        self._known(source)
        raise Conflict(f"expected several sources to choose from, and {source} is the only one: it is believed already")

    async def release(self, entry_id: int) -> dict[str, Any]:
        """Believe a quarantined tick after all, between two batches; return what it was."""
        line = self._line
        self._leading()
        if len(line.errands) >= MOST_ERRANDS:
            raise Conflict(
                f"expected at most {MOST_ERRANDS} things for the ingest to do, and it has not come to them yet"
            )
        done: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

        async def act() -> None:
            if done.done():
                return  # nobody waits for it any more
            try:
                entry = line.guard.release(entry_id)
            except BhavcastError as error:
                done.set_exception(error)
                return
            if changes := line.board.apply(entry.source, [entry.tick]):
                await line.say(changes=changes, received=line.market.now_ms())
            told = {"id": entry.id, "symbol": entry.tick.symbol, "rule": entry.rule, "reason": entry.reason}
            done.set_result({**told, "source": entry.source.name, "changed": bool(changes)})

        line.errands.append(act)
        try:
            return await asyncio.wait_for(done, WITHIN_S)
        except TimeoutError:
            raise Conflict(f"expected the ingest to take it up within {WITHIN_S:g} s, and it did not") from None

    async def log_level(self, level: Level) -> None:
        """Log from this level on."""
        logs.set_level(level)

    def _leading(self) -> None:
        if self._line.orphan is not None:
            raise Conflict(
                f"expected the ingest that writes, and this one may not any more ({self._line.orphan}): ask a gateway on "
                "the host of the one that does"
            )

    def _known(self, source: str) -> None:
        self._leading()
        ours = self._line.feed.source.name
        if source != ours:
            raise UnknownSource(
                f"expected a source of this system, which is {ours}, got {source[:40]!r}", field="source"
            )

    def _supervised(self, source: str, what: str) -> Supervised:
        self._known(source)
        feed = self._line.feed
        if not isinstance(feed, Supervised):
            raise Conflict(f"expected a source that can be {what}, and {source} is a finished day: it is played once")
        return feed
