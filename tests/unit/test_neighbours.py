"""The figures of several gateways as one text."""

import asyncio
import os
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bhavcast.app.neighbours import all_figures, listening, together
from bhavcast.telemetry.metrics import Exposition, HttpCounters


def figures(rev: float, reads: int) -> bytes:
    counters = HttpCounters()
    for _ in range(reads):
        counters.count("/api/stock/{symbol}", 200, 0.001)
    return Exposition(counters, lambda: {"bhavcast_rev": [((), rev)], "bhavcast_bus_link": [(("ok",), 1.0)]}).text()


def read(text: bytes) -> dict[tuple[str, str], float]:
    families = list(text_string_to_metric_families(text.decode()))
    assert len({family.name for family in families}) == len(families), "each family stands once, in one piece"
    return {
        (sample.name, sample.labels["gateway"]): sample.value
        for family in families
        for sample in family.samples
        if sample.labels.get("status", "200") == "200" and "le" not in sample.labels
    }


def test_every_sample_says_whose_it_is():
    told = read(together({"gateway-1": figures(5, 2), "gateway-2": figures(7, 3)}))
    assert told["bhavcast_rev", "gateway-1"] == 5
    assert told["bhavcast_rev", "gateway-2"] == 7
    assert told["http_requests_total", "gateway-1"] == 2
    assert told["http_requests_total", "gateway-2"] == 3
    assert told["http_request_duration_seconds_count", "gateway-2"] == 3
    assert told["bhavcast_bus_link", "gateway-1"] == 1


async def test_whoever_is_asked_asks_the_others(tmp_path):
    pids = {"ingest": 1, "gateway-1": os.getpid(), "gateway-2": 4711}

    def roles():
        return {name: {"pid": pid} for name, pid in pids.items()}

    async with listening(tmp_path, lambda: figures(7, 3)):
        (tmp_path / f"{os.getpid()}.figures").rename(tmp_path / "4711.figures")
        told = read(await all_figures(figures(5, 2), roles, tmp_path))
    assert (told["bhavcast_rev", "gateway-1"], told["bhavcast_rev", "gateway-2"]) == (5, 7)


async def test_one_that_is_silent_or_gone_is_left_out(tmp_path):
    release = asyncio.Event()

    async def silent(_reader, writer):
        await release.wait()
        writer.close()

    server = await asyncio.start_unix_server(silent, tmp_path / "4711.figures")
    pids = {"gateway-1": os.getpid(), "gateway-2": 4711, "gateway-3": 4712, "gateway-4": None}
    roles = {name: {"pid": pid} for name, pid in pids.items()}
    told = read(await all_figures(figures(5, 2), lambda: roles, tmp_path, within_s=0.05))
    assert {gateway for _, gateway in told} == {"gateway-1"}
    release.set()
    server.close()


@pytest.mark.parametrize("roles", [{}, {"ingest": {"pid": 1}, "gateway": {"pid": 2}}])
async def test_a_gateway_alone_says_what_it_always_said(tmp_path, roles):
    own = figures(5, 2)
    assert await all_figures(own, lambda: roles, tmp_path) is own


async def test_what_killed_ones_left_is_removed_and_what_others_have_stays(tmp_path):
    gone = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await gone.wait()
    for name in (gone.pid, os.getppid(), "x"):
        (tmp_path / f"{name}.figures").touch()
    async with listening(tmp_path, lambda: b""):
        assert {path.name for path in tmp_path.iterdir()} == {
            f"{os.getpid()}.figures", f"{os.getppid()}.figures", "x.figures"
        }  # fmt: skip
    assert not (tmp_path / f"{os.getpid()}.figures").exists()


async def test_where_nothing_can_be_listened_on_the_gateway_goes_on(tmp_path):
    async with listening(tmp_path / "nowhere", lambda: b""):
        pass
