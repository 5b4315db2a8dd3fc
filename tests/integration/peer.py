"""A service for one client at a time, that does what a test tells it, right or wrong."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

EPOCH = "20261123T0345Z-9f1c03ab77de5a20"
OTHER = "20261124T0345Z-0000000000000001"
HELLO = {"v": 1, "limits": {"symbols_per_message": 500}, "heartbeat_ms": 5000}

Script = Callable[["Peer"], Awaitable[None]]


def pos(rev: int, epoch: str = EPOCH) -> str:
    return f"{epoch}:{rev}"


class Peer:
    """One connection, from the service's side."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.binary = socket.subprotocol == "bhavcast.v1.msgpack"

    async def say(self, t: str, /, **message: object) -> None:
        whole = {"t": t, **message}
        if self.binary:
            rows = whole.pop("q", [])
            await self.socket.send(b"".join(map(msgspec.msgpack.encode, [whole, *rows])))  # type: ignore[misc]  # test
        else:
            await self.socket.send(msgspec.json.encode(whole).decode())

    async def hear(self, kind: str) -> dict:
        """Return the next message of a kind, passing over others."""
        while True:
            frame = await self.socket.recv()
            message = msgspec.json.decode(frame) if isinstance(frame, str) else msgspec.msgpack.decode(frame)
            if message["t"] == kind:
                return message

    async def greet(self, **changes: object) -> None:
        await self.say("hello", **{**HELLO, **changes})

    async def serve(self, *rows: dict, at: int, epoch: str = EPOCH) -> None:
        """Answer a subscription."""
        sub = await self.hear("sub")
        await self.say("ack", id=sub["id"], ok=[row["symbol"] for row in rows], bad=[], active=len(rows))
        await self.say("snap", id=sub["id"], q=list(rows))
        await self.say("sync", id=sub["id"], count=len(rows), pos=pos(at, epoch))

    async def cut(self, part: bytes = b"") -> None:
        """Break the line, after some raw bytes."""
        transport = self.socket.transport
        transport.write(part)
        await asyncio.sleep(0)
        transport.close() if part else transport.abort()

    async def stay(self) -> None:
        """Keep the line until the client hangs up."""
        await self.socket.wait_closed()


@asynccontextmanager
async def peer(*scripts: Script) -> AsyncIterator[str]:
    """Serve one script per connection, in order, the last one again and again; yield the URL."""
    left = list(scripts)
    failed: list[Exception] = []

    async def handle(socket: ServerConnection) -> None:
        if failed:
            await socket.close(4503, f"the script of this peer failed: {failed[0]}"[:120])
        try:
            await (left.pop(0) if len(left) > 1 else left[0])(Peer(socket))
        except ConnectionClosed:
            pass
        except Exception as error:  # noqa: BLE001 - a script that fails must fail its test, not be tried again and again
            failed.append(error)

    protocols = ["bhavcast.v1.json", "bhavcast.v1.msgpack"]
    async with serve(handle, "127.0.0.1", 0, subprotocols=protocols, close_timeout=0.2) as server:  # type: ignore[arg-type]  # plain texts will do
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/ws"
    assert failed == []
