"""The servers: of a gateway, and of the pages alone."""

import asyncio
import socket
from collections.abc import Callable
from typing import Final

import uvicorn

from bhavcast.access.audit import AuditLog
from bhavcast.access.keyring import Keyring
from bhavcast.app.access import doorkeeper
from bhavcast.app.config import Config
from bhavcast.app.listening import url_of
from bhavcast.app.tls import Certificate
from bhavcast.board.board import Board
from bhavcast.bus.port import Bus
from bhavcast.domain.calendar import ist
from bhavcast.gateway import connection, pages
from bhavcast.gateway.access_log import AccessLog
from bhavcast.gateway.control import Control
from bhavcast.gateway.edge import SECURITY_HEADERS, STRICT_TRANSPORT, Edge, Gate, header_lines, host_name
from bhavcast.gateway.gateway import Gateway
from bhavcast.gateway.server import GatewayServer, Quiet
from bhavcast.telemetry.clock import Clock, MarketClock
from bhavcast.telemetry.metrics import HttpCounters, Sample

PAGE_URL_BYTES: Final = 4096
# How long the greeting waits for the source's first words, and how often it looks.
WORDS_WITHIN_S: Final = 10.0
LOOK_S: Final = 0.05


def make_gateway(config: Config, keyring: Keyring, clock: Clock, market: MarketClock) -> Gateway:
    """Return a gateway without a board yet."""
    return Gateway(
        replica=Board(),
        clock=clock,
        market=market,
        limits=config.limits,
        heartbeat_ms=config.heartbeat_ms,
        keeper=doorkeeper(config, keyring, clock),
    )


def gateway_server(
    config: Config,
    gateway: Gateway,
    listener: socket.socket,
    gate: Gate,
    served: dict[str, pages.Page],
    accesses: AccessLog,
    tls: Certificate | None,
    bus: Bus,
    control: Control | None = None,
) -> GatewayServer:
    """Return the server of a gateway."""
    return GatewayServer(
        gateway,
        listener,
        gate,
        served,
        lambda: _of_bus(gateway, bus),
        hot_path=config.gateway.hot_path,
        kite_api=config.kite.enabled,
        access_log=accesses,
        control=control,
        record=AuditLog(config.data, gateway.clock).record,
        tls=None if tls is None else tls.context,
    )


def _of_bus(gateway: Gateway, bus: Bus) -> dict[str, list[Sample]]:
    """Return what both ends of the bus have counted: each counts nothing of what only the other does."""
    here, there = bus.counts(), gateway.fact("ingest").get("bus", {})
    return {f"bhavcast_{name}": [((), here.get(name, 0.0) + there.get(name, 0.0))] for name in {**here, **there}}


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


async def summary(gateway: Gateway) -> str:
    """Say what there is, in parts divided by ` | `: the board, which time it is where that is not the real one, and more."""
    spoken = await _first_words(gateway)
    # Asked after it: a new epoch begins with its rows, and the facts of the one before are gone.
    feeds, market = gateway.fact("feeds"), gateway.market
    told = [f"{len(gateway.everyone()):,} scrips and indices from {', '.join(feeds) or 'a source that has not begun'}"]
    if market.virtual:
        speed = "" if market.speed == 1 else f" at {market.speed:g} × real time"
        modes = "".join(f"; {_WHAT[feed['mode']]}" for feed in feeds.values())
        told.append(f"market     virtual clock, now {_clock_text(market.now_ms())} IST{speed}{modes}")
    if not spoken:
        told.append("quotes     none yet: the source has not spoken; until then a quote answers 503 no_data_yet")
    return " | ".join(told)


async def _first_words(gateway: Gateway) -> int:
    """Wait until a source has said how everything stands, though not for ever; return how many scrips have a quote."""
    spoken = -1
    for _ in range(int(WORDS_WITHIN_S / LOOK_S)):
        before, spoken = spoken, sum(row.has_data and not row.hidden for row in gateway.replica.order)
        if spoken and spoken == before and gateway.fact("feeds"):
            break
        await asyncio.sleep(LOOK_S)
    return spoken


_WHAT: Final = {
    "sim": "simulated, not real prices",
    "replay": "a recorded day, not the present one",
    "eod": "an official day after its close",
    "real": "real prices",
    "delayed": "delayed prices",
}


def _clock_text(ms: int) -> str:
    return f"{ist(ms):%a %d %b %Y %H:%M:%S}"
