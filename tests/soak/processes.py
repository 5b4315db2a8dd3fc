"""What the processes of a system take, from outside: memory, descriptors, threads, tasks; and what Redis says of itself."""

import asyncio
import socket
from pathlib import Path
from typing import Final

import httpx
import psutil
import redis.asyncio as redis
from prometheus_client.parser import text_string_to_metric_families

from bhavcast.app import supervise
from bhavcast.bus import embedded
from tests.system import System

MIB: Final = 1024 * 1024
# Unit of each figure, and the least that it moves by. Python takes memory in arenas of 1 MiB, and gives back whole ones.
UNITS: Final = {
    "rss": ("MiB", 1.0),
    "descriptors": ("", 1.0),
    "threads": ("", 1.0),
    "tasks": ("", 1.0),
    "used_memory": ("MiB", 0.25),
    "clients": ("", 1.0),
}
ASKED_WITHIN_S: Final = 30.0
Sample = dict[str, float]  # "role figure" → value


class Watch:
    """Looks at a system that runs with a Redis of its own."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._folder = embedded.run_folder(system.data)
        self._redis = redis.Redis(
            unix_socket_path=str(self._folder / "redis.sock"),
            password=(system.data / "redis" / "password").read_text(),
            socket_timeout=ASKED_WITHIN_S,
        )

    def roles(self) -> dict[str, dict]:
        """Return what the supervisor says of its processes."""
        return supervise.read(self._folder)

    async def sample(self) -> Sample:
        """Look once at everything; what is not there just now is left out."""
        found: Sample = {}
        pids = {name: role["pid"] for name, role in self.roles().items() if role["pid"]}
        if self._system.process is not None:
            pids["supervisor"] = self._system.process.pid
        for name, pid in pids.items():
            try:
                process = psutil.Process(pid)
                with process.oneshot():
                    found[f"{name} rss"] = process.memory_info().rss / MIB
                    found[f"{name} descriptors"] = process.num_fds()
                    found[f"{name} threads"] = process.num_threads()
            except psutil.NoSuchProcess:
                continue
        try:
            async with asyncio.timeout(ASKED_WITHIN_S):
                found |= await self._tasks({name: pid for name, pid in pids.items() if name.startswith("gateway")})
                told = await self._redis.info()
                found["redis used_memory"] = told["used_memory"] / MIB
                found["redis clients"] = told["connected_clients"]
        except (TimeoutError, OSError, httpx.HTTPError, redis.RedisError):
            pass  # who does not answer in time: the next sample tells
        return found

    async def _tasks(self, gateways: dict[str, int]) -> Sample:
        """Ask on new connections until each gateway has answered: they share a port, and the system chooses."""
        found: Sample = {}
        while len([name for name in found if name.startswith("gateway")]) < len(gateways):
            async with (
                httpx.AsyncClient(trust_env=False) as http,
                http.stream("GET", f"{self._system.url}/metrics") as answer,
            ):
                peer: socket.socket = answer.extensions["network_stream"].get_extra_info("socket")
                name = await asyncio.to_thread(_owner, peer.getsockname(), gateways)
                text = (await answer.aread()).decode()
            for family in text_string_to_metric_families(text):
                for each in family.samples if family.name == "bhavcast_tasks" else ():
                    role = name if each.labels["role"] == "gateway" else each.labels["role"]
                    if role is not None:
                        found[f"{role} tasks"] = each.value
        return found

    async def close(self) -> None:
        await self._redis.aclose()


def _owner(peer: tuple[str, int], pids: dict[str, int]) -> str | None:
    """Return whose the other end of a connection is."""
    for name, pid in pids.items():
        for each in psutil.Process(pid).net_connections("tcp4"):
            if tuple(each.raddr) == peer:
                return name
    return None


def bytes_under(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
