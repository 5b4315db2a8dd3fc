"""The gateway as a server: uvicorn, with our HTTP protocol in front of the application and our WebSocket beside it."""

import asyncio
import contextlib
import random
import socket
from collections.abc import Callable, Iterator
from typing import Any, Final

import structlog
import uvicorn
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from bhavcast.domain.errors import UnknownRoute
from bhavcast.gateway import burst, hot, rest, sse
from bhavcast.gateway.connection import Connection, limited
from bhavcast.gateway.edge import CONSTANT_HEADERS, Edge, Gate
from bhavcast.gateway.gateway import Gateway
from bhavcast.gateway.pace import Pace
from bhavcast.gateway.pages import Page, content_security_policy
from bhavcast.gateway.session import Session
from bhavcast.gateway.websocket import WebSocket, refusal
from bhavcast.telemetry.metrics import Exposition, HttpCounters, Sample

log = structlog.get_logger()

SWEEP_S: Final = 0.25
DRAIN_S: Final = 2.0
RETRY_MS: Final = 5000
KEEP_ALIVE_S: Final = 75


class Quiet(uvicorn.Server):
    """A uvicorn server that leaves signals to whoever runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


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
    ) -> None:
        self._gateway = gateway
        self._listener = listener
        if listener.family != socket.AF_UNIX:
            # Connections inherit it. asyncio sets it only where a socket names its protocol, which `create_server` does
            # not; without it an answer in two writes waits 40 ms for the client's delayed acknowledgement.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._gate = gate
        self.counters = HttpCounters()
        self._gauges = gauges
        self._pace = Pace(gateway.hub)
        if hot_path:
            gateway.hub.burst = burst.send
        limits = gateway.limits
        app = rest.build(gateway, Exposition(self.counters, self._samples), max_body=limits.body_bytes)
        edge = Edge(
            app,  # type: ignore[arg-type]  # ASGI by two descriptions
            gate,
            self.counters,
            pages,
            policy=content_security_policy(None),
            max_body=limits.body_bytes,
            streams={"/api/stream": sse.stream(gateway)},
            draining=lambda: gateway.draining,
        )
        protocol = hot.bind(gateway, self.counters, gate.host_allowed, CONSTANT_HEADERS, max_url=limits.url_bytes)
        self._server = Quiet(
            uvicorn.Config(
                edge,
                http=limited(protocol if hot_path else Connection, limits.sockets),
                ws=self._websocket,  # type: ignore[arg-type]  # uvicorn calls it as a class
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=3,
                backlog=4096,
            )
        )

    async def run(self) -> None:
        """Serve until `stop`."""
        pace = asyncio.create_task(self._pace.run())
        sweep = asyncio.create_task(self._sweep())
        serve = asyncio.create_task(self._server.serve(sockets=[self._listener]))
        try:
            # Without its pace or its sweep a server only looks alive.
            await asyncio.wait((serve, pace, sweep), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._server.should_exit = True
            for task in (pace, sweep):
                task.cancel()
            await asyncio.gather(serve, pace, sweep, return_exceptions=True)
        for task in (serve, pace, sweep):
            if not task.cancelled() and (fault := task.exception()) is not None:
                raise fault

    @property
    def started(self) -> bool:
        """Whether connections are accepted."""
        return self._server.started

    async def stop(self) -> None:
        """Send the streaming clients away, spread over the drain time, then end."""
        self._gateway.drain()
        members = list(self._gateway.members)
        slice_ = max(1, len(members) // 20)
        for start in range(0, len(members), slice_):
            for member in members[start : start + slice_]:
                member.drain(random.randint(RETRY_MS // 5, RETRY_MS))
            await asyncio.sleep(DRAIN_S / 20 if len(members) > 20 else 0)
        self._server.should_exit = True

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
        return WebSocket(
            open_session=lambda ws: Session(self._gateway, ws, binary=ws.binary),
            admit=self._admit,
            connections=server_state.connections,
            max_bytes=self._gateway.limits.message_bytes,
        )

    def _admit(self, ws: ServerProtocol, request: Request, _transport: Any) -> Response | None:
        hosts = request.headers.get_all("Host")
        origin = request.headers.get("Origin")
        refused = self._gate.check(hosts[0] if len(hosts) == 1 else None, origin, strict=True)
        if refused is None and request.path.partition("?")[0] != "/ws":
            refused = UnknownRoute("WebSocket is served at /ws")
        if refused is None:
            refused = self._gateway.full_up()
        if refused is None:
            return None
        return refusal(ws, refused)

    # -- figures ----------------------------------------------------------------------------------------------------

    def _samples(self) -> dict[str, list[Sample]]:
        gateway = self._gateway
        told: dict[str, list[Sample]] = {
            "bhavcast_rev": [((), float(gateway.replica.rev))],
            "bhavcast_scrips": [((), float(len(gateway.replica.order)))],
            "bhavcast_stream_clients": [(("all",), float(len(gateway.members)))],
            "bhavcast_stream_frames_total": [((), float(gateway.hub.frames))],
            "bhavcast_outbox_skipped_total": [((), float(gateway.hub.skips))],
            "cache_hit_rate": [((), gateway.fresh_reads / gateway.reads if gateway.reads else 1.0)],
            "bhavcast_feed_state": [((name, state), 1.0) for name, state in gateway.feed_states().items()],
        }
        return told | self._gauges()
