"""`bhavcast up`: the whole system in one process, until it is told to stop."""

import asyncio
import gc
import signal
import socket
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import structlog
import uvicorn

from bhavcast.access.audit import AuditLog
from bhavcast.access.keyring import Keyring
from bhavcast.app.access import doorkeeper, refuse_open_house
from bhavcast.app.build import Parts, build
from bhavcast.app.config import Config
from bhavcast.app.control import LineControl
from bhavcast.app.keys import KeyWatch, open_keyring
from bhavcast.app.tls import Certificate, certificate
from bhavcast.board.board import Board
from bhavcast.domain.calendar import ist
from bhavcast.domain.errors import Unavailable
from bhavcast.flow import ingest, keep_appointments, recover, relay, roll
from bhavcast.gateway import connection, pages
from bhavcast.gateway.access_log import AccessLog
from bhavcast.gateway.edge import SECURITY_HEADERS, STRICT_TRANSPORT, Edge, Gate, header_lines, host_name
from bhavcast.gateway.gateway import Gateway
from bhavcast.gateway.server import GatewayServer, Quiet
from bhavcast.journal import archive
from bhavcast.telemetry import log as logs
from bhavcast.telemetry.metrics import HttpCounters, Sample

log = structlog.get_logger()

IDLE_S: Final = 0.25
ARCHIVE_S: Final = 1.0
# How long the greeting waits for the source's first words, and how often it looks.
WORDS_WITHIN_S: Final = 10.0
LOOK_S: Final = 0.05
PAGE_URL_BYTES: Final = 4096
# Most of what lives here lives long: rows, instruments, code. Looking through it for cycles at every 700 allocations
# would stop the loop for nothing.
GC_THRESHOLD: Final = (50_000, 50, 50)


def run(config: Config) -> int:
    """Run everything that the configuration asks for; return the exit code."""
    logs.configure(config.log_format, config.log_level)
    keyring = open_keyring(config)
    refuse_open_house(config, keyring)
    tls = certificate(config)
    parts = build(config)
    listeners = [listen(config.host, config.port, "port"), listen(config.host, config.frontend_port, "frontend_port")]
    try:
        with asyncio.Runner(loop_factory=loop_factory(config.gateway.loop)) as runner:
            return runner.run(_main(parts, keyring, tls, *listeners))
    finally:
        parts.journal.close()
        parts.lease.release()


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the event loop of that name; None for asyncio's own, also where uvloop does not run."""
    if name == "asyncio":
        return None
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def listen(host: str, port: int, setting: str) -> socket.socket:
    """Open a listening socket; `setting` names the port in the error."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        refused = Unavailable(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another with --{setting.replace('_', '-')}",
            field=setting,
        )
        refused.retry_after = None
        raise refused from error
    listener.listen(4096)
    listener.setblocking(False)
    return listener


async def _main(
    parts: Parts,
    keyring: Keyring,
    tls: Certificate | None,
    gateway_socket: socket.socket,
    frontend_socket: socket.socket,
) -> int:
    config = parts.config
    port, frontend_port = gateway_socket.getsockname()[1], frontend_socket.getsockname()[1]
    url, frontend_url = (url_of(config.host, each, tls=tls is not None) for each in (port, frontend_port))
    gate = Gate(hosts(config), config.allowed_origins, frontend_port=frontend_port)
    gateway = Gateway(
        replica=Board(),
        clock=parts.clock,
        market=parts.market,
        limits=config.limits,
        heartbeat_ms=config.heartbeat_ms,
        keeper=doorkeeper(config, keyring, parts.clock),
    )
    served = pages.load()
    accesses = AccessLog(enabled=config.access_log)
    server = GatewayServer(
        gateway,
        gateway_socket,
        gate,
        served,
        lambda: _samples(parts),
        hot_path=config.gateway.hot_path,
        kite_api=config.kite.enabled,
        access_log=accesses,
        control=LineControl(parts.line),
        record=AuditLog(config.data, parts.clock).record,
        tls=None if tls is None else tls.context,
    )
    frontend = frontend_server(frontend_socket, gate, served, located(config, port), tls, accesses)
    await recover(parts.line, parts.recovery, parts.writer)
    stop = stop_on_signals()
    tasks = {
        "ingest": _ingest(parts),
        "relay": relay(parts.bus, gateway.replica, gateway),
        "gateway": server.run(),
        "sync": _sync(parts),
        "archive": _archive(parts),
        "frontend": frontend.serve(sockets=[frontend_socket]),
        "keys": KeyWatch(config, keyring).run(),
        "welcome": _welcome(parts, server, gateway.replica, url, frontend_url),
    }
    if tls is not None:
        tasks["certificate"] = tls.run()
    settle()
    try:
        return await _until(stop, tasks, server, frontend)
    finally:
        await parts.bus.close()  # with the rest said, and the lease given back


def settle() -> None:
    """Tell the garbage collector that what is here now stays, and to look for cycles less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)


