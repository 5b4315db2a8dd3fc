"""Start and stop what is measured: each server on the server's core, on a free port, in a scratch folder."""

import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.measure import LOAD_CORE, ROOT, SERVER_CORE, NotMeasuredError
from bhavcast.domain import field
from bhavcast.domain.field import Kind
from bhavcast.load.cpu import pinned
from bhavcast.load.native import compiled

BASELINE = Path(__file__).parent / "baseline"
BENCH_VENV = ROOT / ".venv-bench"
# How the C that joins rows writes what a field holds; it keeps neither texts nor ladders, which no tick of the feeder has.
HOW = {Kind.PRICE: "d", Kind.MONEY: "d", Kind.PERCENT: "d", Kind.COUNT: "w", Kind.TIME: "t", Kind.SECOND: "s"}


class Server(NamedTuple):
    """Something that listens; `pids` are the processes (children are found) whose CPU time is its cost."""

    port: int
    pids: tuple[int, ...]


class Answer(NamedTuple):
    """One HTTP answer in full, for baselines that shall send the same bytes."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        """Return one header; names are case-insensitive."""
        return next(value for each, value in self.headers if each.lower() == name.lower())

    def raw(self) -> bytes:
        """The answer as it stands on the wire."""
        head = "".join(f"{name}: {value}\r\n" for name, value in self.headers)
        return f"HTTP/1.1 {self.status} OK\r\n{head}\r\n".encode("latin-1") + self.body


def free_port() -> int:
    """Return a port that nothing listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def fetch(port: int, path: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Ask once, and return everything that came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, response.getheaders(), response.read())
    finally:
        connection.close()


