"""Peers that are gone without a word are found, in bounded time, whatever kind of connection they had."""

import json
import shutil
import socket
import subprocess
import sys

import pytest

from bhavcast.gateway.connection import GONE_S
from tests.integration.venue import Venue

ALONE = ("unshare", "--user", "--map-root-user", "--net")


def namespaces() -> bool:
    return (
        shutil.which(ALONE[0]) is not None
        and not subprocess.run([*ALONE, "true"], check=False, capture_output=True).returncode
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux" or not namespaces(), reason="needs a network namespace of its own")
def test_who_vanishes_is_forgotten_though_no_word_of_it_came():
    said = subprocess.run(
        [*ALONE, sys.executable, "-m", "tests.integration.vanishing", "2"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert said.returncode == 0, said.stderr
    # Streams of every kind, one that polls, one that idles, one in the middle of a request.
    assert json.loads(said.stdout.splitlines()[-1]) == {"there": [7, 5], "left": [0, 1]}


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux alone has it")
async def test_every_connection_is_watched():
    async with Venue() as venue, venue.line() as line:
        await line.ask(b"GET /api/stock/500325 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        (served,) = venue.server._server.server_state.connections
        watched = served.transport.get_extra_info("socket")
        assert watched.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert watched.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == GONE_S * 1000
        assert watched.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) < GONE_S
