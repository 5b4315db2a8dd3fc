"""How a gateway reaches an ingest that is another process of its host: by a Unix socket in the data folder.

A connection carries one request and its answer, each a line of JSON:

    {"act":"pause","source":"sim"}
    {"done":{}}     or     {"error":{"code":"unknown_source","detail":"expected a source of ...","field":"source"}}

Who may connect is for the file system to say: the socket and its folder are this user's alone. Who did what is on the
audit log of the gateway that asks.
"""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from bhavcast.app.control import WITHIN_S
from bhavcast.bus.embedded import run_folder
from bhavcast.domain import errors
from bhavcast.domain.errors import BadRequest, BhavcastError, Conflict, Unavailable
from bhavcast.gateway.control import Control
from bhavcast.telemetry.log import Level

log = structlog.get_logger()

NAME: Final = "ingest.sock"
LINE_BYTES: Final = 8192
AT_ONCE: Final = 16
ASKED_WITHIN_S: Final = 2.0
ANSWERED_WITHIN_S: Final = WITHIN_S + ASKED_WITHIN_S
NOBODY: Final = (
    "expected an ingest that writes on this host, in the data folder of this gateway, and there is none now: ask a gateway "
    "on the host of the ingest that has the lease, with its data folder"
)


class _Act(msgspec.Struct, tag_field="act", frozen=True, forbid_unknown_fields=True):
    """What an operator does."""


class _OfSource(_Act, frozen=True):
    source: str


class _Pause(_OfSource, tag="pause", frozen=True):
    async def of(self, control: Control) -> dict[str, Any] | None:
        await control.pause(self.source)
        return None


class _Resume(_OfSource, tag="resume", frozen=True):
    async def of(self, control: Control) -> dict[str, Any] | None:
        await control.resume(self.source)
        return None


class _Prefer(_OfSource, tag="prefer", frozen=True):
    async def of(self, control: Control) -> dict[str, Any] | None:
        await control.prefer(self.source)
        return None


class _Release(_Act, tag="release", frozen=True):
    entry_id: int

    async def of(self, control: Control) -> dict[str, Any] | None:
        return await control.release(self.entry_id)


class _LogLevel(_Act, tag="log_level", frozen=True):
    level: Level

    async def of(self, control: Control) -> dict[str, Any] | None:
        await control.log_level(self.level)
        return None


_Request = _Pause | _Resume | _Prefer | _Release | _LogLevel


class _Error(msgspec.Struct, frozen=True):
    code: str
    detail: str
    field: str | None = None


class _Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    done: dict[str, Any] | None = None
    error: _Error | None = None


_encode = msgspec.json.Encoder().encode
_request = msgspec.json.Decoder(_Request)
_answer = msgspec.json.Decoder(_Answer)


def socket_of(data: Path) -> Path:
    """Return where the ingest of a data folder listens.

    Raises:
        Unavailable: the folder of its sockets is not this user's alone.
    """
    return run_folder(data) / NAME


