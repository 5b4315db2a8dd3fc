"""The gateway as a server: uvicorn, with our HTTP protocol in front of the application and our WebSocket beside it."""

import asyncio
import contextlib
import random
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, NamedTuple

import structlog
import uvicorn
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from bhavcast.access.doorkeeper import Visitor
from bhavcast.domain.errors import BhavcastError, NoKey, UnknownRoute
from bhavcast.gateway import (
    burst,
    connection,
    engineio,
    hot,
    kite,
    kite_rest,
    kite_ticker,
    request_id,
    rest,
    socketio,
    sse,
)
from bhavcast.gateway.access_log import AccessLog
from bhavcast.gateway.close_codes import DRAINING
from bhavcast.gateway.control import Control
from bhavcast.gateway.doorstep import Doorstep
from bhavcast.gateway.edge import (
    SECURITY_HEADERS,
    STRICT_TRANSPORT,
    WEBSOCKET,
    App,
    Edge,
    Gate,
    Record,
    header_lines,
)
from bhavcast.gateway.gateway import Gateway
from bhavcast.gateway.pace import Pace
from bhavcast.gateway.pages import Page
from bhavcast.gateway.problems import OURS, Wording, Wordings
from bhavcast.gateway.session import Session
from bhavcast.gateway.websocket import REST, SLICE_S, Conversation, WebSocket, refusal
from bhavcast.telemetry.metrics import Exposition, HttpCounters, Sample

log = structlog.get_logger()

SWEEP_S: Final = 0.5
DRAIN_S: Final = 2.0
RETRY_MS: Final = 5000
KEEP_ALIVE_S: Final = 75


