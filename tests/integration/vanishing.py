"""A network whose cable can be pulled: run in a network namespace of its own, it prints how many connections are left.

    unshare --user --map-root-user --net python -m tests.integration.vanishing 2

Clients of every kind connect, the only interface goes down, and neither side hears another word of the other: no FIN, no
RST. The argument is `connection.GONE_S`, in seconds.
"""

import asyncio
import contextlib
import fcntl
import json
import socket
import struct
import sys

from websockets.asyncio.client import connect

from bhavcast.gateway import connection
from tests.integration.venue import Venue, request
from tests.waiting import until

_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 1  # SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP


def loopback(*, up: bool) -> None:
    """Plug the loopback interface in, or pull it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        found = fcntl.ioctl(any_socket, _GET_FLAGS, struct.pack("16sH14x", b"lo", 0))
        (flags,) = struct.unpack_from("H", found, 16)
        flags = flags | _UP if up else flags & ~_UP
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sH14x", b"lo", flags))


async def main() -> dict[str, object]:
    """Return how many were there, and how many are still."""
    async with contextlib.AsyncExitStack() as all_of_it:
        venue = await all_of_it.enter_async_context(Venue(kite_api=True))
        address = venue.url.replace("http", "ws", 1)
        for path in ("/ws", "/kite", "/socket.io/?EIO=4&transport=websocket"):
            wire = await connect(address + path, proxy=None, ping_interval=None, close_timeout=0.1)
            all_of_it.push_async_callback(wire.wait_closed)
            all_of_it.callback(wire.transport.abort)
        begun = {
            "events": request("/api/stream?symbols=500325"),
            "poll": request("/socket.io/?EIO=4&transport=polling"),
            "half a head": b"GET / HTTP/1.1\r\nHost: loc",
            "idle": request("/api/stock/500325"),
        }
        for data in begun.values():
            line = await all_of_it.enter_async_context(venue.line())
            await line.send(data)
        connections, members = venue.server._server.server_state.connections, venue.gateway.members
        await until(lambda: len(connections) == 7 and len(members) == 5)
        there = [len(connections), len(members)]
        loopback(up=False)
        await until(lambda: not connections and len(members) == 1)  # a session that polls has no connection of its own
        left = [len(connections), len(members)]
        loopback(up=True)
        return {"there": there, "left": left}


if __name__ == "__main__":
    connection.GONE_S = int(sys.argv[1])  # type: ignore[misc]  # half a minute is long for a test
    loopback(up=True)
    print(json.dumps(asyncio.run(main())))