@contextlib.contextmanager
def process(
    command: Sequence[str | Path],
    *,
    core: int = SERVER_CORE,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    stop_seconds: float = 10.0,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process pinned to a core; afterwards end it, by force if it does not listen to reason."""
    with tempfile.TemporaryFile() as log:
        with pinned(core):
            child = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=folder,
                env=os.environ | dict(environment or {}),
            )
        try:
            yield child
        except Exception as error:
            log.seek(0)
            error.add_note(f"{command[0]} said: {log.read()[-2000:].decode(errors='replace')}")
            raise
        finally:
            for pipe in (child.stdin, child.stdout):
                if pipe:
                    pipe.close()
            child.terminate()
            try:
                child.wait(stop_seconds)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def wait_listening(child: subprocess.Popen[bytes], port: int, timeout: float = 20.0) -> None:
    """Wait until a connection is accepted; raise if the process ends before."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise RuntimeError(f"the server ended with status {child.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port} after {timeout:.0f} s")


@contextlib.contextmanager
def nginx(answer: Answer, *, static: bool) -> Iterator[Server]:
    """Serve the same bytes from nginx: with `return 200`, or as a static file."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise NotMeasuredError("nginx is not installed")
    # What nginx itself sends is left to it; the rest is added so that the heads are alike.
    own = {"server", "date", "content-type", "content-length", "connection", "etag", "last-modified"}
    added = "\n".join(
        f"add_header {name} {_quoted(value)};" for name, value in answer.headers if name.lower() not in own
    )
    with tempfile.TemporaryDirectory(prefix="bhavcast-nginx-") as name:
        folder, port = Path(name), free_port()
        (folder / "answer").write_bytes(answer.body)
        serve = f"root {folder};" if static else f"return 200 {_quoted(answer.body.decode())};"
        temporary = "\n".join(
            f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (folder / "nginx.conf").write_text(f"""
            daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log crit;
            events {{ worker_connections 1024; }}
            http {{
                access_log off; sendfile on; tcp_nopush on; open_file_cache max=16 inactive=60s;
                keepalive_requests 1000000000; keepalive_timeout 3600s;
                geo $dollar {{ default "$"; }}
                {temporary}
                server {{
                    listen 127.0.0.1:{port} backlog=1024;
                    location = /answer {{ default_type application/json; {added} {serve} }}
                }}
            }}""")
        with process([program, "-p", folder, "-c", folder / "nginx.conf"], folder=folder) as child:
            wait_listening(child, port)
            yield Server(port, (child.pid,))


def _quoted(text: str) -> str:
    text = text.replace("\\", "\\\\").replace("'", "\\'").replace("$", "${dollar}")
    return f"'{text}'"


def baseline(program: str) -> Path:
    """Return a compiled program of the folder `baseline`."""
    path = compiled(BASELINE / f"{program}.c")
    if path is None:
        raise NotMeasuredError("there is no C compiler")
    return path


@contextlib.contextmanager
def c_responder(answer: Answer) -> Iterator[Server]:
    """Serve the same bytes from the smallest possible epoll loop."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(answer.raw())
        file.flush()
        port = free_port()
        with process([baseline("http_ready"), str(port), file.name]) as child:
            wait_listening(child, port)
            yield Server(port, (child.pid,))


@contextlib.contextmanager
def c_sender(clients: int, flushes: float, frames_per_flush: int, size: int) -> Iterator[Server]:
    """Send frames of one size at a steady rate from a C loop."""
    with _ws_send(clients, flushes, frames_per_flush, size) as server:
        yield server


@contextlib.contextmanager
def c_joiner(clients: int, flushes: float, bus: Path) -> Iterator[Server]:
    """Send each client its changed rows from a C loop that follows a feeder."""
    fields = ",".join(f"{each.name}={HOW.get(each.kind, '-')}" for each in field.FIELDS)
    with _ws_send(clients, flushes, f"feeder={bus}", f"fields={fields}") as server:
        yield server


@contextlib.contextmanager
def _ws_send(*arguments: object) -> Iterator[Server]:
    port = free_port()
    with process([baseline("ws_send"), str(port), *map(str, arguments)]) as child:
        wait_listening(child, port)
        yield Server(port, (child.pid,))


def guide_python() -> Path:
    """Return the interpreter of the environment with the stack that the maintenance guide names."""
    python = Path(os.environ.get("BENCH_PYTHON", BENCH_VENV / "bin" / "python"))
    if not python.exists():
        raise NotMeasuredError("the environment .venv-bench is not there (make bench makes it)")
    return python


@contextlib.contextmanager
def redis_server(core: int = SERVER_CORE) -> Iterator[Server]:
    """Run Redis without persistence; on the server's core where it is part of the cost of a stack that needs it."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise NotMeasuredError("redis-server is not installed")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bhavcast-redis-") as folder:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder]
        with process([program, *options], core=core) as child:
            wait_listening(child, port)
            yield Server(port, (child.pid,))


@contextlib.contextmanager
def flask_redis(quotes: bytes) -> Iterator[Server]:
    """Run the guide's backend: Flask under gunicorn, a Redis GET per request."""
    python = guide_python()
    with redis_server() as redis, tempfile.NamedTemporaryFile() as file:
        file.write(quotes)
        file.flush()
        port = free_port()
        command: list[str | Path] = [python, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--log-level", "error"]
        command += ["--workers", "1", "--worker-class", "gthread", "--threads", "8", "--keep-alive", "75"]
        command += ["benchmarks.baseline.guide_http:app"]
        environment = {"REDIS_PORT": str(redis.port), "QUOTES": file.name}
        with process(command, environment=environment, folder=ROOT) as child:
            wait_listening(child, port)
            yield Server(port, (child.pid, *redis.pids))


@contextlib.contextmanager
def flask_socketio(symbols: Path, ticks_per_second: int) -> Iterator[Server]:
    """Run the guide's stream: Flask-SocketIO, one room per symbol."""
    python, port = guide_python(), free_port()
    environment = {"PORT": str(port), "SYMBOLS": str(symbols), "TICKS_PER_SECOND": str(ticks_per_second)}
    with process([python, "-m", "benchmarks.baseline.guide_socketio"], environment=environment, folder=ROOT) as child:
        wait_listening(child, port)
        yield Server(port, (child.pid,))


@contextlib.contextmanager
def feeder(**options: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run the feeder that plays the bus, on the load's core; its socket is at the path given as `socket`."""
    command = [sys.executable, "-m", "benchmarks.feeder", *(f"{key}={value}" for key, value in options.items())]
    with process(command, core=LOAD_CORE, folder=ROOT) as child:
        path = Path(str(options["socket"]))
        deadline = time.monotonic() + 20
        while not path.exists():
            if child.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the feeder did not start")
            time.sleep(0.02)
        yield child
