"""Where Redis is: one server, a socket, the master that Sentinels name, or the node of a cluster that has our keys.

Each is resolved to one server and talked to by a plain client; when that fails, or answers that it is not the one any
more, it is resolved again. So everything above knows of one server only.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import RedisError

from bhavcast.domain.digits import whole
from bhavcast.domain.errors import BadConfig

CONNECT_S: Final = 2.0
ANSWER_S: Final = 3.0  # longer than a reader lets Redis wait for news
# Whatever goes wrong with Redis: the call or its answer may be lost, so what holds is looked up afterwards.
FAILURES: Final = (RedisError, OSError, TimeoutError)
_PORT: Final = 6379
MOST_DB: Final = 2**31 - 1
_SENTINEL_PORT: Final = 26379
_SCHEMES: Final = ("redis", "redis+sentinel", "redis+cluster", "rediss", "rediss+sentinel", "rediss+cluster")


def no_secret() -> str | None:
    """Know of no password."""
    return None


@dataclass(frozen=True)
class Address:
    """How to reach Redis. A password is asked for at each connection, so that it can be changed meanwhile."""

    scheme: str
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    master: str = ""
    db: int = 0
    username: str | None = None
    password: Callable[[], str | None] = field(default=no_secret)
    sentinel_password: Callable[[], str | None] = field(default=no_secret)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    @classmethod
    def parse(cls, url: str, **options: Any) -> "Address":
        """Read a URL.

        Raises:
            BadConfig: it has none of the forms, or carries a password.
        """
        scheme, _, rest = url.partition("://")
        if "@" in rest:
            raise BadConfig(
                "bus.url — expected no user and password in it: use bus.username, and bus.password_file or "
                "BHAVCAST_BUS_PASSWORD",
                field="bus.url",
            )
        if scheme == "unix" and rest.startswith("/"):
            return cls(scheme, path=unquote(rest), **options)
        where, _, name = rest.partition("/")
        kind = scheme.partition("+")[2]
        try:
            if scheme not in _SCHEMES or (kind == "sentinel") != bool(name and kind) or not where:
                raise ValueError
            hosts = tuple(_host(each, _SENTINEL_PORT if kind == "sentinel" else _PORT) for each in where.split(","))
            if not kind and len(hosts) > 1:
                raise ValueError
            db = 0 if kind or not name else whole(name, MOST_DB)
            if db is None:
                raise ValueError
            return cls(scheme, hosts, master=name if kind else "", db=db, **options)
        except ValueError:
            raise BadConfig(
                f"bus.url — expected {FORMS}, got {url[:80]!r}; rediss instead of redis for TLS", field="bus.url"
            ) from None

    def __str__(self) -> str:
        where = self.path or ",".join(f"{_bracketed(host)}:{port}" for host, port in self.hosts)
        return f"{self.scheme}://{where}" + (f"/{self.master}" if self.master else "")

    async def connect(self, key: str) -> Redis:
        """Find the server that has `key`, and return a client for it.

        Raises:
            FAILURES: whoever should know does not answer.
        """
        options = {"username": self.username, "password": self.password(), "db": self.db}
        if self.scheme == "unix":
            return _client(connection_class=UnixDomainSocketConnection, path=self.path, **options)
        host, port = self.hosts[0]
        if self.moves:
            host, port = await self._ask({"password": self.sentinel_password()}, self._master)
        elif self.scheme.endswith("cluster"):
            host, port = await self._ask(options, lambda client: _owner(client, key))
        return _client(host=host, port=port, **self._tls(), **options)

    @property
    def moves(self) -> bool:
        """Whether others say which server it is, and the server itself may not know that it is not the one any more."""
        return self.scheme.endswith("sentinel")

    async def is_elsewhere(self, client: Redis) -> bool:
        """Tell whether the Sentinels name another master than the one this client talks to; raise FAILURES as `connect` does."""
        named = await self._ask({"password": self.sentinel_password()}, self._master)
        known = client.connection_pool.connection_kwargs
        return named != (known["host"], known["port"])

    async def _ask(self, options: dict[str, Any], ask: Callable[[Redis], Any]) -> tuple[str, int]:
        """Put a question to one host after another until one has the answer."""
        failure: BaseException = Disconnected("no host was named")
        for host, port in self.hosts:
            client = _client(host=host, port=port, **self._tls(), **options)
            try:
                found: tuple[str, int] | None = await ask(client)
                if found is not None:
                    return found[0] or host, found[1]
            except FAILURES as error:
                failure = error
            finally:
                await client.aclose()
        raise failure

    async def _master(self, client: Redis) -> tuple[str, int] | None:
        found = await execute(client, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.master)
        if not found:
            raise Disconnected(f"the Sentinel knows no master {self.master}")
        port = whole(_text(found[1]), 65535)
        if port is None:
            raise Disconnected(f"the Sentinel tells no port of {self.master}")
        return _text(found[0]), port

    def _tls(self) -> dict[str, Any]:
        if not self.scheme.startswith("rediss"):
            return {}
        return {
            "connection_class": SSLConnection,
            "ssl_ca_certs": self.ca_file and str(self.ca_file),
            "ssl_certfile": self.cert_file and str(self.cert_file),
            "ssl_keyfile": self.key_file and str(self.key_file),
        }


FORMS: Final = "redis://HOST:PORT/DB, unix:///PATH, redis+sentinel://HOST:PORT,…/MASTER or redis+cluster://HOST:PORT,…"


def execute(client: Redis, *command: Any) -> Awaitable[Any]:
    """Send one command."""
    return client.execute_command(*command)  # type: ignore[no-untyped-call]  # the library has no types here


def _client(**options: Any) -> Redis:
    pool = ConnectionPool(
        protocol=2,
        driver_info=None,  # one command less that an ACL would have to allow
        socket_connect_timeout=CONNECT_S,
        socket_timeout=ANSWER_S,
        # What failed is not tried again blindly: whoever called looks first at what came of it.
        retry=Retry(NoBackoff(), 0),
        max_connections=16,
        **options,
    )
    return Redis.from_pool(pool)


async def _owner(client: Redis, key: str) -> tuple[str, int] | None:
    slot = key_slot(key.encode())
    ranges: Sequence[Any] = await execute(client, "CLUSTER", "SLOTS")
    for first, last, node, *_ in ranges:
        if int(first) <= slot <= int(last):
            return _text(node[0]), int(node[1])
    raise Disconnected(f"no node of the cluster has slot {slot}")


def _text(value: bytes | str | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""


def _host(text: str, default: int) -> tuple[str, int]:
    """Read HOST, HOST:PORT or [IPV6]:PORT."""
    host, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not colon:
        host, port = text, str(default)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    number = whole(port, 65535)
    if not host or not number:
        raise ValueError
    return host, number


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
