"""Slices of a flush sent past asyncio's transports, in C where that is compiled (_burst.c); hub.burst is the Python of it."""

from bhavcast.gateway.websocket import WebSocket
from bhavcast.hub import burst
from bhavcast.hub.burst import COST, OWN_COST, Flush
from bhavcast.hub.outbox import Outbox

try:
    from bhavcast.gateway import _burst

    IN_C = True
except ImportError:
    IN_C = False


def send(unreached: set[Outbox], flush: Flush, now: float, budget: int) -> tuple[int, list[Outbox]]:
    """Take clients out of the set and send each its rows in one frame, until so many bytes are spent.

    Return the number of frames, and whom no such frame can be sent to. A wire that holds unsent bytes, or encrypts, or
    speaks otherwise, gets its frame by its own way.
    """
    if not IN_C:
        return burst.send(unreached, flush, now, budget)
    frames, left, unsent = _burst.send(unreached, flush, now, budget, COST, OWN_COST)
    asked = set()
    for outbox, rest in unsent:
        sink = outbox.sink
        if rest is not None:
            assert isinstance(sink, WebSocket), "no other has a wire"
            sink.write(rest)
        elif isinstance(sink, WebSocket) and sink.look():
            unreached.add(outbox)
        else:
            asked.add(outbox)
    more, full = burst.send(asked, flush, now, budget)
    unreached |= asked
    return frames + more, left + full
