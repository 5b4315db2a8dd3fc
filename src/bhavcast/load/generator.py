"""Run a load generator as a process: it loads at once, and measures when it is told to.

The contract of every generator: arguments are key=value; it prints `ready`, waits for a line on stdin, measures, prints
one line of JSON and ends. The end of its stdin ends it too, so it never outlives its parent.
"""

import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

import msgspec

from bhavcast.load.cpu import pinned
from bhavcast.load.native import HERE, compiled

Result = TypeVar("Result", bound=msgspec.Struct)
SUBPROTOCOL: Final = "Sec-WebSocket-Protocol: bhavcast.v1.json"
GRACE: Final = 30.0  # seconds a generator may be late before it counts as hung


class LoadError(RuntimeError):
    """The generator could not do its work; the text is what it said."""


class HttpResult(msgspec.Struct, frozen=True):
    """What one HTTP load found. `cpu_seconds` is the generator's own time; `failures` are answers of status ≥ 400."""

    seconds: float
    cpu_seconds: float
    requests: int
    failures: int
    reconnects: int
    bytes: int
    p50_ms: float
    p99_ms: float
    max_ms: float


class StreamResult(msgspec.Struct, frozen=True):
    """What one stream load found.

    `frames` and `bytes` are of updates; `others` are heartbeats and the like. In `sampled` of the frames `rows` were
    counted and `stamps` gave the latency from publishing to receiving. `gone` clients were closed, by code in `closes`.
    """

    seconds: float
    cpu_seconds: float
    setup_seconds: float
    clients: int
    gone: int
    frames: int
    bytes: int
    others: int
    sampled: int
    rows: int
    stamps: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    closes: dict[str, int]


class Generator(Generic[Result]):
    """One running load generator; a context manager, so that it is gone afterwards whatever happens."""

    def __init__(self, program: str, options: dict[str, object], result: type[Result], *, core: int | None) -> None:
        native = compiled(HERE / f"{program}.c")
        self.native = native is not None
        self._command = [str(native)] if native else [sys.executable, "-m", f"bhavcast.load.{program}"]
        self._command += [f"{key}={value}" for key, value in options.items()]
        self._seconds = float(str(options["seconds"]))
        self._result = result
        self._core = core

    def __enter__(self) -> Self:
        with pinned(self._core):
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()

    @property
    def pid(self) -> int:
        """The generator's process."""
        return self._process.pid

    def wait_ready(self, timeout: float = 150.0) -> None:
        """Wait until every connection stands and is served."""
        if self._read_line(timeout).strip() != b"ready":
            raise LoadError(self._said())

    def start(self) -> None:
        """Begin to measure."""
        assert self._process.stdin
        self._process.stdin.write(b"go\n")

    def finish(self) -> Result:
        """Wait for the end of the measurement and return what it found."""
        return msgspec.json.decode(self._read_line(self._seconds + GRACE) or b"null", type=self._result)

    def _read_line(self, timeout: float) -> bytes:
        assert self._process.stdout
        line, deadline = bytearray(), time.monotonic() + timeout
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                raise LoadError(f"no word from the load generator within {timeout:.0f} s; {self._said()}")
            piece = os.read(self._process.stdout.fileno(), 4096)
            if not piece:
                raise LoadError(f"the load generator ended: {self._said()}")
            line += piece
        return bytes(line)

    def _said(self) -> str:
        assert self._process.stderr
        self._process.kill()
        return self._process.stderr.read().decode(errors="replace").strip() or "it said nothing"


def http(
    port: int,
    path: str,
    *,
    host: str = "127.0.0.1",
    connections: int = 64,
    seconds: float = 5.0,
    rate: float = 0.0,
    headers: Sequence[str] = (),
    core: int | None = None,
) -> Generator[HttpResult]:
    """Ask for one path over keep-alive connections, each with one request under way at any time.

    With a `rate` so many requests a second are made, whatever the answers take; their time counts from when they were due.
    """
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}:{port}", *headers, "", ""]
    options: dict[str, object] = {
        "host": host,
        "port": port,
        "connections": connections,
        "seconds": seconds,
        "rate": rate,
        "request": "\r\n".join(lines),
    }
    return Generator("http_load", options, HttpResult, core=core)


def stream(
    port: int,
    symbols: Path,
    *,
    host: str = "127.0.0.1",
    clients: int = 1000,
    per_client: int = 50,
    seconds: float = 10.0,
    sample: int = 1,
    deaf: int = 0,
    nap: int = 0,
    headers: Sequence[str] = (SUBPROTOCOL,),
    core: int | None = None,
    **texts: str,
) -> Generator[StreamResult]:
    """Hold WebSocket clients, each subscribed to symbols of its own choice from a file with one on each line.

    Rows are counted and stamps read in every `sample`-th update. `deaf` further clients subscribe the whole market and
    never read. With a `nap` the wire is looked at only every so many milliseconds (below a second), so that nothing that is
    sent has to wake the reader. `texts`: see stream_load.c (path, sub, first, synced, update, stamp); the defaults are
    those of `/ws`.
    """
    options: dict[str, object] = {
        "host": host,
        "port": port,
        "symbols": symbols,
        "clients": clients,
        "per_client": per_client,
        "seconds": seconds,
        "sample": sample,
        "deaf": deaf,
        "nap": nap,
        "headers": "".join(f"{header}\r\n" for header in headers),
        **texts,
    }
    return Generator("stream_load", options, StreamResult, core=core)
