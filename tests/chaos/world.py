"""The system of a run: Redis, one ingest or two, two gateways, the wires between them, and the ingest's disk."""

import asyncio
import contextlib
import random
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx
from redis.asyncio import Redis

from bhavcast.board.board import Board
from bhavcast.bus import mirror
from bhavcast.bus.scripts import Keys
from bhavcast.reference.store import ReferenceStore
from tests.chaos.disk import Disk
from tests.chaos.oracle import Oracle
from tests.chaos.processes import Actor, Processes
from tests.chaos.pulse import Pulse
from tests.chaos.ticks import Ticks
from tests.proxy import Proxy
from tests.redis_servers import redis_binary

SCRIPS: Final = 40
# local: as under `up`, where no other host can write. shared: another could. standby: another does. sentinel: with a
# replica that takes over.
TOPOLOGIES: Final = ("local", "shared", "standby", "sentinel")
BOOT: Final = "boot"
PATIENCE_S: Final = 60.0
ENDS_WITHIN_S: Final = 15.0
LOOK_S: Final = 0.05
AGAIN_S: Final = 0.3
PORTS: Final = range(20_000, 30_000)  # below those that connections take


class World:
    """Everything that runs, by name, and how it stands."""

    def __init__(self, seed: int, topology: str, oracle: Oracle, pulse: Pulse, pids: Path | None) -> None:
        self.topology, self.oracle, self._pulse = topology, oracle, pulse
        self.folder = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-"))  # short: sockets have short names
        self._rng = random.Random(f"ports/{seed}")
        self.processes = Processes(pids)
        self.wires: dict[str, Proxy] = {}
        self.disks: dict[str, Disk] = {}
        self.disk_was_full = False
        self.ticks = Ticks(ReferenceStore(self.folder / "none").load(SCRIPS))
        (self.folder / BOOT).write_text("boot-0")
        self.servers, self.sentinels = self._redis()
        self.ingests = [self._ingest(name) for name in (["ingest", "second"] if topology == "standby" else ["ingest"])]
        self.gateways = [self._gateway(name) for name in ("gateway-1", "gateway-2")]
        self._http = httpx.AsyncClient(trust_env=False, timeout=2.0)
        self._keeping: asyncio.Task[None] | None = None

    # -- who runs -----------------------------------------------------------------------------------------------------

    def _redis(self) -> tuple[list[Actor], list[Actor]]:
        if self.topology != "sentinel":
            return [self._server("redis", {"port": 0, "unixsocket": self.folder / "redis.sock"})], []
        first, second = self.port(), self.port()
        self.server_ports = {"redis": first, "replica": second}
        fast = {"bind": "127.0.0.1", "repl-diskless-sync-delay": 0}
        servers = [
            self._server("redis", {"port": first, **fast}),
            self._server("replica", {"port": second, "replicaof": f"127.0.0.1 {first}", **fast}),
        ]
        self.sentinel_ports = [self.port() for _ in range(3)]
        return servers, [self._sentinel(n, port, first) for n, port in enumerate(self.sentinel_ports)]

    def _server(self, name: str, options: dict[str, object]) -> Actor:
        home = self.folder / name
        home.mkdir()
        # A file, as servers have: Sentinel has a promoted one write into it that it is no replica any more.
        given = {**options, "dir": str(home), "save": '""', "appendonly": "no"}
        (home / "conf").write_text("".join(f"{key} {value}\n" for key, value in given.items()))
        return Actor(name, [redis_binary(), str(home / "conf")], home, self.processes)

    def _sentinel(self, number: int, port: int, master: int) -> Actor:
        home = self.folder / f"sentinel-{number}"
        home.mkdir()
        (home / "conf").write_text(
            f"port {port}\nbind 127.0.0.1\nsentinel monitor board 127.0.0.1 {master} 2\n"
            "sentinel down-after-milliseconds board 500\nsentinel failover-timeout board 2000\n"
        )
        return Actor(home.name, [redis_binary(), str(home / "conf"), "--sentinel"], home, self.processes)

    def _ingest(self, name: str) -> Actor:
        self.disks[name] = Disk(self.folder / f"{name}-disk")
        home = self.folder / name
        home.mkdir()
        (home / BOOT).write_text("boot-0")
        command = ["writer", "--scrips", str(SCRIPS)]
        actor = Actor(
            name, command, home, self.processes, CHAOS_FOLDER=str(home),
            BHAVCAST_DATA=str(self.disks[name].path / "data"), BHAVCAST_CHECKPOINT_SECONDS=self._rng.choice(("1", "3", "30")),
            **self._bus(name),
        )  # fmt: skip
        actor.flags = ["--at", "10:30:00"]  # of the first start: the others go on
        return actor

    def _gateway(self, name: str) -> Actor:
        port = self.port()
        command = ["role", "gateway", "--port", str(port)]
        home = self.folder / name
        home.mkdir()
        actor = Actor(
            name, command, home, self.processes, BHAVCAST_DATA=str(home), BHAVCAST_HEARTBEAT_MS="1000",
            **self._bus(name),
        )  # fmt: skip
        actor.url = f"http://127.0.0.1:{port}"
        return actor

    def _bus(self, name: str) -> dict[str, str]:
        if self.topology == "sentinel":
            hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinel_ports)
            return {"BHAVCAST_BUS_KIND": "redis", "BHAVCAST_BUS_URL": f"redis+sentinel://{hosts}/board"}
        wire = self.wires[name] = Proxy(self.folder / f"{name}.sock", self.folder / "redis.sock")
        kind = "embedded" if self.topology == "local" else "redis"
        return {"BHAVCAST_BUS_KIND": kind, "BHAVCAST_BUS_URL": f"unix://{wire.path}"}

    def port(self) -> int:
        """Return a port that is free."""
        while True:
            with socket.socket() as one, contextlib.suppress(OSError):
                one.bind(("127.0.0.1", port := self._rng.choice(PORTS)))
                return port

    # -- up and down --------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> "World":
        for wire in self.wires.values():
            await wire.__aenter__()
        for each in [*self.servers, *self.sentinels]:
            each.start()
        await self._until(self._redis_is_up, "Redis is up")
        for each in [*self.ingests, *self.gateways]:
            each.start()
        await self._until(self.troubles, "all is healthy", wanted=[])
        self._keeping = asyncio.create_task(self._keep())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
        await self._http.aclose()
        self.processes.end()
        for wire in self.wires.values():
            await wire.__aexit__()
        for disk in self.disks.values():
            disk.remove()

    def remove(self) -> None:
        """Forget its files."""
        shutil.rmtree(self.folder, ignore_errors=True)

    async def _redis_is_up(self) -> bool:
        for each in self.servers:
            async with self.redis(each) as client:
                await client.ping()
        if self.sentinels:
            async with self.redis(self.servers[1]) as client:
                if (await client.info("replication"))["master_link_status"] != "up":
                    return False
            for port in self.sentinel_ports:
                async with Redis(port=port, socket_timeout=2) as client:
                    told: Any = await client.sentinel_master("board")
                    if told["num-slaves"] != 1 or told["num-other-sentinels"] != 2:
                        return False
        return True

    def redis(self, server: Actor) -> Redis:
        """Return a client of a server."""
        if self.topology == "sentinel":
            return Redis(port=self.server_ports[server.name], socket_timeout=2)
        return Redis(unix_socket_path=str(self.folder / "redis.sock"), socket_timeout=2)

    async def masters(self) -> list[Actor]:
        """Return the servers that take themselves for masters."""
        found = []
        for each in self.servers:
            with contextlib.suppress(Exception):
                async with self.redis(each) as client:
                    if (await client.role())[0] in (b"master", "master"):
                        found.append(each)
        return found

    async def _until(self, what: Callable[[], Any], why: str, wanted: Any = True) -> None:
        ends = self._pulse.lived + PATIENCE_S
        told: Any = None
        while self._pulse.lived < ends:
            with contextlib.suppress(Exception):
                told = await what()
                if told == wanted:
                    return
            await asyncio.sleep(LOOK_S)
        raise TimeoutError(f"not within {PATIENCE_S:g} s: {why} ({told})")

    async def _keep(self) -> None:
        """Start again what ends by itself, as a supervisor would, and object to it."""
        while True:
            await asyncio.sleep(LOOK_S)
            for each in list(self.processes.all.values()):
                if (code := each.ended()) is not None and each.wanted:
                    if not (each in self.ingests and self.disk_was_full):
                        self.oracle.object(f"{each.name} ended by itself with {code}, see {each.log}")
                    asyncio.get_running_loop().call_later(AGAIN_S, self._again, each)

    def _again(self, actor: Actor) -> None:
        if actor.wanted:
            actor.start()

    # -- how it stands ------------------------------------------------------------------------------------------------

    async def troubles(self) -> list[str]:
        """Say what is not as it should be."""
        return [said for each in self.gateways if (said := await self.trouble(each))]

    async def trouble(self, gateway: Actor) -> str:
        """Say what is not as it should be with a gateway, or nothing."""
        try:
            told = (await self._http.get(f"{gateway.url}/health")).json()
        except (httpx.HTTPError, ValueError) as error:
            return f"{gateway.name} does not answer: {error!r}"
        return "" if told["status"] == "healthy" else f"{gateway.name} is {told['status']}: {told['reasons']}"

    async def position(self, gateway: Actor) -> str:
        """Return how far a gateway has come."""
        pos: str = (await self._http.get(f"{gateway.url}/health")).json()["pos"]
        return pos

    async def board(self) -> Board:
        """Return the board as the bus holds it."""
        async with self.redis((await self.masters())[0]) as client:
            held: Any = await client.hgetall(Keys.of("bhavcast").board)
        found = mirror.read(held)
        assert found is not None, "no epoch has begun"
        board = Board()
        board.load(found)
        return board

    async def rows(self, gateway: Actor) -> dict[str, dict[str, Any]]:
        """Return what HTTP says of every scrip."""
        asked = {"symbols": ",".join(self.ticks.symbols), "depth": "5"}
        answer = await self._http.get(f"{gateway.url}/api/stocks/batch", params=asked)
        return {row["symbol"]: row for row in answer.json() if "error" not in row}

    def quiet(self) -> None:
        """Let the feed say no more."""
        for each in self.ingests:
            (self.folder / each.name / "quiet").touch()

    async def end(self, *actors: Actor) -> None:
        """Ask processes to end, and object where they do not in time, or not well."""
        for each in actors:
            each.ask_to_end()
        ends = self._pulse.lived + ENDS_WITHIN_S
        for each in actors:
            while each.process is not None and each.process.poll() is None and self._pulse.lived < ends:  # noqa: ASYNC110 - other processes have no events
                await asyncio.sleep(LOOK_S)
            if each.process is None:
                continue
            code = each.process.poll()
            if code != 0:
                self.oracle.object(
                    f"{each.name} was asked to end and " + ("did not" if code is None else f"said {code}")
                )
            each.kill()
