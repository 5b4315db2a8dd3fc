"""`bhavcast serve`: one role in a process of its own."""

import asyncio
import socket

import structlog

from bhavcast.app.config import Config
from bhavcast.app.up import frontend_server, listen, loop_factory, stop_on_signals, url_of
from bhavcast.domain.errors import BadConfig
from bhavcast.gateway import pages
from bhavcast.gateway.edge import Gate
from bhavcast.telemetry import log as logs

log = structlog.get_logger()


def run(role: str, config: Config) -> int:
    """Serve one role until it is told to stop; return the exit code."""
    if role != "frontend":
        raise BadConfig(f"{role} cannot be served alone: it shares the process of bhavcast up", field="role")
    logs.configure(config.log_format, config.log_level)
    listener = listen(config.host, config.frontend_port, "frontend_port")
    with asyncio.Runner(loop_factory=loop_factory(config.gateway.loop)) as runner:
        return runner.run(_frontend(config, listener))


async def _frontend(config: Config, listener: socket.socket) -> int:
    gateway = url_of(config.host, config.port)
    served = pages.load() | {"/config.json": pages.config_page(gateway)}
    server = frontend_server(listener, Gate(config.allowed_hosts, config.allowed_origins), served, gateway)
    log.info("the frontend is up", url=url_of(config.host, listener.getsockname()[1]), gateway=gateway)
    stop = stop_on_signals()
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    waiting = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    ended_alone = not stop.is_set()
    server.should_exit = True
    waiting.cancel()
    await asyncio.gather(serving, waiting, return_exceptions=True)
    return int(ended_alone)
