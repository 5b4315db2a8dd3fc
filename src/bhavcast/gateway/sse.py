"""Server-Sent Events: `GET /api/stream?symbols=…`. The same hub and the same frames; only the wire is another.

    id: 20261123T0345Z-9f1c03ab77de5a20:123470
    data: {"t":"u","pos":"…:123470","q":[{…}]}

Only the event that completes a position has an id, so the browser's `Last-Event-ID` is a position to resume from.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from bhavcast.access.doorkeeper import Visitor
from bhavcast.domain.digits import decimal, whole
from bhavcast.domain.errors import BadRequest, BhavcastError, MethodNotAllowed
from bhavcast.domain.position import Position
from bhavcast.gateway.edge import App, Receive, Scope, Send, refuse
from bhavcast.gateway.gateway import Gateway
from bhavcast.gateway.quotes import listed, parameters
from bhavcast.gateway.session import Session
from bhavcast.gateway.websocket import keep_kernel_buffers_small
from bhavcast.hub.outbox import HIGH_WATER

CLOSE_TIMEOUT_S: Final = 1.0


class EventSink:
    """Collects frames until the connection takes them; implements hub.port.Sink."""

    wire = -1

    def __init__(self, transport: asyncio.Transport | None = None) -> None:
        self._transport = transport
        self._waiting: list[bytes] = []
        self._size = 0
        self.news = asyncio.Event()
        self.closed = asyncio.Event()
        self.full = False

    def send(self, *parts: bytes, pos: str | None = None) -> None:
        """Put one event together and add it."""
        head = b"" if pos is None else f"id: {pos}\n".encode()
        event = b"".join((head, b"data: ", *parts, b"\n\n"))
        self._waiting.append(event)
        self._size += len(event)
        self.full = self._size > HIGH_WATER
        self.news.set()

    def buffered(self) -> int:
        """Return the bytes that wait, here and in the connection."""
        return self._size + (0 if self._transport is None else self._transport.get_write_buffer_size())

    def close(self, code: int, reason: str) -> None:
        """End the stream; the browser comes again by itself, with its position."""
        self.closed.set()

    async def pour(self, send: Send) -> None:
        """Hand every event to the connection, as fast as it takes them."""
        while True:
            await self.news.wait()
            self.news.clear()
            body = b"".join(self._waiting)
            self._waiting.clear()
            await send({"type": "http.response.body", "body": body, "more_body": True})
            self._size = sum(map(len, self._waiting))
            self.full = self._size > HIGH_WATER


def stream(gateway: Gateway) -> App:
    """Return the ASGI application of the route."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "GET":
            await refuse(MethodNotAllowed(f"expected GET, got {scope['method']}", allowed=("GET",)), send)
            return
        visitor: Visitor | None = scope.get("bhavcast.visitor")
        refused = gateway.full_up()
        if refused is None and visitor is not None:
            refused = gateway.door.full(visitor)
        if refused is not None:
            await refuse(refused, send)
            return
        try:
            asked = parameters(scope["query_string"].decode("latin-1"), ("symbols", "hz", "fields", "depth", "since"))
            message = _message(asked, scope)
        except BhavcastError as error:
            await refuse(error, send)
            return
        await _serve(gateway, message, scope, receive, send)

    return app


def _message(asked: dict[str, str], scope: Scope) -> bytes:
    """Write the request as the message a WebSocket client would send."""
    symbols = listed(asked)
    if not symbols:
        raise BadRequest("expected at least one symbol", field="symbols")
    message: dict[str, object] = {"t": "sub", "id": 1, "symbols": symbols}
    readers: dict[str, Callable[[str], float | None]] = {"hz": decimal, "depth": whole}
    for name, reader in readers.items():
        if name not in asked:
            continue
        number = reader(asked[name])
        if number is None:
            raise BadRequest(f"expected a number, got {asked[name][:40]!r}", field=name)
        message[name] = number
    if "fields" in asked:
        message["fields"] = asked["fields"].split(",") if "," in asked["fields"] else asked["fields"]
    last = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"last-event-id"), None)
    last = last or asked.get("since")
    if last:
        Position.parse(last, field="Last-Event-ID")
        message |= {"t": "resume", "pos": last}
    return msgspec.json.encode(message)


async def _serve(gateway: Gateway, message: bytes, scope: Scope, receive: Receive, send: Send) -> None:
    transport: asyncio.Transport | None = scope.get("bhavcast.transport")
    if transport is not None:
        keep_kernel_buffers_small(transport)
    sink = EventSink(transport)
    session = Session(gateway, sink, binary=False, visitor=scope.get("bhavcast.visitor"))
    ends = [asyncio.create_task(each) for each in (gone(receive), sink.closed.wait())]
    try:
        try:
            session.handle(message)
        except BhavcastError as error:
            await refuse(error, send)
            return
        headers = [(b"content-type", b"text/event-stream"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"retry: 2000\n\n", "more_body": True})
        pour = asyncio.create_task(sink.pour(send))
        ends.append(pour)
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if pour.done():
            await pour
        elif sink.buffered() and sink.closed.is_set():
            # What it does not take now it never will, and a connection that is only closed waits for it for ever.
            await asyncio.wait((pour,), timeout=CLOSE_TIMEOUT_S)
    finally:
        for each in ends:
            each.cancel()
        session.close()
    await _end(scope, send)


async def _end(scope: Scope, send: Send) -> None:
    """End the answer, or cut the connection off where nobody reads it."""
    try:
        await asyncio.wait_for(send({"type": "http.response.body", "body": b"", "more_body": False}), CLOSE_TIMEOUT_S)
    except TimeoutError:
        transport = scope.get("bhavcast.transport")
        if transport is not None:
            transport.abort()


async def gone(receive: Receive) -> None:
    """Wait until the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
