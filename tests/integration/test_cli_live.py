"""The commands that talk to a running system, against one."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.integration.test_cli import BHAVCAST, call
from tests.system import System

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def system(tmp_path_factory) -> Iterator[System]:
    """A whole system in the middle of a trading day, on free ports."""
    running = System(tmp_path_factory.mktemp("system"), "--scrips", "50")
    running.up("--at", "10:00")
    yield running
    assert running.end(signal.SIGINT) == 0


def test_quote_prints_what_prices_are_worth(system):
    done = call("quote", "RELIANCE", "ine467b01029", "--url", system.url)
    assert done.returncode == 0, done.stderr
    header, reliance, tcs = done.stdout.splitlines()
    assert header.split() == ["symbol", "id", "price", "change", "%", "volume", "bid", "ask", "state", "source", "age"]
    assert re.match(r"500325 +RELIANCE +\d", reliance)
    assert re.match(r"532540 +TCS +\d", tcs)
    assert re.search(r"sim \(sim\) +\d", reliance)


def test_quote_as_json_is_the_batch_as_it_came(system):
    done = call("quote", "RELIANCE", "999999", "--json", "--url", system.url)
    assert done.returncode == 1
    quote, unknown = json.loads(done.stdout)
    assert (quote["symbol"], unknown["error"]["code"]) == ("500325", "unknown_symbol")


def test_quote_shows_the_fields_and_the_levels_that_were_asked_for(system):
    arguments = ["quote", "TCS", "--fields", "current_price,volume", "--depth", "2", "--url", system.url]
    [quote] = json.loads(call(*arguments, "--json").stdout)
    assert {"current_price", "volume", "depth"} <= quote.keys()
    assert "open" not in quote
    text = call(*arguments).stdout
    assert "current_price" in text
    assert "bid quantity" in text


def test_quote_of_a_field_that_does_not_exist_is_refused(system):
    done = call("quote", "TCS", "--fields", "colour", "--url", system.url)
    assert done.returncode == 1
    assert "colour" in done.stderr


def test_quote_names_the_symbol_that_is_unknown_and_prints_the_others(system):
    done = call("quote", "999999", "TCS", "--url", system.url)
    assert done.returncode == 1
    assert done.stderr.startswith("error: 999999: ")
    assert "532540" in done.stdout


def test_watch_prints_one_line_of_json_for_each_update_and_ends_after_a_count(system):
    done = call("watch", "RELIANCE", "TCS", "--json", "--count", "5", "--hz", "0", "--url", system.url)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 5
    assert [line["whole"] for line in lines[:3]] == [True, True, False]
    for line in lines:
        assert line.keys() == {"symbol", "age_ms", "whole", "changes", "quote"}
        assert line["symbol"] in ("500325", "532540")
        assert 0 <= line["age_ms"] < 60_000


def test_watch_ends_after_a_time(system):
    started = time.monotonic()
    done = call("watch", "RELIANCE", "--for", "1", "--url", system.url)
    assert done.returncode == 0, done.stderr
    assert 1 <= time.monotonic() - started < 10
    assert "RELIANCE" in done.stdout


def test_watch_of_nothing_that_exists_ends_with_1(system):
    done = call("watch", "NOSUCH", "--url", system.url)
    assert done.returncode == 1
    assert "NOSUCH" in done.stderr


def test_watch_on_a_terminal_is_a_table_in_its_place(system):
    pty = pytest.importorskip("pty")
    seen, arguments = b"", [BHAVCAST, "watch", "RELIANCE", "--for", "2", "--url", system.url]
    child, end = pty.fork()
    if child == 0:
        os.execve(BHAVCAST, arguments, {**os.environ, "COLUMNS": "140", "LINES": "30", "TERM": "xterm-256color"})
    try:
        while piece := os.read(end, 65536):
            seen += piece
    except OSError:  # so ends a terminal
        pass
    os.close(end)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())
    assert "live · open" in text
    assert "RELIANCE" in text
    assert "continuous" in text


def test_verify_finds_everything_in_order(system):
    done = call("verify", "--json", "--url", system.url, "--frontend-url", system.frontend)
    assert done.returncode == 0, done.stdout
    found = json.loads(done.stdout)
    assert found["ok"] is True
    status = {check["name"]: check["status"] for check in found["checks"]}
    assert status.pop("monitor") == "not checked"
    assert set(status.values()) == {"pass"}, found
    assert "live update" in next(check["detail"] for check in found["checks"] if check["name"] == "stream")


def test_the_greeting_comes_when_quotes_answer_and_another_gateway_needs_no_frontend(tmp_path):
    system = System(tmp_path / "data")
    system.up("--at", "10:00")
    try:
        assert httpx.get(f"{system.url}/api/stock/RELIANCE", trust_env=False).status_code == 200
        done = call("verify", "--json", "--url", system.url)
    finally:
        assert system.end(signal.SIGTERM) == 0
    assert done.returncode == 0, done.stdout
    status = {check["name"]: check["status"] for check in json.loads(done.stdout)["checks"]}
    assert (status["frontend"], status["one quote"]) == ("not checked", "pass")


def test_verify_reports_what_is_not_in_order_and_ends_with_1(system):
    done = call("verify", "--url", system.url, "--frontend-url", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert re.search(r"^frontend +fail ", done.stdout, re.MULTILINE)
    assert re.search(r"^one quote +pass ", done.stdout, re.MULTILINE)


def test_a_second_system_on_the_same_data_cannot_run(system):
    done = call("up", "--data", str(system.data), "--port", "0", "--frontend-port", "0")
    assert done.returncode == 3
    assert "is being written by process" in done.stderr


def test_a_recording_is_played_with_its_own_prices(tmp_path):
    file = tmp_path / "a.rec"
    made = ["record", str(file), "--for", "60", "--speed", "30", "--at", "10:00", "--scrips", "40"]
    assert call(*made, "--data", str(tmp_path / "made")).returncode == 0
    system = System(tmp_path / "played", "--speed", "max", command=("replay", str(file)))
    system.up()
    try:
        quote = json.loads(call("quote", "RELIANCE", "--json", "--url", system.url).stdout)[0]
    finally:
        assert system.end(signal.SIGTERM) == 0
    assert quote["mode"] == "replay"
    assert quote["current_price"] > 0


def test_the_frontend_runs_alone_and_names_the_gateway(tmp_path):
    arguments = ["serve", "frontend", "--frontend-port", "0", "--port", "5999", "--data", tmp_path]
    said = tmp_path / "said"
    with said.open("wb") as out, subprocess.Popen([BHAVCAST, *arguments], stdout=out, stderr=out) as running:
        try:
            url = _said_url(said)
            for _ in range(100):
                with suppress(httpx.ConnectError):
                    assert httpx.get(f"{url}/config.json").json() == {"gateway": "http://127.0.0.1:5999"}
                    assert "<html" in httpx.get(f"{url}/").text
                    break
                time.sleep(0.1)
        finally:
            running.send_signal(signal.SIGTERM)
            assert running.wait(20) == 0


def _said_url(said: Path) -> str:
    for _ in range(100):
        if found := re.search(r"url=(http://\S+)", re.sub(r"\x1b\[[0-9;]*m", "", said.read_text())):
            return found[1]
        time.sleep(0.1)
    raise AssertionError(said.read_text())
