"""`bhavcast up`: the whole system in one process, until it is told to stop."""

import asyncio
import socket
from collections.abc import Callable

from bhavcast.access.keyring import Keyring
from bhavcast.app.build import Parts, build
from bhavcast.app.config import Config
from bhavcast.app.control import LineControl
from bhavcast.app.greeting import greet
from bhavcast.app.keys import KeyWatch, open_keyring
from bhavcast.app.line import keep_archive, run_ingest, sync
from bhavcast.app.listening import listen, url_of
from bhavcast.app.process import loop_factory, reload_on_hangup, settle, stop_on_signals, until
from bhavcast.app.servers import frontend_server, gateway_server, hosts, located, make_gateway, summary
from bhavcast.app.tls import Certificate, certificate
from bhavcast.flow import recover, relay
from bhavcast.gateway import pages
from bhavcast.gateway.access_log import AccessLog
from bhavcast.gateway.edge import Gate
from bhavcast.gateway.gateway import Gateway
from bhavcast.gateway.server import GatewayServer


def run(config: Config, reread: Callable[[], Config]) -> int:
    """Run everything that the configuration asks for; return the exit code. `reread` reads the configuration again."""
    keyring = open_keyring(config)
    tls = certificate(config)
    parts = build(config)
    listeners = [listen(config.host, config.port, "port"), listen(config.host, config.frontend_port, "frontend_port")]
    try:
        with asyncio.Runner(loop_factory=loop_factory(config.gateway.loop)) as runner:
            return runner.run(_main(parts, reread, keyring, tls, *listeners))
    finally:
        parts.journal.close()
        parts.lease.release()


async def _main(
    parts: Parts,
    reread: Callable[[], Config],
    keyring: Keyring,
    tls: Certificate | None,
    gateway_socket: socket.socket,
    frontend_socket: socket.socket,
) -> int:
    config = parts.config
    port, frontend_port = gateway_socket.getsockname()[1], frontend_socket.getsockname()[1]
    url, frontend_url = (url_of(config.host, each, tls=tls is not None) for each in (port, frontend_port))
    gateway = make_gateway(config, keyring, parts.clock, parts.market)
    accesses = AccessLog(enabled=config.access_log)
    gate = Gate(hosts(config), config.allowed_origins, frontend_port=frontend_port)
    served = pages.load()
    server = gateway_server(
        config, gateway, gateway_socket, gate, served, accesses, tls, parts.bus, LineControl(parts.line)
    )
    frontend = frontend_server(frontend_socket, gate, served, located(config, port), tls, accesses)
    await recover(parts.line, parts.recovery, parts.writer)
    stop = stop_on_signals()
    keys = KeyWatch(config, keyring)
    reload_on_hangup(reread, keys.look, *([] if tls is None else [tls.look]))
    tasks = {
        "ingest": run_ingest(parts.line),
        "relay": relay(parts.bus, gateway.replica, gateway),
        "gateway": server.run(),
        "sync": sync(parts.journal, config.journal.fsync_ms),
        "archive": keep_archive(parts.journal, config.journal, parts.clock),
        "frontend": frontend.serve(sockets=[frontend_socket]),
        "keys": keys.run(),
        "welcome": _welcome(config, server, gateway, url, frontend_url),
    }
    if tls is not None:
        tasks["certificate"] = tls.run()

    async def finish() -> None:
        await server.stop()
        frontend.should_exit = True

    settle()
    try:
        return await until(stop, tasks, finish)
    finally:
        await parts.bus.close()


async def _welcome(config: Config, server: GatewayServer, gateway: Gateway, url: str, frontend_url: str) -> None:
    while not (server.started and gateway.fact("feeds")):  # noqa: ASYNC110 - uvicorn tells it by a flag
        await asyncio.sleep(0.01)
    greet(config, await summary(gateway), url, frontend_url)
