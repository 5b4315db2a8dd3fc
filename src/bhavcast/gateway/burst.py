"""Slices of a flush sent past asyncio's transports, in C where that is compiled (_burst.c); hub.burst is the Python of it."""

from bhavcast.gateway.websocket import WebSocket
from bhavcast.hub import burst
from bhavcast.hub.burst import Flush, Turn
from bhavcast.hub.outbox import Outbox

try:
    from bhavcast.gateway import _burst

    IN_C = True
except ImportError:
    IN_C = False


def send(turn: Turn, flush: Flush) -> list[Outbox]:
    """Send each client its rows in one frame; return those for whom there was nothing.

    A wire that holds unsent bytes, or encrypts, or is no WebSocket, gets its frame by its own way.
    """
    if not IN_C:
        return burst.send(turn, flush)
    idle: list[Outbox] = []
    wires = [(outbox.sink.direct(), packed) for outbox, packed in turn]
    for index, rest in _burst.send(wires, flush.rows, flush.before, flush.after, flush.binary):
        outbox = turn[index][0]
        if rest is None:
            idle.append(outbox)
        elif rest:
            assert isinstance(outbox.sink, WebSocket), "no other has a descriptor"
            outbox.sink.write(rest)
        else:
            idle += burst.send([turn[index]], flush)
    return idle
