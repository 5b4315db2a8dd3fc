"""A reader's end of the Redis bus: the snapshot, the stream after it, and how well it is heard."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import structlog

from bhavcast.bus import mirror
from bhavcast.bus.address import FAILURES, execute
from bhavcast.bus.mirror import POSITION, Place
from bhavcast.bus.port import Link
from bhavcast.bus.scripts import Keys
from bhavcast.bus.server import Server
from bhavcast.domain.change import Message, Snapshot, hear
from bhavcast.domain.errors import BusHole, Unavailable, UnknownFormat
from bhavcast.domain.position import Position
from bhavcast.telemetry.clock import Clock

log = structlog.get_logger()

BLOCK_MS: Final = 1000  # one canary's time
MOST_ENTRIES: Final = 512
FIRST_LOOK_S: Final = 0.05
LOOK_AGAIN_S: Final = 1.0  # where another program would have to be put back first
BELOW_S: Final = 5.0
# Three canaries. After that the connection is made anew too, though the server answers: where an address is a name, a proxy
# or a socket, another server may be the master behind it by now, and this one would stay a healthy, silent replica for
# ever. Only Sentinels can be asked which it is (`Server._look`); behind them this finds the same server again, at the cost
# of one connection in three seconds of an outage.
SILENT_S: Final = 3.0


class Follower:
    """Reads. It never believes the stream further than each message follows on the one before."""

    def __init__(self, server: Server, keys: Keys, clock: Clock) -> None:
        self._server, self._keys, self._clock = server, keys, clock
        self.link: Link = "ok"
        self._changed = asyncio.Event()
        self._heard = clock.monotonic()
        self.holes = self.lost = 0

    # -- the snapshot -------------------------------------------------------------------------------------------------

    async def snapshot(self, after: Position) -> Snapshot:
        """Return everything; see the port."""
        below: tuple[float, Place] | None = None
        refused = ""
        connected = self._clock.monotonic()
        while True:
            place = await self._place()
            if place is not None and (place.rev >= after.rev or self._is_lost(place, below)):
                try:
                    found = mirror.read(await self._call("HGETALL", self._keys.board))
                except UnknownFormat as error:
                    if error.detail != refused:
                        refused = error.detail
                        log.error("the bus cannot be understood here", why=refused)
                    self._say("deaf")
                    await self._server.wait(LOOK_AGAIN_S)
                    continue
                # Between the two a server may have gone back: look again.
                if found is not None and found.rev >= place.rev:
                    if await self._call("EXISTS", self._keys.lease):
                        self._hear()
                    else:  # nobody speaks: a server that has come back may hold its dump of long ago
                        self._heard = self._clock.monotonic()
                        self._say("degraded")
                    if found.rev < after.rev:
                        self.lost += 1
                        log.error("what was above the bus is lost", held=str(after), bus=str(found.position))
                    return found
            elif place is not None and below is None:
                below = (self._clock.monotonic(), place)
            if after.rev:
                self._say("degraded")
            if self._clock.monotonic() - connected >= SILENT_S:
                connected = self._clock.monotonic()
                await self._server.drop()  # it came back empty, and behind that name or socket another may be by now
            await self._server.wait(FIRST_LOOK_S)

    def _is_lost(self, place: Place, below: tuple[float, Place] | None) -> bool:
        """Tell whether the bus lives on, below what is held, and has done so for long enough."""
        return below is not None and place.rev > below[1].rev and self._clock.monotonic() - below[0] >= BELOW_S

    # -- the stream ---------------------------------------------------------------------------------------------------

    async def follow(self, after: Position) -> AsyncIterator[Message]:
        """Yield what comes after a position; see the port."""
        position, missed = after, 0
        try:
            await self._stands(position)
            while not self._server.closed.is_set():
                entries = await self._entries(position.rev)
                if entries:
                    missed = 0
                    self._hear()
                for fields in entries:
                    message = self._next(fields, position)
                    position = Position(message.epoch, message.to_rev)
                    yield message
                if not entries:
                    missed = await self._listen(position, missed)
        except Unavailable:
            return
        except BusHole:
            self.holes += 1
            raise
        except UnknownFormat as error:
            raise BusHole(error.detail) from error

    def _next(self, fields: dict[bytes, bytes], position: Position) -> Message:
        payload = fields.get(b"m")
        if payload is None:
            raise BusHole(f"epoch {position.epoch} is over")
        message = hear(payload)
        if message.epoch != position.epoch or message.from_rev != position.rev + 1:
            raise BusHole(
                f"expected revision {position.rev + 1} of epoch {position.epoch}, "
                f"got {message.from_rev} of {message.epoch}"
            )
        return message

    async def _entries(self, rev: int) -> list[dict[bytes, bytes]]:
        stream = self._keys.stream
        told = await self._call("XREAD", "COUNT", MOST_ENTRIES, "BLOCK", BLOCK_MS, "STREAMS", stream, f"{rev}-0")
        return [fields for _, fields in told[0][1]] if told else []

    async def _stands(self, position: Position) -> Place:
        """Look where the bus is; raise BusHole unless it goes on from this position."""
        place = await self._place()
        if place is None or place.epoch != position.epoch or place.rev < position.rev:
            raise BusHole(f"the bus is at {place and place.position}, the reader at {position}")
        return place

    async def _listen(self, position: Position, missed: int) -> int:
        """Find out why nothing came: nobody speaks, or this reader does not hear. Return how often it was deaf."""
        place = await self._stands(position)
        if place.rev == position.rev:
            if self._clock.monotonic() - self._heard >= SILENT_S:
                self._say("degraded")
                await self._server.drop()  # its writer may be heard behind that name by now
            return 0
        if missed > 1:
            raise BusHole(f"the stream has nothing after {position}, and the bus is at {place.position}")
        if missed:  # once it may have come just after the wait
            self._say("deaf")
            log.warning("the bus speaks and is not heard", bus=str(place.position), reader=str(position))
            await self._server.drop()
        return missed + 1

    # -- how well it is heard -------------------------------------------------------------------------------------------

    async def links(self) -> AsyncIterator[Link]:
        """Yield the link at each change."""
        told: Link | None = None
        while not self._server.closed.is_set():
            self._changed.clear()
            if self.link != told:
                told = self.link
                yield told
            else:
                await self._changed.wait()

    def _hear(self) -> None:
        self._heard = self._clock.monotonic()
        self._say("ok")

    def _say(self, link: Link) -> None:
        if link != self.link:
            self.link = link
            self._changed.set()

    async def close(self) -> None:
        """End what is read."""
        await self._server.close()
        self._changed.set()

    # -- asking ----------------------------------------------------------------------------------------------------------

    async def _place(self) -> Place | None:
        raw = await self._call("HGET", self._keys.board, POSITION)
        return Place.parse(raw) if raw else None

    async def _call(self, *command: Any) -> Any:
        """Ask until there is an answer; raise Unavailable when this end is closed."""
        while not self._server.closed.is_set():
            try:
                return await self._server.call(lambda client: execute(client, *command))
            except FAILURES:
                self._say("degraded")
                await self._server.pause()
        raise Unavailable("the bus was closed")
