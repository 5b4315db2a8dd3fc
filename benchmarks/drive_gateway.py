"""Run the gateway of the product alone, reading a played bus.

python -m benchmarks.drive_gateway socket=/tmp/x|bus=unix:///tmp/x port=5000 hot_path=True loop=uvloop sockets=12000 expired=TEXT

`expired`: a key that is known, and over; who shows none may read all the same.
"""

import asyncio
import importlib
import socket
import sys

from benchmarks.bus import PlayedBus
from benchmarks.market import START_MS
from bhavcast.access.allowance import Allowance
from bhavcast.access.doorkeeper import Doorkeeper
from bhavcast.access.keyring import Keyring
from bhavcast.app.config import Limits
from bhavcast.app.process import settle
from bhavcast.board.board import Board
from bhavcast.bus.address import Address
from bhavcast.bus.port import Bus
from bhavcast.bus.redis import RedisBus
from bhavcast.domain.access import Key, digest
from bhavcast.flow import relay
from bhavcast.gateway.edge import Gate
from bhavcast.gateway.gateway import Gateway
from bhavcast.gateway.server import GatewayServer
from bhavcast.telemetry.clock import MarketClock, SystemClock

UNLIMITED = Allowance(
    requests_per_second=10_000_000, requests_burst=10_000_000, streams_per_key=1_000_000, streams_per_address=1_000_000
)


async def serve(bus: Bus, port: int, limits: Limits, keys: list[Key], *, hot_path: bool) -> None:
    """Serve until killed; the port is opened once the board is there."""
    clock = SystemClock()
    # Everything is asked and counted as ever; only the limit is out of reach.
    keeper = Doorkeeper(Keyring(keys), clock, allowance=UNLIMITED, anonymous_read="any" if keys else "loopback")
    gateway = Gateway(Board(), clock, MarketClock(clock, start_ms=START_MS), limits, keeper=keeper)
    reading = asyncio.create_task(relay(bus, gateway.replica, gateway))
    while not gateway.ready:
        await asyncio.sleep(0.01)
        if reading.done():
            reading.result()
    settle()
    with socket.create_server(("127.0.0.1", port), backlog=4096) as listener:
        server = GatewayServer(gateway, listener, Gate((), ()), {}, dict, hot_path=hot_path)
        serving = asyncio.create_task(server.run())
        await asyncio.wait([reading, serving], return_when=asyncio.FIRST_COMPLETED)
        for task in (reading, serving):
            if task.done():
                task.result()


def main(arguments: list[str]) -> None:
    """Run on the event loop that was asked for."""
    given = {"hot_path": "True", "loop": "uvloop"} | dict(argument.split("=", 1) for argument in arguments)
    factory = importlib.import_module("uvloop").new_event_loop if given["loop"] == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        bus = RedisBus(Address.parse(given["bus"]), SystemClock()) if "bus" in given else PlayedBus(given["socket"])
        limits = Limits(sockets=int(given["sockets"])) if "sockets" in given else Limits()
        over = [given["expired"]] if "expired" in given else []
        keys = [Key(id="1", name="over", role="viewer", sha256=digest(each), created=0, expires=1) for each in over]
        runner.run(serve(bus, int(given["port"]), limits, keys, hot_path=given["hot_path"] == "True"))


if __name__ == "__main__":
    main(sys.argv[1:])
