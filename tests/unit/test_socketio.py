"""A Socket.IO conversation without sockets or a loop: what is held across epochs."""

from collections.abc import Callable

import msgspec
import pytest

from bhavcast.access.doorkeeper import Whence
from bhavcast.app.config import Limits
from bhavcast.board.board import Board
from bhavcast.domain import field
from bhavcast.domain.instrument import Instrument
from bhavcast.gateway import socketio
from bhavcast.gateway.engineio import unframed
from bhavcast.gateway.gateway import Gateway
from bhavcast.gateway.socketio import SocketIo
from bhavcast.telemetry.clock import ManualClock, MarketClock

EPOCH = "20261123T0345Z-0000000000000001"
OTHER = "20261124T0345Z-0000000000000002"


class Engine:
    """Implements hub.port.Sink; keeps the packets."""

    wire = -1
    full = False
    sid = "a-session"
    transport = "websocket"

    def __init__(self) -> None:
        self.packets: list[bytes] = []

    def send(self, *parts: bytes, pos: str | None = None) -> None:
        self.packets += unframed(b"".join(parts))

    def buffered(self) -> int:
        return 0

    def beat(self, now: float) -> None: ...

    def close(self, code: int, reason: str) -> None:
        raise AssertionError(reason)

    def updates(self) -> list[str]:
        """Return the symbols of the updates so far, and forget them."""
        told, self.packets = [msgspec.json.decode(packet[2:]) for packet in self.packets], []
        return [content["data"]["symbol"] for name, content in told if name == "stock_update"]


class Place:
    """A gateway and what it hears; what it does later is done when it is told to."""

    def __init__(self) -> None:
        clock = ManualClock()
        self.due: list[Callable[[], None]] = []
        self.gateway = Gateway(
            replica=Board(),
            clock=clock,
            market=MarketClock(clock),
            limits=Limits(),
            later=lambda _, call: self.due.append(call),
        )
        self.gateway.dialects[socketio.DIALECT] = socketio.stock_update
        self.engine = Engine()
        self.begin(EPOCH, "500001", "500002", "500003", "500004")
        visitor = self.gateway.door.stranger(Whence("127.0.0.1"))
        self.conversation = SocketIo(self.gateway, self.engine, visitor=visitor)  # type: ignore[arg-type]  # as much as it uses
        self.conversation.receive(b"0")

    def begin(self, epoch: str, *symbols: str) -> None:
        self.writer = Board(epoch, self.gateway.replica.rev + 1, 1)
        for row in self.writer.add(Instrument(symbol=symbol, id=symbol, name=symbol) for symbol in symbols):
            self.writer.put(row, {field.TIMESTAMP: 1, field.CURRENT_PRICE: 1})
        self.writer.seal(1)
        self.gateway.replica.load(self.writer.snapshot(1))
        self.gateway.restart(planned=True)

    def price(self, number: int) -> None:
        """Give every scrip a price, and flush."""
        changes = [
            change for row in self.writer.order if (change := self.writer.put(row, {field.CURRENT_PRICE: number}))
        ]
        message = self.writer.seal(1, changes=changes)
        self.gateway.hear(self.gateway.replica.follow(message), message)
        for cohort in self.gateway.hub.cohorts:
            list(cohort.flush(0.0))

    def say(self, event: str, *symbols: str) -> None:
        self.conversation.receive(b"2" + msgspec.json.encode((event, {"symbols": symbols})))


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.mark.parametrize("event", ["subscribe", "unsubscribe"])
def test_who_subscribes_between_a_new_epoch_and_its_snapshot_hears_of_what_it_named_and_nothing_else(place, event):
    place.say("subscribe", "500002", "500004", "500001")
    place.begin(OTHER, "500003", "500001", "500002")  # one is gone, and the others have other slots
    place.say(event, "500001")
    held = {"500002"} | ({"500001"} if event == "subscribe" else set())
    assert place.gateway.interest() == held
    place.engine.packets.clear()
    place.price(2)
    assert set(place.engine.updates()) == held
    for call in place.due:
        call()
    place.engine.packets.clear()
    place.price(3)
    assert set(place.engine.updates()) == held
    assert place.gateway.interest() == held
