"""A connection's socket is written to past its transport only while that holds nothing, and only while it is open."""

import asyncio
import contextlib
import os
import socket
import struct

import pytest
import uvloop

from bhavcast.gateway.close_codes import CloseCode
from bhavcast.gateway.websocket import WebSocket
from bhavcast.hub.frame import header

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
RESET = struct.pack("ii", 1, 0)
LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
WITHIN_S = 20.0
MUCH = 1_000_000


class Silent:
    def receive(self, payload: bytes) -> None: ...

    def send_away(self, code: CloseCode, retry_ms: int | None = None) -> None: ...

    def close(self) -> None: ...


class Server:
    """One connection after another, each with the client's end as a blocking socket."""

    def __init__(self) -> None:
        self.connections: set[WebSocket] = set()
        self.accepted: asyncio.Queue[WebSocket] = asyncio.Queue()
        self.peers: list[socket.socket] = []
        self.lost: asyncio.Queue[bool] = asyncio.Queue()  # whether the socket was still open when that was told

    def make(self) -> WebSocket:
        server = self

        class Watched(WebSocket):
            def connection_made(self, transport):
                super().connection_made(transport)
                self.inode = os.fstat(transport.get_extra_info("socket").fileno()).st_ino
                self.descriptor = transport.get_extra_info("socket").fileno()
                server.accepted.put_nowait(self)

            def connection_lost(self, exc):
                server.lost.put_nowait(os.fstat(self.descriptor).st_ino == self.inode)
                super().connection_lost(exc)

        return Watched(
            open_session=lambda _ws, _request: Silent(),
            admit=lambda _ws, _request, _transport: None,
            connections=self.connections,
            max_bytes=1000,
        )

    def close(self) -> None:
        for peer in self.peers:
            peer.close()

    async def connect(self, address) -> tuple[WebSocket, socket.socket]:
        loop = asyncio.get_running_loop()
        peer = socket.socket()
        self.peers.append(peer)
        peer.setblocking(False)
        await loop.sock_connect(peer, address)
        await loop.sock_sendall(peer, HANDSHAKE)
        ws = await self.accepted.get()
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += await loop.sock_recv(peer, 1)
        assert answer.startswith(b"HTTP/1.1 101")
        return ws, peer


def frame(size: int) -> bytes:
    return header(size, binary=False) + b"x" * size


def run(loop, scenario):
    async def served():
        server = Server()
        listening = await asyncio.get_running_loop().create_server(server.make, "127.0.0.1", 0)
        async with listening, asyncio.timeout(WITHIN_S):
            with contextlib.closing(server):
                await scenario(server, listening.sockets[0].getsockname())

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(served())


@LOOPS
def test_nothing_goes_past_a_transport_that_holds_something(loop):
    async def scenario(server, address):
        ws, peer = await server.connect(address)
        assert ws.wire == -1, "not before it was looked at"
        assert ws.look()
        assert ws.wire >= 0
        ws.write(frame(MUCH))  # more than kernel and peer take together
        assert ws.wire == -1
        assert not ws.look(), "it holds some"
        came = 0
        while came < len(frame(MUCH)):
            came += len(await asyncio.get_running_loop().sock_recv(peer, 1 << 20))
        assert not ws.buffered(), "what came at the peer is held no longer"
        assert ws.look()
        ws.close(1000, "done")
        assert ws.wire == -1, "not after its close frame"
        assert not ws.look()

    run(loop, scenario)


@LOOPS
@pytest.mark.parametrize("held", [False, True], ids=["nothing held", "much held"])
@pytest.mark.parametrize("end", ["aborts", "closes", "resets", "finishes"])
def test_a_lost_connection_is_told_before_its_socket_is_closed(loop, end, held):
    async def scenario(server, address):
        ws, peer = await server.connect(address)
        if held:
            ws.write(frame(MUCH))
        match end:
            case "aborts":
                ws.transport.abort()
            case "closes":
                ws.transport.close()
            case "resets":
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        if end in ("resets", "finishes") or held:
            peer.close()
        assert await server.lost.get()
        assert ws.wire == -1
        assert not ws.look()

    run(loop, scenario)
