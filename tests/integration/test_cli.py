"""The command as a user calls it: what it prints where, and what it ends with."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.reference_files import master_file, scrip

pytestmark = pytest.mark.slow

BHAVCAST = str(Path(sysconfig.get_path("scripts")) / "bhavcast")
QUIET = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
NOWHERE = "http://127.0.0.1:1"  # a port that nothing may listen on


def call(*arguments: str, cwd: Path | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BHAVCAST_")}
    return subprocess.run(
        [BHAVCAST, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**clean, **environ},
        timeout=60,
        check=False,
    )


def error_of(done: subprocess.CompletedProcess[str]) -> str:
    """Return the error that a failed call printed; it is one line, on stderr, without a traceback."""
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    first, *rest = done.stderr.splitlines()
    assert first.startswith("error: ")
    assert all(line.startswith("  next: ") for line in rest)
    return first.removeprefix("error: ")


def test_help_names_every_command():
    done = call("--help")
    assert done.returncode == 0
    for name in (
        "up",
        "serve",
        "keys",
        "import",
        "record",
        "replay",
        "quote",
        "watch",
        "verify",
        "config",
        "bench",
        "version",
    ):
        assert re.search(rf"^  {name}\b", done.stdout, re.MULTILINE), name


def test_help_is_quick():
    """It takes less than 300 ms of a processor: wall time beside other tests would measure them."""
    best = 9.0
    for _ in range(5):
        child = os.posix_spawn(BHAVCAST, [BHAVCAST, "--help"], os.environ, file_actions=QUIET)
        _, status, used = os.wait4(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        best = min(best, used.ru_utime + used.ru_stime)
    assert best < 0.3


def test_help_imports_nothing_that_it_does_not_need():
    code = (
        "import sys; from bhavcast.cli.main import main; code = main(['--help']);"
        "heavy = {'litestar', 'uvicorn', 'httpx', 'websockets', 'bhavcast.app.config', 'bhavcast.flow'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [["--help"], ["up", "--help"], ["config", "show"]])
def test_what_goes_into_a_pipe_has_no_colour_and_no_boxes(arguments, tmp_path):
    done = call(*arguments, cwd=tmp_path)
    assert done.returncode == 0
    assert not set("\x1b│╭┃━") & set(done.stdout)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["wacth"], "wacth — expected a command, one of up, serve, keys, import, "),
        (["wacth"], "; the nearest is watch"),
        (
            ["config", "shw"],
            "shw — expected a command of bhavcast config, one of show, check, docs; the nearest is show",
        ),
        (["up", "--prot=1"], "--prot — expected an option of bhavcast up; the nearest is --port"),
        (["up", "--port"], "--port — expected a value behind it, got none"),
        (["up", "--port", "1", "--port", "2"], "--port — expected once, got it again"),
        (["up", "now"], "up — expected no further argument, got 'now'"),
        (["record"], "record — expected FILE, got none"),
        (["keys", "create"], "keys create — expected --name, got none"),
        (["keys", "expire", "desk"], "keys expire — expected WHEN, got none"),
        (
            ["serve", "gatway"],
            "ROLE — expected one of gateway, ingest, frontend, monitor, got 'gatway'; the nearest is gateway",
        ),
        (["import", "bhavcopy", "a", "--date", "7.5.21"], "--date — expected a date such as 2021-05-07, got '7.5.21'"),
        (["quote", "TCS", "--depth", "x"], "--depth — expected a whole number, got 'x'"),
        (["quote", "TCS", "--depth", "6"], "--depth — expected a whole number from 0 to 5, got 6"),
        (["quote", "TCS", "--json=x"], "--json — expected true or false, got 'x'"),
        (["watch", "TCS", "--hz", "x"], "--hz — expected a number, got 'x'"),
        (["watch", "TCS", "--hz", "51"], "--hz — expected a number from 0 to 50, got 51"),
        (["watch", "TCS", "--hz", "nan"], "--hz — expected a number from 0 to 50, got nan"),
        (["watch", "TCS", "--count", "0"], "--count — expected a whole number of at least 1, got 0"),
        (["watch", "TCS", "--for", "-1"], "--for — expected a number above 0, got -1"),
        (["journal", "show", "a", "--limit", "0"], "--limit — expected a whole number of at least 1, got 0"),
        (["journal", "show", "a", "--skip", "9" * 400], "--skip — expected a whole number of at least 0, got 999"),
        (["record", "a.rec", "--for", "inf"], "--for — expected a number above 0, got inf"),
        (["up", "--port", "x"], "port in --port — expected a whole number from 0 to 65535, got 'x'"),
        (["up", "--host", "0.0.0.0"], "while there are no keys, got '0.0.0.0'"),
        (["up", "--data", "/dev/null"], "data — expected a folder that can be used, got /dev/null: Not a directory"),
        (["serve", "gateway"], "bus.url — expected the address of a Redis, got nothing"),
        (["serve", "ingest"], "bus.url — expected the address of a Redis, got nothing"),
        (["keys", "revoke"], "expected one key or more, got none"),
        (["up", "--config", "nowhere.toml"], "nowhere.toml — expected a configuration file"),
        (["quote"], "expected one symbol or more, got none"),
        (["watch"], "expected one symbol or more, got none"),
        (["import", "master"], "expected one file or more, got none"),
        (["replay", "a.rec", "--source", "sim"], "expected no source besides the recording"),
        (["replay", "nowhere.rec"], "source — expected a recording to play, got nowhere.rec: no such file"),
        (["up", "--source", "replay:nowhere.rec"], "expected a recording to play, got nowhere.rec: no such file"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_was_expected(arguments, said, tmp_path):
    done = call(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in error_of(done)


def test_wrong_usage_is_followed_by_the_help_that_would_have_told(tmp_path):
    assert "next: bhavcast --help\n" in call("wacth", cwd=tmp_path).stderr
    assert "next: bhavcast keys create --help\n" in call("keys", "create", cwd=tmp_path).stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve", "monitor"], "not part of this version"),
        (["up", "--data", "/proc/none"], "/proc/none — expected a file or folder that can be used, got: No such file"),
        (["bench"], "expected to be called within a checkout of Bhavcast"),
        (["quote", "TCS", "--url", NOWHERE], "does not answer"),
        (["watch", "TCS", "--url", NOWHERE], "does not answer"),
        (["verify", "--url", NOWHERE], "does not answer"),
    ],
)
def test_what_cannot_run_ends_with_3_and_says_why(arguments, said, tmp_path):
    done = call(*arguments, cwd=tmp_path)
    assert done.returncode == 3
    assert said in error_of(done)


def test_a_defect_shows_its_traceback_only_with_debug(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    arguments = ["record", str(blocked / "a.rec"), "--data", str(tmp_path)]
    quiet = call(*arguments)
    assert quiet.returncode == 3
    assert "Traceback" not in quiet.stderr
    loud = call(*arguments, "--debug")
    assert "Traceback" in loud.stderr


def test_what_is_no_recording_ends_the_start(tmp_path):
    (tmp_path / "a.rec").write_text("junk\n")
    done = call("replay", "a.rec", "--data", "data", "--port", "0", "--frontend-port", "0", cwd=tmp_path)
    assert done.returncode == 2
    assert "expected a recording to play, got one that cannot be: a.rec" in done.stderr


@pytest.mark.parametrize("arguments", ["config docs", "up --help", "import"])
def test_a_reader_that_has_seen_enough_is_no_error(arguments):
    shell = f"set -o pipefail; {BHAVCAST} {arguments} | head -1"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)


def test_version(tmp_path):
    done = call("version", "--json")
    assert json.loads(done.stdout).keys() == {"bhavcast", "python", "platform"}
    assert call("version").stdout.startswith("bhavcast ")


def test_config_show_says_where_each_value_comes_from(tmp_path):
    (tmp_path / "bhavcast.toml").write_text("seed = 5\n")
    done = call("config", "show", "--json", "--data", str(tmp_path), BHAVCAST_PORT="0")
    shown = json.loads(done.stdout)
    assert shown["seed"] == {"value": 5, "from": str(tmp_path / "bhavcast.toml")}
    assert shown["port"] == {"value": 0, "from": "BHAVCAST_PORT"}
    assert shown["data"] == {"value": str(tmp_path), "from": "--data"}
    assert shown["rate"] == {"value": 700, "from": "default"}
    table = call("config", "show", "--data", str(tmp_path)).stdout
    assert re.search(r"^seed +5 +\S+bhavcast\.toml$", table, re.MULTILINE)


def test_config_check_ends_with_1_for_a_wrong_setting(tmp_path):
    file = tmp_path / "prod.toml"
    file.write_text("prot = 1\n")
    done = call("config", "check", "--config", str(file))
    assert done.returncode == 1
    assert "the nearest is port" in error_of(done)
    file.write_text("port = 1\n")
    done = call("config", "check", "--config", str(file))
    assert (done.returncode, done.stdout) == (0, f"The settings are in order: defaults, and {file}\n")


def test_import_takes_whole_files_and_says_what_they_hold(tmp_path):
    path = tmp_path / "BSE_EQ_SCRIP_15062023.csv"
    path.write_bytes(master_file(scrip(600001), scrip(600002, TckrSymb="OTHER")))
    done = call("import", "master", str(path), "--json", "--data", str(tmp_path / "data"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["kind"] == "master"
    path.write_bytes(b"<html>404</html>")
    done = call("import", "master", str(path), "--data", str(tmp_path / "data"))
    assert done.returncode == 1
    error_of(done)


def test_of_several_files_the_first_that_is_refused_is_named_and_ends_it(tmp_path):
    good, bad, after = (tmp_path / name for name in ("good.csv", "bad.csv", "after.csv"))
    good.write_bytes(master_file(scrip(600001)))
    bad.write_bytes(master_file(scrip(600001), scrip("nonsense")))
    after.write_bytes(master_file(scrip(600001), scrip(600003)))
    done = call("import", "master", *map(str, (good, bad, after)), "--data", str(tmp_path / "data"))
    assert done.returncode == 1
    assert "good.csv" in done.stdout
    assert "after.csv" not in done.stdout
    assert "error: bad.csv: row 3: " in done.stderr
    assert "next: nothing of it was used; 1 of 3 files were imported before it" in done.stderr


@pytest.mark.parametrize("command", [["quote", "TCS"], ["watch", "TCS"], ["verify"]])
@pytest.mark.parametrize("url", ["localhost:5000", "ftp://x", "http://", "http://x:99999", "http://x/path"])
def test_what_is_no_address_is_wrong_usage(command, url):
    done = call(*command, "--url", url)
    assert done.returncode == 2
    assert "expected an address such as http://127.0.0.1:5000" in error_of(done)


class _Other(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<html>some other service</html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_another_service_is_not_taken_for_this_one():
    with HTTPServer(("127.0.0.1", 0), _Other) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}"
            verified = call("verify", "--url", url, "--frontend-url", url)
            quoted = call("quote", "TCS", "--url", url)
        finally:
            server.shutdown()
            thread.join()
    assert verified.returncode == 1
    assert re.search(r"^health +fail .*the answer has another form", verified.stdout, re.MULTILINE)
    assert "defect" not in verified.stderr
    assert quoted.returncode == 3
    assert "expected an answer of this service" in error_of(quoted)


def test_simulated_trading_is_recorded_faster_than_it_happens_and_the_same_each_time(tmp_path):
    said = []
    for name in ("a.rec", "b.rec"):
        arguments = ["record", str(tmp_path / name), "--fast", "--at", "10:00", "--until", "10:05", "--scrips", "40"]
        done = call(*arguments, "--json", "--data", str(tmp_path / "data"))
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        said.append({name: told[name] for name in ("batches", "ticks")})
        assert 290_000 <= told["last"] - told["first"] <= 300_100
    assert said[0] == said[1]
    assert said[0]["ticks"] > 10_000


@pytest.mark.parametrize(
    "arguments", [["--fast", "--chaos", "drop=1%"], ["--until", "soon"], ["--until", "10:00", "--for", "5"]]
)
def test_a_recording_that_cannot_be_is_wrong_usage(arguments, tmp_path):
    done = call("record", str(tmp_path / "a.rec"), *arguments, "--data", str(tmp_path))
    assert done.returncode == 2
    assert not (tmp_path / "a.rec").exists()


def test_a_recording_holds_what_the_source_gave_and_is_never_written_over(tmp_path):
    file = tmp_path / "a.rec"
    arguments = ["record", str(file), "--for", "30", "--speed", "30", "--at", "10:00", "--scrips", "50", "--json"]
    done = call(*arguments, "--data", str(tmp_path / "data"))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["ticks"] > 0
    assert 0 <= told["last"] - told["first"] <= 35_000
    again = call(*arguments, "--data", str(tmp_path / "data"))
    assert again.returncode == 1
    assert "exists" in error_of(again)
