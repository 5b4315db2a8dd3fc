"""Choosing the bus, and who this writer is on it."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bhavcast.app.config import BUS_PASSWORD, SENTINEL_PASSWORD, Config
from bhavcast.bus.address import Address
from bhavcast.bus.memory import MemoryBus
from bhavcast.bus.redis import RedisBus
from bhavcast.domain.errors import BadConfig
from bhavcast.journal.layout import identity
from bhavcast.telemetry.clock import Clock

WRITER_FILE: Final = "writer.id"


def choose_bus(config: Config, clock: Clock, *, alone: bool = False) -> MemoryBus | RedisBus:
    """Return the bus that is configured; it connects when it is used. `alone`: see RedisBus."""
    if not config.bus.url or config.bus.kind == "memory":
        return MemoryBus()
    address = address_of(config)
    return RedisBus(address, clock, name=config.bus.name, log=config.bus.log_length, alone=alone)


def address_of(config: Config) -> Address:
    """Return where Redis is; raise BadConfig where that cannot be."""
    bus = config.bus
    for name in ("ca_file", "cert_file", "key_file"):
        file: Path | None = getattr(bus, name)
        if file is not None and not os.access(file, os.R_OK):
            raise BadConfig(f"bus.{name} — expected a file that can be read, got {file}", field=f"bus.{name}")
    secret = _secret(bus.password_file, BUS_PASSWORD, "bus.password_file")
    sentinel_secret = _secret(bus.sentinel_password_file, SENTINEL_PASSWORD, "bus.sentinel_password_file")
    secret(), sentinel_secret()  # what is wrong with them is better said at the start
    return Address.parse(
        bus.url,
        username=bus.username or None,
        password=secret,
        sentinel_password=sentinel_secret,
        ca_file=bus.ca_file,
        cert_file=bus.cert_file,
        key_file=bus.key_file,
    )


def _secret(file: Path | None, variable: str, setting: str) -> Callable[[], str | None]:
    def read() -> str | None:
        if file is None:
            return os.environ.get(variable) or None
        try:
            return file.read_text().strip()
        except OSError as error:
            raise BadConfig(
                f"{setting} — expected a file that can be read, got {file}: {error.strerror}", field=setting
            ) from None

    return read


def writer_of(directory: Path) -> str:
    """Return who writes from this data directory: an id that a copy of the directory does not share.

    Called by whoever holds the directory's lease.
    """
    path = directory / WRITER_FILE
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        itself = identity(fd)
        written, _, of = os.pread(fd, 200, 0).decode("ascii", "replace").strip().partition(" ")
        if written and of == itself:
            return written
        writer = secrets.token_hex(8)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{writer} {itself}\n".encode(), 0)
        os.fsync(fd)
        return writer
    finally:
        os.close(fd)
