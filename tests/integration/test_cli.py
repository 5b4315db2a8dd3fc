"""The command as a user calls it: what it prints where, and what it ends with."""

import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.reference_files import master_file, scrip

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
    for name in ("up", "serve", "import", "record", "replay", "quote", "watch", "verify", "config", "bench", "version"):
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
        (["upp"], "Did you mean"),
        (["up", "--prot", "1"], "Did you mean --port?"),
        (["up", "--port", "x"], "port in --port — expected a whole number from 0 to 65535, got 'x'"),
        (["up", "--host", "0.0.0.0"], "expected a loopback address such as 127.0.0.1, got '0.0.0.0'"),
        (["up", "--config", "nowhere.toml"], "nowhere.toml — expected a configuration file"),
        (["serve", "nothing"], "nothing"),
        (["quote"], "expected one symbol or more, got none"),
        (["watch"], "expected one symbol or more, got none"),
        (["import", "master"], "expected one file or more, got none"),
        (["replay", "a.rec", "--source", "sim"], "expected no source besides the recording"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_was_expected(arguments, said, tmp_path):
    done = call(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in error_of(done)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve", "gateway"], "need the Redis bus"),
        (["serve", "ingest"], "need the Redis bus"),
        (["serve", "monitor"], "not part of this version"),
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


def test_a_reader_that_has_seen_enough_is_no_error():
    shell = f"{BHAVCAST} config docs | head -1"
    done = subprocess.run(shell, shell=True, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("# Settings\n", "")


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
