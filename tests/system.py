"""The whole system as a user starts it, by `bhavcast up` or `bhavcast replay FILE`."""

import json
import os
import re
import signal
import subprocess
import sysconfig
import threading
from pathlib import Path
from typing import Any

import httpx

BHAVCAST = str(Path(sysconfig.get_path("scripts")) / "bhavcast")
UP_WITHIN_S = 60.0
STOPPED_WITHIN_S = 10.0
Rows = dict[str, dict[str, Any]]


class System:
    """One on a data directory, on ports that it keeps over restarts; `settings` are those of its environment."""

    def __init__(
        self, data: Path, *flags: str, command: tuple[str, ...] = ("up",), bus: str = "memory", **settings: str
    ) -> None:
        self.data = data
        self.url = self.frontend = ""
        self.said: list[str] = []
        self.process: subprocess.Popen[str] | None = None
        self._command = command
        self._flags = flags
        self._settings = {"BHAVCAST_BUS_KIND": bus, **settings}

    @property
    def stream(self) -> str:
        return self.url.replace("http", "ws", 1) + "/ws"

    def up(self, *flags: str) -> None:
        """Start it, and wait until it says where it is."""
        ports = [url.rpartition(":")[2] or "0" for url in (self.url, self.frontend)]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("BHAVCAST_")}
        self.process = subprocess.Popen(
            [BHAVCAST, *self._command, "--data", str(self.data), "--port", ports[0], "--frontend-port", ports[1],
             *self._flags, *flags],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**clean, **self._settings},
        )  # fmt: skip
        is_up = threading.Event()
        self.reader = threading.Thread(target=self._listen, args=(self.process, is_up))
        self.reader.start()
        assert is_up.wait(UP_WITHIN_S), "it did not come up:\n" + "\n".join(self.said[-20:])

    def _listen(self, process: subprocess.Popen[str], is_up: threading.Event) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self.said.append(line.rstrip())
            if found := re.match(r"\s+(page|frontend)\s+(https?://[^/\s]+)", line):
                setattr(self, "url" if found[1] == "page" else "frontend", found[2])
            if "Ctrl-C" in line:
                is_up.set()

    def keys(self, *arguments: str) -> Any:
        """Change its keys; return what the command says."""
        command = [BHAVCAST, "keys", *arguments, "--json", "--data", str(self.data)]
        return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal; return the exit code, once it has ended in time."""
        if self.process is None:
            return 0
        self.process.send_signal(number)
        try:
            return self.process.wait(STOPPED_WITHIN_S)
        finally:
            self.process.kill()
            self.process.wait()
            self.reader.join()
            assert self.process.stderr is not None
            self.process.stderr.close()
            self.process = None

    async def quote(self, symbol: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False) as http:
            return await http.get(f"{self.url}/api/stock/{symbol}")

    async def rest(self, symbols: list[str]) -> Rows:
        """What HTTP says of them, with depth."""
        rows: Rows = {}
        async with httpx.AsyncClient(trust_env=False) as http:
            for at in range(0, len(symbols), 50):
                asked = {"symbols": ",".join(symbols[at : at + 50]), "depth": "5"}
                answer = await http.get(f"{self.url}/api/stocks/batch", params=asked)
                rows |= {row["symbol"]: row for row in answer.json() if "error" not in row}
        return rows

    def prices(self, symbols: list[str]) -> dict[str, float]:
        """What REST says."""
        quotes = httpx.get(f"{self.url}/api/stocks/batch", params={"symbols": ",".join(symbols)}).json()
        return {quote["symbol"]: quote["current_price"] for quote in quotes}