async def _ingest(parts: Parts) -> None:
    await ingest(parts.line)
    log.info("the source has nothing more to give; its last state stands", source=parts.line.feed.source.name)
    while True:
        await asyncio.sleep(IDLE_S)
        await roll(parts.line)
        await keep_appointments(parts.line)


async def _sync(parts: Parts) -> None:
    """Make the journal survive a power cut too, beside the loop: a disk takes its time.

    One thread of its own, so that a slow disk delays nothing that waits for a thread.
    """
    with ThreadPoolExecutor(1, "fsync") as disk:
        while True:
            await asyncio.sleep(parts.config.journal.fsync_ms / 1000)
            await asyncio.get_running_loop().run_in_executor(disk, parts.journal.sync)


async def _archive(parts: Parts) -> None:
    """Seal the journals of epochs that are over and remove what is too old, beside the loop, whenever one has begun."""
    settings, stopping, seen = parts.config.journal, threading.Event(), None

    def tidy(current: Path) -> archive.Tidied:
        keep = {"keep_days": settings.keep_days, "keep_bytes": settings.keep_bytes}
        return archive.tidy(current, parts.clock.wall_ms(), **keep, stopped=stopping.is_set)

    with ThreadPoolExecutor(1, "archive") as disk:
        try:
            while True:
                if (current := parts.journal.path) is not None and current != seen:
                    seen = current
                    tidied = await asyncio.get_running_loop().run_in_executor(disk, tidy, current)
                    log.info("journals tidied", **tidied._asdict())
                await asyncio.sleep(ARCHIVE_S)
        finally:
            stopping.set()


async def _until(
    stop: asyncio.Event, work: dict[str, Coroutine[Any, Any, None]], server: GatewayServer, frontend: uvicorn.Server
) -> int:
    """Run until a signal comes or a part that must not end does; stop the others in order."""
    tasks = {asyncio.create_task(each, name=name) for name, each in work.items()}
    waiting = asyncio.create_task(stop.wait(), name="stop")
    code, pending = 0, {*tasks, waiting}
    while waiting in pending and code == 0:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {waiting}:
            if task.get_name() != "welcome" or task.exception() is not None:
                log.error("a part ended that must not", part=task.get_name(), exc_info=task.exception())
                code = 1
    await server.stop()
    frontend.should_exit = True
    for task in tasks:
        if task.get_name() in ("ingest", "relay", "sync", "archive", "keys", "certificate", "welcome"):
            task.cancel()
    waiting.cancel()
    await asyncio.gather(*tasks, waiting, return_exceptions=True)
    return code


