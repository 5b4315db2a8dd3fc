"""Server-Sent Events: `GET /api/stream?symbols=…`. The same hub and the same frames; only the wire is another.

    id: 20261123T0345Z-9f1c03ab77de5a20:123470
    data: {"t":"u","pos":"…:123470","q":[{…}]}

Only the event that completes a position has an id, so the browser's `Last-Event-ID` is a position to resume from.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from bhavcast.domain.errors import BadRequest, BhavcastError
from bhavcast.domain.position import Position
from bhavcast.gateway.edge import App, Receive, Scope, Send, refuse
from bhavcast.gateway.gateway import Gateway
from bhavcast.gateway.quotes import parameters
from bhavcast.gateway.session import Session
from bhavcast.hub.outbox import HIGH_WATER

MAX_WAITING: Final = 256 * 1024


class EventSink:
    """Collects frames until the connection takes them; implements hub.port.Sink."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []
        self._size = 0
        self.news = asyncio.Event()
        self.closed: str | None = None
        self.full = False
        self.plain = False
        self.write: Callable[[bytes], None] = self._add

    def frame(self, *parts: bytes, pos: str | None = None) -> bytes:
        """Put one event together."""
        head = b"" if pos is None else f"id: {pos}\n".encode()
        return b"".join((head, b"data: ", *parts, b"\n\n"))

    def _add(self, framed: bytes) -> None:
        self._waiting.append(framed)
        self._size += len(framed)
        self.full = self._size > HIGH_WATER
        self.news.set()

    def send(self, *parts: bytes, pos: str | None = None) -> None:
        """Put one event together and add it."""
        self.write(self.frame(*parts, pos=pos))

    def buffered(self) -> int:
        """Return the bytes that wait."""
        return self._size

    def close(self, code: int, reason: str) -> None:
        """End the stream; the browser comes again by itself, with its position."""
        self.closed = f"{code} {reason}"
        self.news.set()

    async def take(self) -> bytes:
        """Wait for events and return them; nothing when the stream was closed."""
        await self.news.wait()
        self.news.clear()
        taken = b"".join(self._waiting)
        self._waiting.clear()
        return taken

    def taken(self) -> None:
        """Note that the connection has taken what was handed out."""
        self._size = sum(map(len, self._waiting))
        self.full = self._size > HIGH_WATER


def stream(gateway: Gateway) -> App:
    """Return the ASGI application of the route."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "GET":
            await refuse(BadRequest("expected GET"), send)
            return
        try:
            asked = parameters(scope["query_string"].decode("latin-1"), ("symbols", "hz", "fields", "depth", "since"))
            message = _message(asked, scope)
        except BhavcastError as error:
            await refuse(error, send)
            return
        await _serve(gateway, message, receive, send)

    return app


def _message(asked: dict[str, str], scope: Scope) -> bytes:
    """Write the request as the message a WebSocket client would send."""
    symbols = [text for text in asked.get("symbols", "").split(",") if text]
    if not symbols:
        raise BadRequest("expected at least one symbol", field="symbols")
    message: dict[str, object] = {"t": "sub", "id": 1, "symbols": symbols}
    for name, kind in (("hz", float), ("depth", int)):
        if name in asked:
            try:
                message[name] = kind(asked[name])
            except ValueError as error:
                raise BadRequest(f"expected a number, got {asked[name][:40]!r}", field=name) from error
    if "fields" in asked:
        message["fields"] = asked["fields"].split(",") if "," in asked["fields"] else asked["fields"]
    last = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"last-event-id"), None)
    last = last or asked.get("since")
    if last:
        Position.parse(last, field="Last-Event-ID")
        message |= {"t": "resume", "pos": last}
    return msgspec.json.encode(message)


async def _serve(gateway: Gateway, message: bytes, receive: Receive, send: Send) -> None:
    sink = EventSink()
    session = Session(gateway, sink, binary=False)
    gone = asyncio.create_task(_gone(receive, sink))
    try:
        session.receive(message)
        headers = [(b"content-type", b"text/event-stream"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"retry: 2000\n\n", "more_body": True})
        while True:
            body = await sink.take()
            if body:
                await send({"type": "http.response.body", "body": body, "more_body": True})
                sink.taken()
            if sink.closed is not None:
                break
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        gone.cancel()
        session.close()


async def _gone(receive: Receive, sink: EventSink) -> None:
    while True:
        if (await receive())["type"] == "http.disconnect":
            sink.close(0, "the client left")
            return
