"""Slices of a flush sent past asyncio's transports, in C where that is compiled (_burst.c); hub.burst is the Python of it."""

from types import ModuleType

from bhavcast.gateway.websocket import WebSocket
from bhavcast.hub import burst
from bhavcast.hub.burst import Flush, Turn
from bhavcast.hub.outbox import Outbox

_c: ModuleType | None
try:
    from bhavcast.gateway import _burst as _c  # type: ignore[attr-defined,no-redef]  # compiled into the wheel, or not
except ImportError:
    _c = None


def send(turn: Turn, flush: Flush) -> list[Outbox]:
    """Send each client its rows in one frame; return those for whom there was nothing.

    A wire that holds unsent bytes, or encrypts, gets its frame by the transport.
    """
    if _c is None:
        return burst.send(turn, flush)
    wires: list[tuple[int, bytes]] = []
    taken: list[WebSocket] = []
    outboxes: list[Outbox] = []
    others: Turn = []
    for outbox, packed in turn:
        sink = outbox.sink
        if isinstance(sink, WebSocket) and (descriptor := sink.direct()) >= 0:
            wires.append((descriptor, packed))
            taken.append(sink)
            outboxes.append(outbox)
        else:
            others.append((outbox, packed))
    idle = burst.send(others, flush)
    for index, rest in _c.send(wires, flush.rows, flush.before, flush.after, flush.binary):
        if rest is None:
            idle.append(outboxes[index])
        else:
            taken[index].write(rest)
    return idle
