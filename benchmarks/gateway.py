"""Start a gateway alone, with a bus that is played to it."""

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import servers
from benchmarks.measure import ROOT
from benchmarks.servers import Server

DRIVER = "benchmarks.drive_gateway"


@contextlib.contextmanager
def running(*, scrips: int = 5000, ticks: int = 0, batch: int = 20, **settings: object) -> Iterator[Server]:
    """Run a gateway on the server's core and its feeder on the load's; `settings` are `hot_path` and `loop`."""
    with tempfile.TemporaryDirectory(prefix="bhavcast-") as folder:
        socket, port = Path(folder) / "bus", servers.free_port()
        options = {"socket": socket, "port": port} | settings
        command = [sys.executable, "-m", DRIVER, *(f"{k}={v}" for k, v in options.items())]
        with (
            servers.feeder(socket=socket, scrips=scrips, ticks=ticks, batch=batch),
            servers.process(command, folder=ROOT) as child,
        ):
            servers.wait_listening(child, port)
            yield Server(port, (child.pid,))
