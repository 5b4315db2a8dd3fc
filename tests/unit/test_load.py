"""The load generators: in C and in Python they keep one contract and find the same."""

import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve
from websockets.typing import Subprotocol

from bhavcast.load import generator
from bhavcast.load.cpu import CpuMeter, pinned, resident_bytes
from bhavcast.load.generator import LoadError
from bhavcast.load.native import HERE, compiled

pytestmark = pytest.mark.slow

SYMBOLS = [str(500000 + number) for number in range(20)]


@pytest.fixture(params=["C", "Python"])
def implementation(request, monkeypatch):
    if request.param == "Python":
        monkeypatch.setenv("PATH", "")  # where no compiler is found
        compiled.cache_clear()
    elif compiled(HERE / "http_load.c") is None:
        pytest.skip("there is no C compiler: install one (cc)")
    yield request.param
    compiled.cache_clear()


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = b"x" * 100 if self.path == "/good" else b""
        self.send_response(200 if self.path == "/good" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, *_):
        """A load that is over cuts its connections."""


@pytest.fixture
def http_port():
    server = Server(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@contextmanager
def streaming(*, close_after=None):
    """A server that sends each client `sync`, then an update with a stamp 10 ms old every 20 ms."""

    def talk(client):
        try:
            heard = client.recv()
            assert heard.count('"5000') == 5
            client.send('{"t":"sync"}')
            for number in range(1000):
                stamp = (time.monotonic_ns() // 1000) - 10_000
                client.send(f'{{"t":"u","q":[{{"symbol":"500000","volume":{stamp}}},{{"volume":{stamp}}}]}}')
                if number == close_after:
                    client.close(4008, "slow")
                time.sleep(0.02)
        except ConnectionClosed:
            return

    with serve(talk, "127.0.0.1", 0, subprotocols=[Subprotocol("bhavcast.v1.json")]) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.socket.getsockname()[1]


@pytest.fixture
def symbols(tmp_path):
    path = tmp_path / "symbols"
    path.write_text("\n".join(SYMBOLS))
    return path


def test_an_http_load_counts_every_answer(implementation, http_port):
    with generator.http(http_port, "/good", connections=4, seconds=0.5) as load:
        load.wait_ready()
        load.start()
        found = load.finish()
    assert load.native == (implementation == "C")
    assert found.requests > 20
    assert found.failures == found.reconnects == 0
    assert found.bytes / found.requests > 100
    assert 0 < found.p50_ms <= found.p99_ms <= found.max_ms
    assert 0.5 <= found.seconds < 2


def test_an_http_load_keeps_a_rate(implementation, http_port):
    with generator.http(http_port, "/good", connections=4, seconds=1.0, rate=40) as load:
        load.wait_ready()
        load.start()
        found = load.finish()
    assert found.failures == found.reconnects == 0
    assert 30 <= found.requests / found.seconds <= 50
    assert found.p50_ms > 0


def test_an_http_load_counts_errors(implementation, http_port):
    with generator.http(http_port, "/missing", connections=2, seconds=0.3) as load:
        load.wait_ready()
        load.start()
        found = load.finish()
    assert found.failures == found.requests > 0


@pytest.mark.parametrize("nap", [0, 2])
def test_a_stream_load_reads_rows_and_the_age_of_each(implementation, symbols, nap):
    with (
        streaming() as port,
        generator.stream(port, symbols, clients=3, per_client=5, seconds=0.5, nap=nap) as load,
    ):
        load.wait_ready()
        load.start()
        found = load.finish()
    assert (found.clients, found.gone) == (3, 0)
    assert found.frames >= 15
    assert found.rows == found.stamps == 2 * found.frames
    assert 10 <= found.p50_ms < 100


def test_a_deaf_client_is_counted_nowhere(implementation, symbols):
    with (
        streaming() as port,
        generator.stream(port, symbols, clients=2, per_client=5, seconds=0.5, deaf=1) as load,
    ):
        load.wait_ready()
        load.start()
        found = load.finish()
    assert (found.clients, found.gone) == (2, 0)
    assert found.rows == found.stamps == 2 * found.frames


def test_a_stream_load_tells_by_which_code_clients_were_closed(implementation, symbols):
    with (
        streaming(close_after=10) as port,
        generator.stream(port, symbols, clients=2, per_client=5, seconds=0.6) as load,
    ):
        load.wait_ready()
        load.start()
        found = load.finish()
    assert found.gone == 2
    assert found.closes == {"4008": 2}


def test_a_load_says_why_it_cannot_work(implementation, symbols):
    with generator.stream(1, symbols, clients=1, per_client=5, seconds=0.1) as load, pytest.raises(LoadError) as error:
        load.wait_ready()
    assert "onnect" in str(error.value)


@pytest.mark.parametrize("source", ["http_load", "stream_load"])
def test_the_c_generators_compile_without_a_warning(source):
    program = compiled(HERE / f"{source}.c", strict=True)
    if program is None:
        pytest.skip("there is no C compiler: install one (cc)")
    assert os.access(program, os.X_OK)


def test_cpu_time_counts_children_and_never_falls():
    busy = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}]); input()"
    with subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE) as process:
        meter, highest = CpuMeter([process.pid]), 0
        deadline = time.monotonic() + 20
        while highest < 300_000_000 and time.monotonic() < deadline:
            used = meter.read().used
            assert used >= highest
            highest = used
            time.sleep(0.02)
        assert resident_bytes([process.pid]) > 2**20
        process.communicate(b"\n")
    assert 250_000_000 < highest < 5_000_000_000


def test_what_is_started_while_pinned_stays_on_that_core():
    cores = os.sched_getaffinity(0)
    core = min(cores)
    with pinned(core):
        told = subprocess.run(
            [sys.executable, "-c", "import os; print(os.sched_getaffinity(0))"],
            capture_output=True,
            text=True,
            check=True,
        )
    assert os.sched_getaffinity(0) == cores
    assert told.stdout.strip() == (str({core}) if len(cores) > 1 else str(cores))
