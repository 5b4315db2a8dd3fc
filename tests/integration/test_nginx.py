"""The configuration in docs/how-to/nginx.md, as it is pasted, in a real nginx in front of a real gateway."""

import asyncio
import ipaddress
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect

from bhavcast.access.doorkeeper import Doorkeeper
from bhavcast.access.keyring import Keyring
from bhavcast.domain.access import Key, digest
from tests.docs.regions import ROOT
from tests.docs.stage import PATIENCE_S, Still
from tests.integration.test_tls import certify
from tests.integration.venue import Venue

KEY = {"X-API-Key": "desk-key"}
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(NGINX is None, reason="nginx is not installed")]


def configured(folder: Path, port: int, gateway_port: int) -> str:
    """Return a whole configuration: what the page says, on a port, with files and an upstream of this test."""
    server, upgrade = re.findall(
        r"^```nginx\n(.*?)^```$", (ROOT / "docs/how-to/nginx.md").read_text(), re.MULTILINE | re.DOTALL
    )
    for written, real in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/nginx/", f"{folder}/"),
        ("127.0.0.1:5000", f"127.0.0.1:{gateway_port}"),
        ("prices.example.in", "gw.example"),
    ):
        assert written in server
        server = server.replace(written, real)
    paths = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    top = f"daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;"
    return f"{top} events {{}} http {{ access_log off; {paths} {upgrade} {server} }}"


class Front:
    """nginx before a gateway, and how to reach it by its public name."""

    def __init__(self, venue: Venue, port: int, cert: Path) -> None:
        self.venue = venue
        self.port = port
        self.tls = ssl.create_default_context(cafile=str(cert))
        self.tls.check_hostname = False
        self.http = httpx.AsyncClient(
            base_url=f"https://127.0.0.1:{port}", verify=self.tls, trust_env=False, headers={"Host": "gw.example"}
        )


@pytest_asyncio.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    key = Key(id="1", name="desk", role="viewer", sha256=digest("desk-key"), created=0)
    door = Doorkeeper(Keyring([key]), Still(), trusted_proxies=[ipaddress.ip_network("127.0.0.1")])
    cert, _ = certify(tmp_path)
    async with Venue(keeper=door) as venue:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        (tmp_path / "nginx.conf").write_text(configured(tmp_path, port, venue.port))
        assert NGINX is not None
        nginx = subprocess.Popen([NGINX, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-e", "error.log"])  # noqa: ASYNC220 - it starts in no time
        try:
            opened = Front(venue, port, cert)
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    assert nginx.poll() is None, (tmp_path / "error.log").read_text()
                    try:
                        await opened.http.get("/", timeout=1)
                        break
                    except httpx.TransportError:
                        await asyncio.sleep(0.02)
            yield opened
            await opened.http.aclose()
        finally:
            nginx.terminate()
            nginx.wait(PATIENCE_S)


async def test_a_key_is_needed_even_from_this_machine_and_is_enough(front: Front):
    refused = await front.http.get("/api/stock/500325")
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
    assert (await front.http.get("/health")).status_code == 401
    answer = await front.http.get("/api/stock/500325", headers=KEY)
    assert answer.status_code == 200
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"]), "nginx's own name of the request"


async def test_what_a_client_says_of_its_own_address_is_not_believed(front: Front):
    claims = {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9", "X-Forwarded-Host": "evil.example"}
    assert (await front.http.get("/api/stock/500325", headers=claims)).status_code == 401
    guess = {**claims, "X-API-Key": "wrong-key"}
    statuses = [(await front.http.get("/api/stock/500325", headers=guess)).status_code for _ in range(11)]
    assert statuses == [401] * 10 + [429]
    assert list(front.venue.gateway.door._addresses) == ["127.0.0.1"]
    located = await front.http.get("/config.json", headers=claims)
    assert located.json() == {"gateway": "https://gw.example"}


async def test_a_browser_signs_in_and_streams(front: Front):
    answer = await front.http.post("/api/session", headers=KEY)
    assert answer.headers["set-cookie"].endswith("; Secure")
    cookie = {"Cookie": answer.headers["set-cookie"].partition(";")[0]}
    url = f"wss://gw.example:{front.port}/ws"
    headers = {**cookie, "Origin": "https://gw.example"}
    async with connect(
        url, host="127.0.0.1", ssl=front.tls, additional_headers=headers, compression=None, proxy=None
    ) as wire:
        assert '"t":"hello"' in str(await wire.recv())
    async with front.http.stream("GET", "/api/stream?symbols=500325", headers=cookie) as events:
        async for line in events.aiter_lines():
            if '"t":"sync"' in line:
                break
