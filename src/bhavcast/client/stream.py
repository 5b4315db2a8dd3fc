"""The live stream: connect, subscribe, iterate; reconnecting and resuming by itself.

    async with Client("ws://127.0.0.1:5000/ws") as client:
        await client.subscribe("RELIANCE", "TCS")
        async for update in client.updates():
            print(update.symbol, update.quote["current_price"])

Nothing runs behind the user's back: frames are read while the user iterates, so a slow user reads slowly, the service
sees it, and conflates. There is no queue that could grow.
"""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import TracebackType
from typing import Final, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from bhavcast.client import frames
from bhavcast.client.errors import BadFrame, StreamClosed
from bhavcast.client.events import Event, Link, Quote, Synced, Trouble, Update
from bhavcast.client.key import key_header
from bhavcast.client.state import Disorder, State
from bhavcast.domain.position import Position

FIRST_RETRY_S: Final = 0.25
LAST_RETRY_S: Final = 30.0
OPEN_S: Final = 10.0  # for the handshake, and then for the hello
SILENT_BEATS: Final = 3  # heartbeats that may be missing before the connection counts as dead
MAX_FRAME: Final = 32 * 1024 * 1024  # the whole market in one frame after a long absence is about 5 MB
_RETRY_MS: Final = re.compile(r"\bretry_ms=(\d{1,6})\b", re.ASCII)