@contextlib.asynccontextmanager
async def listening(data: Path, control: Control, *, within_s: float = ASKED_WITHIN_S) -> AsyncIterator[None]:
    """Do what gateways of this host ask for, meanwhile. Where nothing can be listened on, that is logged: prices go on.

    Only for who holds the lease of the data folder: a socket that is there already is then left over from a crash.
    """
    at_work: set[asyncio.Task[None]] = set()

    def arrived(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        busy = len(at_work) >= AT_ONCE
        task = asyncio.create_task(_serve(reader, writer, control, within_s, busy=busy))
        at_work.add(task)
        task.add_done_callback(at_work.discard)

    server = path = None
    try:
        path = socket_of(data)
        server = await asyncio.start_unix_server(arrived, sock=_bind(path), limit=LINE_BYTES)
    except (OSError, Unavailable) as error:
        log.warning("gateways cannot pass on what operators ask for", path=str(path), why=str(error))
    try:
        yield
    finally:
        if server is not None and path is not None:
            path.unlink(missing_ok=True)
            server.close()
        for task in at_work:
            task.cancel()
        await asyncio.gather(*at_work, return_exceptions=True)


def _bind(path: Path) -> socket.socket:
    if not hasattr(socket, "AF_UNIX"):
        raise OSError("this system has no Unix sockets")
    if path.is_socket():
        path.unlink()
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(str(path))
        path.chmod(0o600)  # nobody can connect before it listens
    except OSError:
        bound.close()
        raise
    return bound


async def _serve(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, control: Control, within_s: float, *, busy: bool
) -> None:
    try:
        if busy:
            raise Conflict(f"expected at most {AT_ONCE} requests of operators at once; ask again")
        answer = _Answer(done=await (await _asked(reader, within_s)).of(control))
    except BhavcastError as error:
        answer = _Answer(error=_Error(error.code, error.detail, error.field))
    except Exception as error:  # an edge: the gateway tells of it, and the ingest goes on
        incident = secrets.token_hex(8)
        log.error("fault", incident=incident, exc_info=error)
        answer = _Answer(error=_Error(BhavcastError.code, f"a fault of the ingest, in its log as {incident}"))
    except asyncio.CancelledError:
        writer.close()
        raise
    # So little is taken by the kernel at once, whether the other side reads or not.
    writer.write(_encode(answer) + b"\n")
    writer.close()


async def _asked(reader: asyncio.StreamReader, within_s: float) -> _Request:
    try:
        async with asyncio.timeout(within_s):
            request: _Request = _request.decode(await reader.readuntil())
            return request
    except TimeoutError:
        raise BadRequest(f"expected a line within {within_s:g} s") from None
    except asyncio.LimitOverrunError:
        raise BadRequest(f"expected a line of at most {LINE_BYTES} bytes, got a longer one") from None
    except (asyncio.IncompleteReadError, OSError):
        raise BadRequest("expected a line, got an end") from None
    except msgspec.DecodeError as error:
        raise BadRequest(f"expected a request: {error}") from None


class SocketControl:
    """Implements gateway.control.Control by asking the ingest of a data folder on this host."""

    def __init__(self, data: Path, *, within_s: float = ANSWERED_WITHIN_S) -> None:
        self._data = data
        self._within_s = within_s

    async def pause(self, source: str) -> None:
        """Close a source, and stay silent on it until it is resumed."""
        await self._ask(_Pause(source))

    async def resume(self, source: str) -> None:
        """Open a source again."""
        await self._ask(_Resume(source))

    async def prefer(self, source: str) -> None:
        """Believe a source before the others where several speak of the same scrips."""
        await self._ask(_Prefer(source))

    async def release(self, entry_id: int) -> dict[str, Any]:
        """Believe a quarantined tick after all; return what it was."""
        return await self._ask(_Release(entry_id))

    async def log_level(self, level: Level) -> None:
        """Have the ingest log from this level on."""
        await self._ask(_LogLevel(level))

    async def _ask(self, request: _Request) -> dict[str, Any]:
        if not (hasattr(socket, "AF_UNIX") and self._data.is_dir()):
            raise Conflict(NOBODY)
        try:
            async with asyncio.timeout(self._within_s):
                answer = await _exchange(socket_of(self._data), request)
        except (FileNotFoundError, ConnectionRefusedError):
            raise Conflict(NOBODY) from None
        except TimeoutError:
            raise Conflict(
                f"expected the ingest to answer within {self._within_s:g} s, and it did not: whether it was done is not "
                "known, /api/feeds shows how things are"
            ) from None
        except (OSError, EOFError, asyncio.LimitOverrunError, msgspec.DecodeError) as error:
            raise Conflict(
                f"expected an answer of the ingest, got none that can be read ({type(error).__name__}): whether it was "
                "done is not known, /api/feeds shows how things are"
            ) from None
        if answer.error is not None:
            told = answer.error
            raise errors.again(told.code, told.detail, told.field)
        return answer.done or {}


async def _exchange(path: Path, request: _Request) -> _Answer:
    reader, writer = await asyncio.open_unix_connection(path, limit=LINE_BYTES)
    try:
        writer.write(_encode(request) + b"\n")
        return _answer.decode(await reader.readuntil())
    finally:
        writer.close()
