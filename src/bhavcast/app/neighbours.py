"""What gateways on one port tell each other: their figures, so that whichever is asked answers for all of them.

Each listens on a Unix socket beside the supervisor's file, named after its process; whoever connects gets its figures
in the Prometheus text format, and the end.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import structlog

from bhavcast.domain.digits import whole

log = structlog.get_logger()

SUFFIX: Final = ".figures"
MOST_PID: Final = 2**31 - 1
WITHIN_S: Final = 1.0
LABEL: Final = "gateway"
Roles = Callable[[], dict[str, dict[str, Any]]]


@contextlib.asynccontextmanager
async def listening(folder: Path, figures: Callable[[], bytes]) -> AsyncIterator[None]:
    """Tell who asks the figures of this process, meanwhile. Where nothing can be listened on, that is logged."""

    async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(figures())
        try:
            async with asyncio.timeout(WITHIN_S):
                await writer.drain()
        except (OSError, TimeoutError):
            pass  # whoever asked has gone, or does not read
        finally:
            writer.close()

    path, server = _path(folder, os.getpid()), None
    _tidy(folder)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(str(path))
        path.chmod(0o600)  # nobody can connect before it listens
        server = await asyncio.start_unix_server(tell, sock=bound)
    except OSError as error:
        bound.close()
        log.warning("the figures of this gateway are told by itself alone", path=str(path), why=str(error))
    try:
        yield
    finally:
        if server is not None:
            server.close()
        path.unlink(missing_ok=True)


async def all_figures(own: bytes, roles: Roles, folder: Path, *, within_s: float = WITHIN_S) -> bytes:
    """Return the figures of every gateway that runs under this supervisor, each sample with its name; `own` are ours.

    Where it is the only one, nothing has to be told apart.
    """
    names = {role["pid"]: name for name, role in roles().items() if name.startswith("gateway") and role["pid"]}
    if len(names) <= 1:
        return own
    others = [pid for pid in names if pid != os.getpid()]
    told = await asyncio.gather(*(_ask(_path(folder, pid), within_s) for pid in others))
    found = {names.get(os.getpid(), LABEL): own}
    found |= {names[pid]: text for pid, text in zip(others, told, strict=True) if text}
    return together(found)


def together(figures: dict[str, bytes]) -> bytes:
    """Return several expositions as one, each sample labelled with whose it is; a gateway that is silent has none."""
    families: dict[bytes, list[bytes]] = {}  # by the first line of each, which is the same whoever says it
    for name, text in sorted(figures.items()):
        label = f'{LABEL}="{name}"'.encode()
        family: list[bytes] = []
        for line in text.splitlines():
            if line.startswith(b"# HELP "):
                family = families.setdefault(line, [])
            elif not line.startswith(b"#"):
                family.append(_labelled(line, label))
            elif line not in family:
                family.append(line)
    return b"".join(line + b"\n" for head, lines in families.items() for line in (head, *lines))


def _labelled(sample: bytes, label: bytes) -> bytes:
    name, brace, rest = sample.partition(b"{")
    if brace:
        return name + b"{" + label + b"," + rest
    name, _, value = sample.partition(b" ")
    return name + b"{" + label + b"} " + value


async def _ask(path: Path, within_s: float) -> bytes:
    """Return what a gateway says of itself; nothing where it does not answer in time."""
    try:
        async with asyncio.timeout(within_s):
            reader, writer = await asyncio.open_unix_connection(str(path))
            try:
                return await reader.read()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return b""


def _path(folder: Path, pid: int) -> Path:
    return folder / f"{pid}{SUFFIX}"


def _tidy(folder: Path) -> None:
    """Remove what killed gateways left."""
    for path in folder.glob(f"*{SUFFIX}"):
        pid = whole(path.stem, MOST_PID)
        with contextlib.suppress(OSError):
            if pid is not None and (pid == os.getpid() or not _lives(pid)):
                path.unlink()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