class Client:
    """A subscriber of `/ws`.

    Args:
        url: `ws://` or `wss://`, with the path.
        fields: `ltp`, `quote`, `full`, or a list of field names.
        depth: levels of the book, 0 to 5.
        hz: updates per second at most, 0 for every one.
        binary: MessagePack instead of JSON.
        silence: seconds without a frame after which the connection counts as dead; None for three heartbeats.
        key: of the service; it goes into a header of the handshake, never into the URL.
        headers: more of them.
        chance: returns a number from 0 to 1, for the jitter of the back-off.
        sleep: waits for seconds before the next attempt.
    """

    def __init__(
        self,
        url: str,
        *,
        fields: str | list[str] = "full",
        depth: int = 0,
        hz: float = 10.0,
        binary: bool = False,
        silence: float | None = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        chance: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.url = url
        self.state = State(fields=fields, depth=depth, hz=hz, binary=binary)
        self._silence = silence
        self._headers = {**(headers or {}), **key_header(key)}
        self._chance = chance
        self._sleep = sleep
        self._socket: ClientConnection | None = None
        self._failures = 0
        self._retry_at_least = 0.0
        self._wait = 0.0

    # -- what is wanted ---------------------------------------------------------------------------------------------

    async def subscribe(self, *symbols: str) -> None:
        """Ask for more: codes, ids, ISINs, `IDX:SENSEX`, `IDX:SENSEX/members`, `group:A` or `*`."""
        self.state.subscribe(symbols)
        await self._send()

    async def unsubscribe(self, *symbols: str) -> None:
        """Ask for fewer; their quotes are gone at once. A scrip goes with any of its names, also of several asked for."""
        self.state.unsubscribe(symbols)
        await self._send()

    async def show(
        self, *, fields: str | list[str] | None = None, depth: int | None = None, hz: float | None = None
    ) -> None:
        """Change what quotes show, or how often they come."""
        self.state.show(fields=fields, depth=depth, hz=hz)
        await self._send()

    # -- what is known ----------------------------------------------------------------------------------------------

    @property
    def quotes(self) -> Mapping[str, Quote]:
        """All quotes held, by scrip code."""
        return self.state.quotes

    @property
    def position(self) -> Position | None:
        """How far everything subscribed is complete, None while it is not."""
        return self.state.position

    @property
    def connected(self) -> bool:
        """Whether there is a connection, and the service has greeted."""
        return self._socket is not None and self.state.greeted

    # -- iteration --------------------------------------------------------------------------------------------------

    async def updates(self) -> AsyncIterator[Update]:
        """Yield every change of a quote, over any number of connections.

        Raises:
            StreamClosed: the service does not want this client to come again.
        """
        async for event in self.events():
            if isinstance(event, Update):
                yield event

    async def events(self) -> AsyncIterator[Event]:
        """Yield everything that happens: updates, syncs, resets, notices, and the link going down and up.

        Raises:
            StreamClosed: the service does not want this client to come again.
        """
        while True:
            for event in await self.receive():
                yield event

    async def receive(self) -> list[Event]:
        """Wait for the next frame and return what happened; connect first, where there is no connection.

        Raises:
            StreamClosed: the service does not want this client to come again.
        """
        if self._socket is None:
            return await self._connect()
        try:
            # Not wait_for: in Python 3.11 it swallows a cancellation that meets a frame, and the stream would go on.
            async with asyncio.timeout(self._patience):
                frame = await self._socket.recv()
            events = self.state.receive(frame)
            await self._send()
        except TimeoutError:
            return await self._lose(f"nothing was heard for {self._patience:g} s")
        except ConnectionClosed:
            return await self._closed()
        except Disorder as error:
            self.state.begin_anew()
            return await self._lose(error.detail)
        except BadFrame as error:
            return await self._lose(error.detail)
        for event in events:
            if isinstance(event, Synced):
                self._failures = 0
            elif isinstance(event, Trouble) and event.retry_ms is not None:
                self._retry_at_least = event.retry_ms / 1000
        return events

    async def aclose(self) -> None:
        """Hang up; idempotent. What is held stays."""
        socket, self._socket = self._socket, None
        self.state.disconnected()
        if socket is not None:
            await socket.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # -- connections ------------------------------------------------------------------------------------------------

    @property
    def _patience(self) -> float:
        if not self.state.greeted:
            return OPEN_S if self._silence is None else self._silence
        return SILENT_BEATS * self.state.heartbeat_ms / 1000 if self._silence is None else self._silence

    async def _connect(self) -> list[Event]:
        if self._wait:
            await self._wait_on()
        protocol = frames.MSGPACK_PROTOCOL if self.state.binary else frames.JSON_PROTOCOL
        try:
            socket = await connect(
                self.url,
                subprotocols=[Subprotocol(protocol)],
                additional_headers=self._headers,
                compression=None,
                open_timeout=OPEN_S if self._silence is None else self._silence,
                close_timeout=1.0,
                max_size=MAX_FRAME,
                proxy=None,
            )
        except InvalidStatus as error:
            status = error.response.status_code
            if 400 <= status < 500 and status not in (408, 429):
                raise StreamClosed(f"{self.url} answered {status} instead of a stream", close_code=status) from error
            return [self._down(f"{self.url} answered {status}")]
        except (InvalidHandshake, ConnectionClosed, OSError, EOFError) as error:  # OSError: TimeoutError too
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            return [self._down(f"{self.url} does not answer: {why}")]
        self._socket = socket
        return [Link(up=True)]

    async def _wait_on(self) -> None:
        """Wait before the next attempt. Whoever gives up and asks again goes on waiting, and does not begin anew."""
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            await self._sleep(self._wait)
        except asyncio.CancelledError:
            self._wait = max(0.0, self._wait - (clock() - began))
            raise
        self._wait = 0.0

    async def _send(self) -> None:
        if self._socket is None:
            return
        try:
            for frame in self.state.outgoing():
                await self._socket.send(frame)
        except ConnectionClosed:
            return  # the next receive says why

    async def _closed(self) -> list[Event]:
        assert self._socket is not None
        code, reason = self._socket.close_code, self._socket.close_reason or ""
        if code is not None and 4500 <= code < 5000:
            await self.aclose()
            raise StreamClosed(f"the service closed the stream for good: {code} {reason}", close_code=code)
        if (found := _RETRY_MS.search(reason)) is not None:
            self._retry_at_least = int(found[1]) / 1000
        return await self._lose(f"closed with {code}{f': {reason}' if reason else ''}", hang_up=False)

    async def _lose(self, why: str, *, hang_up: bool = True) -> list[Event]:
        socket, self._socket = self._socket, None
        if socket is not None and hang_up:
            # A peer that does not answer would hold us up for the close handshake.
            socket.transport.abort()
            await socket.wait_closed()
        return [self._down(why)]

    def _down(self, why: str) -> Link:
        self.state.disconnected()
        backoff = min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(self._failures, 16))
        self._failures += 1
        # Half of it is chance, so that clients that were cut together do not come back together.
        self._wait = max(min(self._retry_at_least, LAST_RETRY_S), backoff / 2 * (1 + self._chance()))
        self._retry_at_least = 0.0
        return Link(up=False, reason=why, retry_seconds=self._wait)
