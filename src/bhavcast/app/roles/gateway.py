"""One of those that answer."""

import asyncio
import contextlib
import functools
from collections.abc import Callable
from typing import Final

import structlog

from bhavcast.app import supervise
from bhavcast.app.access import refuse_open_house
from bhavcast.app.bus import choose_bus
from bhavcast.app.config import Config
from bhavcast.app.control_socket import SocketControl
from bhavcast.app.keys import KeyWatch, open_keyring
from bhavcast.app.listening import bind, listening, url_of
from bhavcast.app.notify import notify
from bhavcast.app.process import reload_on_hangup, settle, stop_on_signals, until
from bhavcast.app.servers import gateway_server, hosts, make_gateway, summary
from bhavcast.app.tls import certificate
from bhavcast.bus.embedded import run_folder
from bhavcast.flow import relay
from bhavcast.gateway import pages
from bhavcast.gateway.access_log import AccessLog
from bhavcast.gateway.edge import Gate
from bhavcast.gateway.gateway import Gateway
from bhavcast.gateway.timekeeper import Timekeeper
from bhavcast.telemetry.clock import MarketClock, SystemClock

log = structlog.get_logger()

POLL_S: Final = 0.01
WRITER_WITHIN_S: Final = 5.0


async def serve(config: Config, reread: Callable[[], Config]) -> int:
    """Serve until told to stop; return the exit code."""
    stop = stop_on_signals()
    keyring = open_keyring(config)
    refuse_open_house(config, keyring)
    tls, keys = certificate(config), KeyWatch(config, keyring)
    reload_on_hangup(reread, keys.look, *([] if tls is None else [tls.look]))
    shared = config.gateway.share_port
    bound = bind(config.host, config.port, "port", shared=shared)
    clock = SystemClock()
    bus, market = choose_bus(config, clock), MarketClock(clock)
    gateway = make_gateway(config, keyring, clock, market)
    if config.data.is_dir():  # one that runs alone may have none
        gateway.roles = functools.partial(supervise.read, run_folder(config.data))
    gate = Gate(hosts(config), config.allowed_origins, frontend_port=config.frontend_port)
    accesses = AccessLog(enabled=config.access_log)
    server = gateway_server(config, gateway, bound, gate, pages.load(), accesses, tls, bus, SocketControl(config.data))
    own = url_of(config.host, bound.getsockname()[1], tls=tls is not None)

    async def answer() -> None:
        # Where others share the port, who comes meanwhile is theirs; alone, it is better told that nothing is here yet.
        while shared and not gateway.fact("feeds"):  # noqa: ASYNC110 - as often as a person would notice
            await asyncio.sleep(POLL_S)
        listening(bound)
        await server.run()

    async def welcome() -> None:
        while not (server.started and gateway.fact("feeds")):  # noqa: ASYNC110 - uvicorn tells it by a flag
            await asyncio.sleep(POLL_S)
        await writer_speaks(gateway)
        settle()
        log.info("a gateway is up", url=own)
        notify(READY="1", STATUS=await summary(gateway))

    async def finish() -> None:
        notify(STOPPING="1")
        await server.stop()

    work = {
        "relay": relay(bus, gateway.replica, Timekeeper(gateway, gateway.replica, market)),
        "gateway": answer(),
        "keys": keys.run(),
        "welcome": welcome(),
    }
    if tls is not None:
        work["certificate"] = tls.run()
    try:
        return await until(stop, work, finish)
    finally:
        await bus.close()


async def writer_speaks(gateway: Gateway) -> None:
    """Wait for a word of the writer, though not for ever.

    What is on the bus at a start may be the board of a market that a writer starting beside this gateway is about to
    end: it is served meanwhile, and not what the whole system is said to have come up with.
    """
    first = gateway.position
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(WRITER_WITHIN_S):
            while gateway.position == first:  # noqa: ASYNC110 - as often as a person would notice
                await asyncio.sleep(POLL_S)