def stop_on_signals() -> asyncio.Event:
    """Return an event that SIGINT and SIGTERM set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop


def frontend_server(
    listener: socket.socket,
    gate: Gate,
    served: dict[str, pages.Page],
    gateway_url: Callable[[str, bool], str],
    tls: Certificate | None,
    accesses: AccessLog,
) -> uvicorn.Server:
    """Return the server of the pages alone."""
    counters = HttpCounters()
    edge = Edge(
        None, gate, counters, served, max_body=0, gateway_url=gateway_url, access_log=accesses, tls=tls is not None
    )
    constant = header_lines(SECURITY_HEADERS if tls is None else (*SECURITY_HEADERS, STRICT_TRANSPORT))
    return Quiet(
        uvicorn.Config(
            edge,
            http=connection.bind(counters, accesses, constant, max_url=PAGE_URL_BYTES),
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ssl_context_factory=None if tls is None else lambda _config, _default: tls.context,
            ws="none",
        )
    )


def url_of(host: str, port: int, *, tls: bool = False) -> str:
    """Return the address of what listens there."""
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def hosts(config: Config) -> list[str]:
    """Return the names that a Host header may carry besides loopback: the configured ones, and the address itself."""
    wildcard = config.host in ("0.0.0.0", "::")
    return [*config.allowed_hosts] if wildcard else [*config.allowed_hosts, config.host]


def located(config: Config, gateway_port: int) -> Callable[[str, bool], str]:
    """Return what tells a page its gateway's address: the public one, or the port beside it under the page's own name."""
    tls = config.tls.cert is not None

    def locate(host: str, _secure: bool) -> str:
        return config.public_url or url_of(host_name(host), gateway_port, tls=tls)

    return locate


async def _first_words(replica: Board) -> int:
    """Wait until the source has said how everything stands, though not for ever; return how many scrips have a quote."""
    spoken = -1
    for _ in range(int(WORDS_WITHIN_S / LOOK_S)):
        before, spoken = spoken, sum(row.has_data and not row.hidden for row in replica.order)
        if spoken and spoken == before:
            break
        await asyncio.sleep(LOOK_S)
    return spoken


async def _welcome(parts: Parts, server: GatewayServer, replica: Board, url: str, frontend_url: str) -> None:
    while not server.started:  # noqa: ASYNC110 - uvicorn tells it by a flag
        await asyncio.sleep(0.01)
    spoken = await _first_words(replica)
    print(_greeting(parts, spoken, url, frontend_url), file=sys.stderr, flush=True)  # noqa: T201 - the one thing a person waits for


def _greeting(parts: Parts, spoken: int, url: str, frontend_url: str) -> str:
    line, config = parts.line, parts.config
    market = line.market
    lines = [
        f"Bhavcast is up: {len(line.board.order) - 1:,} scrips and indices from {line.feed.source.name}",
        f"  page       {url}/",
        f"  frontend   {frontend_url}/",
        f"  quote      curl {url}/api/stock/RELIANCE",
        f"  stream     {url.replace('http', 'ws', 1)}/ws",
        f"  reference  {url}/docs",
        f"  monitor    not part of this version (port {config.monitor_port} stays free)",
    ]
    if market.virtual:
        speed = "" if market.speed == 1 else f" at {market.speed:g} × real time"
        lines.append(
            f"  market     virtual clock, now {_clock_text(market.now_ms())} IST{speed}; {_WHAT[line.feed.source.mode]}"
        )
    if not spoken:
        lines.append("  quotes     none yet: the source has not spoken; until then a quote answers 503 no_data_yet")
    lines.append("Ctrl-C stops it.")
    return "\n".join(lines)


_WHAT: Final = {
    "sim": "simulated, not real prices",
    "replay": "a recorded day, not the present one",
    "eod": "an official day after its close",
    "real": "real prices",
    "delayed": "delayed prices",
}


def _clock_text(ms: int) -> str:
    return f"{ist(ms):%a %d %b %Y %H:%M:%S}"


def _samples(parts: Parts) -> dict[str, list[Sample]]:
    line, guard = parts.line, parts.line.guard
    board = line.board
    lag = max(0, line.market.now_ms() - line.last_said) / 1000
    return {
        "bhavcast_ticks_total": [((line.feed.source.name,), float(line.ticks))],
        "bhavcast_late_ticks_total": [((), float(guard.late))],
        "bhavcast_duplicate_ticks_total": [((), float(guard.duplicates))],
        "bhavcast_quarantined": [((), float(len(guard.quarantine)))],
        "bhavcast_bus_lag_seconds": [((), lag)],
        "bhavcast_journal_bytes": [((), float(parts.journal.size))],
        "bhavcast_journal_failing": [((), float(parts.journal.failing is not None))],
        "bhavcast_journal_lost_total": [((), float(parts.journal.lost))],
        "bhavcast_journal_synced_rev": [((), float(parts.journal.synced_rev))],
        "bhavcast_scrips": [((), float(len(board.order)))],
        "bhavcast_orphan": [((), float(line.orphan is not None))],
        **{f"bhavcast_{name}": [((), float(count))] for name, count in parts.bus.counts().items()},
    }
