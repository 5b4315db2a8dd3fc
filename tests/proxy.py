"""A wire between a client and a server that can be cut, stand still, or lose the answers to what it has carried."""

import asyncio
import contextlib
from pathlib import Path


class Proxy:
    """Listens on a socket and passes on to another."""

    def __init__(self, path: Path, target: Path) -> None:
        self.path, self._target = path, target
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.refusing = False
        self.lose_answers_to = b""  # a request with this in it arrives, and its answer does not
        self.lost = 0
        self.flowing = asyncio.Event()  # while it is not, nothing arrives and nothing is lost
        self.flowing.set()

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_unix_server(self._serve, self.path)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """Break every connection."""
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_unix_connection(self._target)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, back}
        answers = asyncio.create_task(self._carry(there, writer))
        try:
            while chunk := await reader.read(65_536):
                await self.flowing.wait()
                if self.lose_answers_to and self.lose_answers_to in chunk:
                    self.lose_answers_to = b""
                    self.lost += 1
                    answers.cancel()
                    back.write(chunk)
                    await there.read(1)  # it was done, and that is all that is known of it
                    break
                back.write(chunk)
        except (OSError, RuntimeError):
            pass  # cut; the second is what uvloop says of it
        finally:
            answers.cancel()
            for end in (writer, back):
                end.transport.abort()
                self._open.discard(end)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            while chunk := await reader.read(65_536):
                await self.flowing.wait()
                writer.write(chunk)
        writer.transport.abort()
