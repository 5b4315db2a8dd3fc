"""A wire between a client and a server that can be slow, silent, cut, or lose the answers to what it has carried."""

import asyncio
import contextlib
import socket
import struct
from pathlib import Path
from typing import Final, Literal

Address = Path | tuple[str, int]
CHUNK: Final = 65_536
# What lies on the way is little, so that each side notices what the wire does.
BUFFER: Final = 16_384
_RESET: Final = struct.pack("ii", 1, 0)


class Proxy:
    """Listens at a Unix socket, or on a port of its own, and passes on to another address of either kind."""

    def __init__(self, path: Path | None, target: Address) -> None:
        self.path, self.target = path, target
        self._pairs: dict[asyncio.StreamWriter, asyncio.StreamWriter] = {}  # client's → server's
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.refusing = False
        self.lose_answers_to = b""  # a request with this in it arrives, and its answer does not
        self.lost = 0
        self.carried = 0  # connections so far
        self.delay_s = 0.0  # each way
        self.rate = 0.0  # bytes per second, each way; 0 for as many as come
        self._speaks = asyncio.Event()
        self._speaks.set()

    async def __aenter__(self) -> "Proxy":
        if self.path is not None:
            self._server = await asyncio.start_unix_server(self._arrived, self.path)
        else:
            listener = socket.create_server(("127.0.0.1", 0))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            self._server = await asyncio.start_server(self._arrived, sock=listener, limit=BUFFER)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        self._speaks.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def port(self) -> int:
        assert self._server is not None
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    # -- what a wire does -----------------------------------------------------------------------------------------------

    def slow_down(self, *, delay_s: float = 0.0, rate: float = 0.0) -> None:
        """Carry late, or so many bytes per second."""
        self.delay_s, self.rate = delay_s, rate

    def cut(self, *, refuse: bool = False) -> None:
        """Break every connection, and (or not) take no new one."""
        self.refusing = self.refusing or refuse
        for writer in self._ends():
            writer.transport.abort()

    def reset(self) -> None:
        """Break every connection as one does that knows nothing of it: by a reset, where there is such a thing."""
        for writer in self._ends():
            end = writer.get_extra_info("socket")
            if end.family != socket.AF_UNIX:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()

    def half_close(self, towards: Literal["server", "client"]) -> None:
        """Say towards one side that nothing more comes; the other way goes on."""
        for client, server in self._pairs.items():
            (server if towards == "server" else client).write_eof()

    def fall_silent(self) -> None:
        """Carry nothing, and tell nobody: a cable that was pulled."""
        self._speaks.clear()

    def heal(self) -> None:
        """Be a good wire again."""
        self.delay_s = self.rate = 0.0
        self.refusing = False
        self._speaks.set()

    # -- carrying -------------------------------------------------------------------------------------------------------

    def _ends(self) -> list[asyncio.StreamWriter]:
        return [end for pair in self._pairs.items() for end in pair]

    def _arrived(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.target, Path):
            return await asyncio.open_unix_connection(self.target, limit=BUFFER)
        end = socket.socket()
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        end.setblocking(False)
        await asyncio.get_running_loop().sock_connect(end, self.target)
        return await asyncio.open_connection(sock=end, limit=BUFFER)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        try:
            there, back = await self._connect()
        except OSError:
            writer.transport.abort()
            return
        self._pairs[writer] = back
        self.carried += 1
        answers = asyncio.create_task(self._carry(there, writer))
        try:
            while chunk := await reader.read(CHUNK):
                if self.lose_answers_to and self.lose_answers_to in chunk:
                    self.lose_answers_to = b""
                    self.lost += 1
                    answers.cancel()
                    back.write(chunk)
                    await there.read(1)  # it was done, and that is all that is known of it
                    break
                await self._pass(chunk, back)
            else:
                if back.can_write_eof():
                    back.write_eof()
                await answers
        except (OSError, RuntimeError):
            pass  # cut, or half closed before
        finally:
            answers.cancel()
            for end in (writer, back):
                end.transport.abort()
            self._pairs.pop(writer, None)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            while chunk := await reader.read(CHUNK):
                await self._pass(chunk, writer)
        writer.transport.abort() if writer.transport.get_write_buffer_size() == 0 else writer.close()

    async def _pass(self, chunk: bytes, writer: asyncio.StreamWriter) -> None:
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        step = int(self.rate / 20) or len(chunk)
        for at in range(0, len(chunk), step):
            await self._speaks.wait()
            writer.write(chunk[at : at + step])
            await writer.drain()
            if self.rate:
                await asyncio.sleep(step / self.rate)
