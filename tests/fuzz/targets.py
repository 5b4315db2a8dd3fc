"""What the fuzzer calls: each target takes any bytes, and raises only if the product has a defect.

HTTP and WebSocket go through the real protocol classes of a real gateway over a scripted market; only the transport is a
list of what was written.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import msgspec

from bhavcast.access.allowance import Allowance
from bhavcast.access.doorkeeper import Doorkeeper
from bhavcast.access.keyring import Keyring
from bhavcast.board.board import Board
from bhavcast.client import frames
from bhavcast.client.errors import BadFrame
from bhavcast.client.state import State
from bhavcast.domain import change, field, record
from bhavcast.domain.errors import BhavcastError
from bhavcast.domain.instrument import Instrument
from bhavcast.gateway import protocol
from bhavcast.journal import layout
from bhavcast.telemetry.clock import SystemClock
from tests.docs.stage import Stage

UPGRADE: Final = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: bhavcast.v1.%b\r\n\r\n"
)
MOST_WRITTEN: Final = 8 * 1024 * 1024  # by a market of six scrips, to a few kilobytes of questions


class Transport(asyncio.Transport):
    """A client that reads everything at once."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 50000), "sockname": ("127.0.0.1", 5000)})
        self.protocol: Any = None
        self.written = 0
        self.ended = self.faulty = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Claim to be encrypted: then there is no socket to write to past this object."""
        return ssl.create_default_context if name == "sslcontext" else super().get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += len(data)
        # Told afterwards: what is raised in here the server would catch.
        self.faulty = self.faulty or bytes(data[:12]) == b"HTTP/1.1 500"

    def close(self) -> None:
        self.ended = True

    abort = close

    def is_closing(self) -> bool:
        return self.ended

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class House:
    """One gateway for all inputs, and the faults of its event loop."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.faults: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, context: self.faults.append(context))
        # Thousands of inputs a second come from one address: refused for that, they would reach nothing.
        plenty = Allowance(requests_per_second=1e9, requests_burst=10**9, failures_per_minute=10**9)
        self.stage = Stage(keeper=Doorkeeper(Keyring(), SystemClock(), allowance=plenty))
        self.loop.run_until_complete(self.stage.__aenter__())

    def close(self) -> None:
        self.loop.run_until_complete(self.stage.__aexit__())
        self.loop.close()

    def visit(self, chunks: list[bytes]) -> None:
        """Let a client send these bytes and go; complain if anything of it remains."""
        self.loop.run_until_complete(self._visit(chunks))
        assert not self.faults, self.faults

    async def _visit(self, chunks: list[bytes]) -> None:
        server, gateway = self.stage.server._server, self.stage.gateway
        transport = Transport()
        connection: Any = server.config.http_protocol_class  # uvicorn calls it with more than a protocol takes
        transport.protocol = connection(config=server.config, server_state=server.server_state, app_state={})
        transport.protocol.connection_made(transport)
        for chunk in chunks:
            if chunk and not transport.ended:
                transport.protocol.data_received(chunk)
                await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)
        transport.protocol.connection_lost(None)
        for _ in range(5):
            await asyncio.sleep(0)
        assert not transport.faulty, "a fault of the service"
        assert transport.written < MOST_WRITTEN
        assert not gateway.members
        assert not gateway.hub.outboxes
        assert transport.protocol not in server.server_state.connections


@cache
def house() -> House:
    return House()


