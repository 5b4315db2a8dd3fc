"""The server of our own, as each program that can be found runs it."""

import asyncio
import contextlib
import os
import stat
import subprocess
from pathlib import Path

import pytest

from bhavcast.bus import embedded

PATIENCE_S = 20.0


@pytest.fixture
def program() -> Path:
    found = embedded.find()
    if found is None:
        pytest.skip("no redis-server or valkey-server (on Debian and Ubuntu: apt install redis-server)")
    return found


@contextlib.asynccontextmanager
async def running(server: embedded.Embedded):
    process = await asyncio.create_subprocess_exec(*server.command, stdout=subprocess.DEVNULL)
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not await server.answers():  # noqa: ASYNC110 - another process has no event of ours
                await asyncio.sleep(0.01)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_it_answers_who_knows_the_password_and_nobody_else(program, tmp_path):
    server = embedded.prepare(program, tmp_path)
    assert not await server.answers()
    async with running(server):
        assert await server.answers()
        reader, writer = await asyncio.open_unix_connection(str(server.socket))
        writer.write(b"PING\r\n")
        assert (await reader.readline()).startswith(b"-NOAUTH")
        writer.close()


async def test_it_keeps_what_it_saves_in_the_data_folder_evicts_nothing_and_opens_no_port(program, tmp_path):
    server = embedded.prepare(program, tmp_path)
    async with running(server):
        reader, writer = await asyncio.open_unix_connection(str(server.socket))
        writer.write(f"AUTH {server.password_file.read_text()}\r\n".encode())
        assert await reader.readline() == b"+OK\r\n"
        told = {}
        for name in ("dir", "maxmemory-policy", "appendonly", "save", "port"):
            writer.write(f"CONFIG GET {name}\r\n".encode())
            lines = [await reader.readline() for _ in range(5)]
            told[name] = lines[-1].strip().decode()
        writer.close()
    assert told == {
        "dir": str(tmp_path / "redis"),
        "maxmemory-policy": "noeviction",
        "appendonly": "no",
        "save": "900 1 300 10 60 10000",
        "port": "0",
    }


def test_its_password_is_new_at_each_start_and_only_in_files_of_this_user(program, tmp_path):
    first = embedded.prepare(program, tmp_path).password_file.read_text()
    server = embedded.prepare(program, tmp_path)
    assert server.password_file.read_text() != first
    assert not any(server.password_file.read_text() in part for part in server.command)
    for path in (server.password_file, server.configuration):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(server.socket.parent.stat().st_mode) == 0o700


async def test_one_that_an_earlier_start_left_behind_is_sent_away(program, tmp_path):
    async with running(embedded.prepare(program, tmp_path)) as process:
        assert await embedded.dismiss(tmp_path)
        assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0
    assert not await embedded.dismiss(tmp_path)


async def test_a_folder_whose_name_is_too_long_for_a_socket_has_its_sockets_elsewhere(program, tmp_path):
    data = tmp_path / ("long" * 30)
    server = embedded.prepare(program, data)
    assert len(os.fsencode(server.socket)) <= embedded.SOCKET_BYTES
    async with running(server):
        assert await server.answers()
    assert embedded.run_folder(data) == server.socket.parent


def test_a_program_that_is_too_old_or_does_not_run_is_not_taken(tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert embedded.find() is None
    fake = folder / "redis-server"
    for said, taken in (
        ("echo Redis server v=6.0.16", False),
        ("exit 1", False),
        ("echo Redis server v=7.0.0 x", True),
    ):
        fake.write_text(f"#!/bin/sh\n{said}\n")
        fake.chmod(0o755)
        assert (embedded.find() == fake) is taken
