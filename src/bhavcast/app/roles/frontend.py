"""The pages alone."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from bhavcast.app.config import Config
from bhavcast.app.listening import listen, url_of
from bhavcast.app.notify import notify
from bhavcast.app.process import reload_on_hangup, stop_on_signals, until
from bhavcast.app.servers import frontend_server, hosts, located
from bhavcast.app.tls import certificate
from bhavcast.gateway import pages
from bhavcast.gateway.access_log import AccessLog
from bhavcast.gateway.edge import Gate

log = structlog.get_logger()

POLL_S: Final = 0.01


async def serve(config: Config, reread: Callable[[], Config]) -> int:
    """Serve until told to stop; return the exit code."""
    stop = stop_on_signals()
    tls = certificate(config)
    reload_on_hangup(reread, *([] if tls is None else [tls.look]))
    listener = listen(config.host, config.frontend_port, "frontend_port")
    gate, accesses = Gate(hosts(config), config.allowed_origins), AccessLog(enabled=config.access_log)
    server = frontend_server(listener, gate, pages.load(), located(config, config.port), tls, accesses)
    own = url_of(config.host, listener.getsockname()[1], tls=tls is not None)

    async def welcome() -> None:
        while not server.started:  # noqa: ASYNC110 - uvicorn tells it by a flag
            await asyncio.sleep(POLL_S)
        log.info("the frontend is up", url=own, gateway=config.public_url or f"port {config.port}")
        notify(READY="1", STATUS=own)

    async def finish() -> None:
        notify(STOPPING="1")
        server.should_exit = True

    work = {"frontend": server.serve(sockets=[listener]), "accesses": accesses.run(), "welcome": welcome()}
    if tls is not None:
        work["certificate"] = tls.run()
    return await until(stop, work, finish)