def _pieces(data: bytes) -> list[bytes]:
    """Cut where the fuzzer says: the first byte is how many pieces, at most eight."""
    if len(data) < 2:
        return [data]
    size = max(1, (len(data) - 1) // (data[0] % 8 + 1))
    return [data[at : at + size] for at in range(1, len(data), size)]


def http(data: bytes) -> None:
    """Any bytes on a new connection: parser, hot path, application, and the handshake of a WebSocket."""
    house().visit(_pieces(data))


def websocket(data: bytes) -> None:
    """Any messages, or after a first byte of 2 or 3 any frames, on a WebSocket; lines are messages in JSON."""
    kind, body = data[:1] or b"\0", data[1:]
    binary = kind[0] & 1 == 1
    if kind[0] & 2:
        sent = _pieces(body)
    elif binary:
        sent = [_masked(body, 0x82)]
    else:
        sent = [_masked(each, 0x81) for each in body.split(b"\n")[:20]]
    house().visit([UPGRADE % (b"msgpack" if binary else b"json"), *sent])


def _masked(payload: bytes, first: int) -> bytes:
    payload = payload[:65_000]
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return bytes([first]) + size + b"\0\0\0\0" + payload


def codecs(data: bytes) -> None:
    """Any bytes where the journal, a recording, the bus or the service should have written something."""
    if not data:
        return
    READERS[data[0] % len(READERS)](data[1:])


def _message(data: bytes) -> None:
    with contextlib.suppress(BhavcastError):
        message = change.decode(data)
        assert change.decode(change.encode(message)) == message
        if all(field.COUNT > number >= 0 for each in message.changes for number in each.values):
            assert _followed(message) == _followed(change.hear(data))


def _followed(message: change.Message) -> list[change.RowImage]:
    """Return what a board makes of a message that is the next one."""
    board = Board(message.epoch, message.from_rev - 1)
    board.add(Instrument(symbol=each.symbol, id="X", name="X") for each in message.changes)
    board.follow(msgspec.structs.replace(message, instruments=[]))
    return [row.image() for row in board.order]


def _snapshot(data: bytes) -> None:
    with contextlib.suppress(BhavcastError):
        snapshot = change.decode_snapshot(data)
        assert change.decode_snapshot(change.encode(snapshot)) == snapshot


def _opening(data: bytes) -> None:
    with contextlib.suppress(BhavcastError):
        layout.decode_opening(data)


def _pointer(data: bytes) -> None:
    found = layout.unpack_pointer(data)
    assert found is None or layout.unpack_pointer(found.pack()) == found


def _records(data: bytes) -> None:
    """Whatever was cut from a file, and however it is cut, the same records come out."""
    found = []
    for size in (len(data) or 1, 1):
        decoder = record.Decoder(record.JOURNAL)
        pieces: list[Any] = []
        try:
            for each in record.records((data[at : at + size] for at in range(0, len(data), size)), decoder):
                pieces.append(each)  # noqa: PERF402 - what came before the damage counts
        except BhavcastError as error:
            pieces.append(error.code)
        found.append(pieces)
    assert found[0] == found[1]


def _framed(data: bytes) -> None:
    """The same, with sums that are right: what is in a record."""
    _records(record.header(record.JOURNAL) + record.frame(data[0] or 1, data[1:]) if data else data)


def _client(data: bytes) -> None:
    for binary in (False, True):
        state = State(binary=binary)
        hello = msgspec.msgpack.encode({"t": "hello"}) if binary else '{"t":"hello"}'
        state.receive(hello)
        state.subscribe(["500325", "group:A"])
        sent: list[bytes | str] = [data] if binary else [line.decode("utf-8", "replace") for line in data.split(b"\n")]
        for frame in sent:
            with contextlib.suppress(BadFrame):
                state.receive(frame)
        state.disconnected()
        state.receive(hello)
        assert state.outgoing()
        assert all(type(quote["rev"]) is int for quote in state.quotes.values())


def _frames(data: bytes) -> None:
    with contextlib.suppress(BadFrame):
        frames.read(data)


def _asked(data: bytes) -> None:
    for binary in (False, True):
        with contextlib.suppress(BhavcastError):
            protocol.read(data, binary=binary)
        protocol.message_id(data, binary=binary)


READERS: Final = (_message, _snapshot, _opening, _pointer, _records, _framed, _client, _frames, _asked)
TARGETS: Final[dict[str, Callable[[bytes], None]]] = {"http": http, "websocket": websocket, "codecs": codecs}