class Quiet(uvicorn.Server):
    """A uvicorn server that leaves signals to whoever runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class Endpoint(NamedTuple):
    """A protocol over WebSocket: how a conversation begins, and why a handshake is refused that is no fault of HTTP."""

    open: Callable[[WebSocket, Request, Visitor], Conversation]
    refuses: Callable[[Request], BhavcastError | None] = lambda _: None


def _path(request: Request) -> str:
    return request.path.partition("?")[0]


class GatewayServer:
    """Serves one gateway on one socket until told to stop."""

    def __init__(
        self,
        gateway: Gateway,
        listener: socket.socket,
        gate: Gate,
        pages: dict[str, Page],
        gauges: Callable[[], dict[str, list[Sample]]],
        *,
        hot_path: bool = True,
        kite_api: bool = False,
        access_log: AccessLog | None = None,
        control: Control | None = None,
        record: Record | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._gateway = gateway
        self._listener = listener
        if listener.family != socket.AF_UNIX:
            # Connections inherit it. asyncio sets it only where a socket names its protocol, which `create_server` does
            # not; without it an answer in two writes waits 40 ms for the client's delayed acknowledgement.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.notice_who_vanishes(listener)
        self._gate = gate
        self.counters = HttpCounters()
        self.accesses = access_log or AccessLog(enabled=False)
        self._gauges = gauges
        # Puts what the other gateways on this port have counted beside this one's figures; None where it is alone.
        self.beside: Callable[[bytes], Awaitable[bytes]] | None = None
        # What one client's messages may cost at a stretch, and how many times as long it is not listened to then.
        self.slice_s, self.rest = SLICE_S, float(REST)
        self._shares_port = bool(listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT))
        self._pace = Pace(gateway.hub)
        self._sent_away: asyncio.Task[None] | None = None
        if hot_path:
            gateway.hub.burst = burst.send
        limits = gateway.limits
        gateway.dialects[socketio.DIALECT] = socketio.stock_update
        engines = engineio.EngineServer(
            gateway, lambda engine, visitor: socketio.SocketIo(gateway, engine, visitor=visitor)
        )
        # Protocols that know no message with a key: who needs one shows it at the handshake, or is refused.
        self._endpoints = {engineio.PATH: Endpoint(engines.open, engines.refuses)}
        more: dict[str, App] = {}
        self._wordings: Wordings = {}
        if kite_api:
            tokens = kite.Tokens(gateway)
            gateway.dialects |= kite.Packets(tokens).dialects
            self._endpoints[kite_ticker.PATH] = Endpoint(
                lambda ws, _, visitor: kite_ticker.Ticker(gateway, tokens, ws, visitor=visitor)
            )
            more = kite_rest.routes(gateway, tokens) | {kite_ticker.PATH: kite_ticker.without_upgrade}
            self._wordings = dict.fromkeys(more, kite.WORDING)
        self.figures = Exposition(self.counters, self._samples).text
        app = rest.build(
            gateway, self._all_figures, max_body=limits.body_bytes, control=control, drain=self.begin_drain
        )
        edge = Edge(
            app,  # type: ignore[arg-type]  # ASGI by two descriptions
            gate,
            self.counters,
            pages,
            max_body=limits.body_bytes,
            door=gateway.door,
            access_log=self.accesses,
            record=record,
            streams={"/api/stream": sse.stream(gateway), engineio.PATH: engines.app},
            more=more,
            wordings=self._wordings,
            draining=lambda: gateway.draining,
            tls=tls is not None,
        )
        constant = header_lines(SECURITY_HEADERS if tls is None else (*SECURITY_HEADERS, STRICT_TRANSPORT))
        protocol: type[asyncio.Protocol]
        if hot_path:
            protocol = hot.bind(
                gateway,
                self.counters,
                self.accesses,
                gate.host_allowed,
                constant,
                max_url=limits.url_bytes,
                wordings=self._wordings,
            )
        else:
            protocol = connection.bind(
                self.counters, self.accesses, constant, max_url=limits.url_bytes, wordings=self._wordings
            )
        self._server = Quiet(
            uvicorn.Config(
                edge,
                http=connection.limited(protocol, limits.sockets, gateway.door.house_of),
                ws=self._websocket,  # type: ignore[arg-type]  # uvicorn calls it as a class
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # the doorkeeper decides whom to believe
                ssl_context_factory=None if tls is None else lambda _config, _default: tls,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=3,
                backlog=4096,
            )
        )

    async def run(self) -> None:
        """Serve until `stop`."""
        pace = asyncio.create_task(self._pace.run())
        sweep = asyncio.create_task(self._sweep())
        logging = asyncio.create_task(self.accesses.run())
        serve = asyncio.create_task(self._server.serve(sockets=[self._listener]))
        try:
            # Without its pace or its sweep a server only looks alive.
            await asyncio.wait((serve, pace, sweep), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._server.should_exit = True
            for task in (pace, sweep, logging):
                task.cancel()
            await asyncio.gather(serve, pace, sweep, logging, return_exceptions=True)
            self.accesses.flush()
        for task in (serve, pace, sweep):
            if not task.cancelled() and (fault := task.exception()) is not None:
                raise fault

    @property
    def started(self) -> bool:
        """Whether connections are accepted."""
        return self._server.started

    def begin_drain(self) -> int:
        """Send the streaming clients away, spread over the drain time, and answer nobody but those who ask for health.

        Return how many streams there were. It cannot be taken back: what comes next is `stop`.
        """
        count = len(self._gateway.members)
        if self._sent_away is None:
            self._gateway.drain()
            if self._shares_port and self.started:  # let the others have those who come now, rather than send them away
                for server in self._server.servers:
                    server.close()
            self._sent_away = asyncio.create_task(self._send_away())
        return count

    async def stop(self) -> None:
        """Drain, then end."""
        self.begin_drain()
        if self._sent_away is not None:
            await self._sent_away
        self._server.should_exit = True

    async def _send_away(self) -> None:
        members = list(self._gateway.members)
        slice_ = max(1, len(members) // 20)
        for start in range(0, len(members), slice_):
            for member in members[start : start + slice_]:
                member.send_away(DRAINING, random.randint(RETRY_MS // 5, RETRY_MS))
            await asyncio.sleep(DRAIN_S / 20 if len(members) > 20 else 0)

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            self._gateway.hub.sweep(loop.time())
            for count, member in enumerate(list(self._gateway.members), start=1):
                if member in self._gateway.members:  # not gone meanwhile
                    member.beat(loop.time())
                if count % 64 == 0:
                    await asyncio.sleep(0)

    # -- WebSocket --------------------------------------------------------------------------------------------------

    def _websocket(self, *, config: Any, server_state: Any, app_state: Any) -> WebSocket:
        who: list[tuple[Visitor, bool]] = []
        gateway = self._gateway
        messages = gateway.message_allowance()
        return WebSocket(
            open_session=lambda ws, request: self._open_session(ws, request, *who[0]),
            admit=lambda ws, request, transport: self._admit(ws, request, transport, who),
            wording=self._wording,
            connections=server_state.connections,
            max_bytes=gateway.limits.message_bytes,
            wait_ms=lambda: 0 if messages.take(gateway.clock.monotonic()) else messages.wait() * 1000,
            slice_s=self.slice_s,
            rest=self.rest,
        )

    def _open_session(self, ws: WebSocket, request: Request, visitor: Visitor, needs_key: bool) -> Conversation:
        if (endpoint := self._endpoints.get(_path(request))) is not None:
            return endpoint.open(ws, request, visitor)
        if needs_key:
            return Doorstep(self._gateway, ws, binary=ws.binary, stranger=visitor, let_in=self._tally)
        return Session(self._gateway, ws, binary=ws.binary, visitor=visitor)

    def _tally(self, visitor: Visitor) -> None:
        self.accesses.tally(WEBSOCKET, visitor.principal.name, 101).count += 1

    def _admit(
        self, ws: ServerProtocol, request: Request, transport: asyncio.Transport, who: list[tuple[Visitor, bool]]
    ) -> Response | None:
        """Return the response that refuses a handshake, or put who it is into `who`, and whether a key has to follow."""
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in request.headers.raw_items()
        ]
        peer = transport.get_extra_info("peername")
        address = peer[0] if isinstance(peer, tuple) else ""
        own_id = request_id.of(
            request.headers.get_all("X-Request-ID")[-1] if "X-Request-ID" in request.headers else None
        )
        refused = self._check(request)
        path = _path(request)
        route = path if path == WEBSOCKET or path in self._endpoints else "other"
        name = "-"
        if refused is None:
            try:
                door = self._gateway.door
                # Who shows no key where one is needed may show it as a message.
                if path == kite_ticker.PATH:
                    headers += kite_ticker.token(request)
                needs_key = path == WEBSOCKET and isinstance(door.look(headers, address), NoKey)
                visitor = door.stranger(door.whence(headers, address)) if needs_key else door.admit(headers, address)
                name = visitor.principal.name
                refused = door.take(visitor) or self._gateway.full_up() or door.full(visitor)
                who.append((visitor, needs_key))
            except BhavcastError as error:
                refused = error
        if refused is None:
            self.accesses.tally(route, name, 101).count += 1
            return None
        self.counters.count(route, refused.status, 0.0)
        self.accesses.refused(route, refused.status, code=refused.code, key=name, address=address, request_id=own_id)
        return refusal(ws, refused, own_id, self._wording(request))

    def _wording(self, request: Request) -> Wording:
        return self._wordings.get(_path(request), OURS)

    def _check(self, request: Request) -> BhavcastError | None:
        hosts = request.headers.get_all("Host")
        origin = request.headers.get("Origin")
        refused = self._gate.check(hosts[0] if len(hosts) == 1 else None, origin, strict=True)
        path = _path(request)
        if refused is not None or path == WEBSOCKET:
            return refused
        endpoint = self._endpoints.get(path)
        if endpoint is None:
            return UnknownRoute(f"WebSocket is served at {', '.join((WEBSOCKET, *self._endpoints))}")
        return endpoint.refuses(request)

    # -- figures ----------------------------------------------------------------------------------------------------

    async def _all_figures(self) -> bytes:
        own = self.figures()
        return own if self.beside is None else await self.beside(own)

    def _samples(self) -> dict[str, list[Sample]]:
        gateway = self._gateway
        told: dict[str, list[Sample]] = {
            "bhavcast_bus_link": [((gateway.link,), 1.0)],
            "bhavcast_rev": [((), float(gateway.replica.rev))],
            "bhavcast_scrips": [((), float(len(gateway.replica.order)))],
            "bhavcast_stream_clients": [(("all",), float(len(gateway.members)))],
            "bhavcast_connections": [((), float(len(self._server.server_state.connections)))],
            "bhavcast_unsent_bytes": [((), float(sum(each.sink.buffered() for each in gateway.hub.outboxes)))],
            "bhavcast_snapshots_waiting": [((), float(len(gateway.hub.pumping)))],
            "bhavcast_messages_waiting": [((), float(self._waiting()))],
            "bhavcast_wanted": [((), float(gateway.wanted))],
            "bhavcast_stream_frames_total": [((), float(gateway.hub.frames))],
            "bhavcast_outbox_skipped_total": [((), float(gateway.hub.skips))],
            "bhavcast_auth_failures_total": [((reason,), float(n)) for reason, n in gateway.door.failures.items()],
            "bhavcast_sessions": [((), float(len(gateway.door.sessions)))],
            "bhavcast_accounts": [((kind,), float(count)) for kind, count in gateway.door.counted().items()],
            "cache_hit_rate": [((), gateway.fresh_reads / gateway.reads if gateway.reads else 1.0)],
            "bhavcast_feed_state": [((name, state), 1.0) for name, state in gateway.feed_states().items()],
            "bhavcast_tasks": _tasks(gateway),
        }
        return told | _of_ingest(gateway) | _of_roles(gateway) | self._gauges()

    def _waiting(self) -> int:
        connections: set[Any] = set(self._server.server_state.connections)
        unread = sum(each.unread for each in connections if isinstance(each, WebSocket))
        return unread + sum(each.lined_up for each in self._gateway.members if isinstance(each, Session))


def _tasks(gateway: Gateway) -> list[Sample]:
    told = gateway.fact("ingest").get("tasks")  # an ingest of the version before does not say
    ours = (("gateway",), float(len(asyncio.all_tasks())))
    return [ours] if told is None else [ours, (("ingest",), float(told))]


def _of_ingest(gateway: Gateway) -> dict[str, list[Sample]]:
    """Return what ingest said of itself: it may be another process, on another host."""
    figures = gateway.fact("ingest")
    if not figures:
        return {}
    return {
        "bhavcast_ticks_total": [((source,), float(count)) for source, count in figures["ticks"].items()],
        "bhavcast_late_ticks_total": [((), float(figures["late"]))],
        "bhavcast_duplicate_ticks_total": [((), float(figures["duplicates"]))],
        "bhavcast_quarantined": [((), float(gateway.fact("quarantine").get("held", 0)))],
        "bhavcast_bus_lag_seconds": [((), max(0, gateway.market.now_ms() - gateway.heard_at) / 1000)],
        "bhavcast_journal_bytes": [((), float(figures["journal_bytes"]))],
        "bhavcast_journal_lost_total": [((), float(figures["journal_lost"]))],
        "bhavcast_journal_synced_rev": [((), float(figures["journal_synced_rev"]))],
        "bhavcast_gaps": [((), float(len(gateway.fact("gaps"))))],
        "bhavcast_errands_waiting": [((), float(figures.get("errands", 0)))],
        "bhavcast_orphan": [((), float(figures["orphan"]))],
        "bhavcast_journal_failing": [((), float(gateway.fact("journal").get("state") == "failing"))],
    }


def _of_roles(gateway: Gateway) -> dict[str, list[Sample]]:
    roles = gateway.roles()
    return {
        "bhavcast_role_state": [((name, role["state"]), 1.0) for name, role in roles.items()],
        "bhavcast_role_restarts_total": [((name,), float(role["restarts"])) for name, role in roles.items()],
    }
