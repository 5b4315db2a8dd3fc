"""The WebSocket against Autobahn's fuzzing client, which knows five hundred ways to say something wrong.

The fuzzer wants an echo, so what it meets is our connection (framing, fragments, pings, closes, UTF-8) with a conversation
that repeats. It is a program for Python 2.7: `pip install autobahntestsuite` there, and `wstest` on the path or named by
the variable WSTEST.
"""

import asyncio
import json
import os
import shutil
import socket
from pathlib import Path

import pytest

from bhavcast.gateway.close_codes import CloseCode
from bhavcast.gateway.websocket import Conversation, WebSocket
from bhavcast.hub import frame

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

WSTEST = os.environ.get("WSTEST") or shutil.which("wstest")
WITHIN_S = 900.0
MOST = 17 * 1024 * 1024
# 12 and 13 are compression, which we do not offer: frames are encoded once for all, and small.
LEFT_OUT = ["12.*", "13.*"]
GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}


class Echo(WebSocket):
    """Says again what it hears, in the same kind of frame."""

    def __init__(self, connections: set[object]) -> None:
        super().__init__(
            open_session=lambda _ws, _request: Silent(),
            admit=lambda _ws, _request, _transport: None,
            connections=connections,
            max_bytes=MOST,
        )

    def _hear(self, payload: bytes, session: Conversation) -> None:
        self.write(frame.header(len(payload), binary=not self._text) + payload)


class Silent:
    def receive(self, payload: bytes | str) -> None: ...

    def send_away(self, code: CloseCode, retry_ms: int | None = None) -> None: ...

    def close(self) -> None: ...


@pytest.mark.skipif(WSTEST is None, reason="Autobahn's wstest is not here: it needs Python 2.7")
async def test_the_fuzzing_client_finds_no_fault(tmp_path: Path):
    assert WSTEST is not None
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    connections: set[object] = set()
    server = await asyncio.get_running_loop().create_server(lambda: Echo(connections), sock=listener)
    spec = {
        "outdir": str(tmp_path / "reports"),
        "servers": [{"agent": "bhavcast", "url": f"ws://127.0.0.1:{port}"}],
        "cases": ["*"],
        "exclude-cases": LEFT_OUT,
        "exclude-agent-cases": {},
    }
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    async with server:
        fuzzer = await asyncio.create_subprocess_exec(
            WSTEST, "-m", "fuzzingclient", "-s", str(tmp_path / "spec.json"),
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            _, said = await asyncio.wait_for(fuzzer.communicate(), WITHIN_S)
        finally:
            if fuzzer.returncode is None:
                fuzzer.kill()
    assert fuzzer.returncode == 0, said.decode()
    cases = json.loads((tmp_path / "reports" / "index.json").read_text())["bhavcast"]
    assert len(cases) > 200
    faults = {
        case: found
        for case, found in cases.items()
        if found["behavior"] not in GOOD or found["behaviorClose"] not in GOOD
    }
    assert not faults
