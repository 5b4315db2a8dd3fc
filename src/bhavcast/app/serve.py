"""`bhavcast serve`: one role in a process of its own."""

import asyncio
import socket

import structlog

from bhavcast.app.config import Config
from bhavcast.app.tls import Certificate, certificate
from bhavcast.app.up import frontend_server, hosts, listen, located, loop_factory, stop_on_signals, url_of
from bhavcast.domain.errors import BadConfig
from bhavcast.gateway import pages
from bhavcast.gateway.access_log import AccessLog
from bhavcast.gateway.edge import Gate
from bhavcast.telemetry import log as logs

log = structlog.get_logger()


def run(role: str, config: Config) -> int:
    """Serve one role until it is told to stop; return the exit code."""
    if role != "frontend":
        raise BadConfig(f"{role} cannot be served alone: it shares the process of bhavcast up", field="role")
    logs.configure(config.log_format, config.log_level)
    tls = certificate(config)
    listener = listen(config.host, config.frontend_port, "frontend_port")
    with asyncio.Runner(loop_factory=loop_factory(config.gateway.loop)) as runner:
        return runner.run(_frontend(config, tls, listener))


async def _frontend(config: Config, tls: Certificate | None, listener: socket.socket) -> int:
    gate, accesses = Gate(hosts(config), config.allowed_origins), AccessLog(enabled=config.access_log)
    server = frontend_server(listener, gate, pages.load(), located(config, config.port), tls, accesses)
    own = url_of(config.host, listener.getsockname()[1], tls=tls is not None)
    log.info("the frontend is up", url=own, gateway=config.public_url or f"port {config.port}")
    stop = stop_on_signals()
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    beside = [asyncio.create_task(accesses.run())]
    if tls is not None:
        beside.append(asyncio.create_task(tls.run()))
    waiting = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    ended_alone = not stop.is_set()
    server.should_exit = True
    waiting.cancel()
    for task in beside:
        task.cancel()
    await asyncio.gather(serving, waiting, *beside, return_exceptions=True)
    return int(ended_alone)
