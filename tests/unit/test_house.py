"""The house around the code: what is tested is the wheel, and the rules are really enforced."""

import re
import subprocess
import sys
import sysconfig
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import bhavcast

IGNORE = re.compile(
    r"#\s*(?:noqa|type:\s*ignore)\b(?P<codes>:\s*[A-Z]+\d+(?:\s*,\s*[A-Z]+\d+)*|\[[^]]*\])?(?P<rest>.*)$"
)


@pytest.fixture(scope="module")
def pyproject(root):
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_tests_import_the_installed_wheel_and_not_the_sources(root):
    site = Path(sysconfig.get_path("purelib"))
    assert Path(bhavcast.__file__) == site / "bhavcast" / "__init__.py"
    assert not any(Path(entry or ".").resolve() == root / "src" for entry in sys.path)


def test_the_wheel_carries_the_pages_and_its_type_marker():
    package = Path(bhavcast.__file__).parent
    assert (package / "web" / "index.html").is_file()
    assert (package / "py.typed").is_file()


def test_the_command_states_the_version_of_the_wheel():
    command = Path(sysconfig.get_path("scripts")) / "bhavcast"
    answer = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == bhavcast.__version__ == metadata.version("bhavcast")


def test_every_run_time_dependency_is_locked_for_users(root, pyproject):
    lock = (root / "requirements" / "run.lock").read_text(encoding="utf-8")
    pins = dict(re.findall(r"^([\w.-]+)==([\w.]+)", lock, re.MULTILINE))
    for text in pyproject["project"]["dependencies"]:
        wanted = Requirement(text)
        assert wanted.name in pins, f"{wanted.name} is not in run.lock: run make lock"
        assert wanted.specifier.contains(pins[wanted.name]), (
            f"{text} but run.lock has {pins[wanted.name]}: run make lock"
        )


def test_the_test_tools_leave_the_run_time_pins_as_users_get_them(root):
    pins = [
        set(re.findall(r"^[\w.-]+==[\w.]+", (root / "requirements" / name).read_text(encoding="utf-8"), re.MULTILINE))
        for name in ("run.lock", "dev.lock")
    ]
    assert pins[0] <= pins[1]


@pytest.mark.parametrize("name", ["run", "dev", "bench", "build"])
def test_a_lock_has_a_hash_for_every_pin_and_names_no_host(root, name):
    lock = (root / "requirements" / f"{name}.lock").read_text(encoding="utf-8")
    assert "://" not in lock
    pins = re.split(r"^(?=[\w.-]+==)", lock, flags=re.MULTILINE)[1:]
    assert pins
    assert [pin for pin in pins if "--hash=sha256:" not in pin] == []


def test_every_lint_ignore_has_its_reason_beside_it(root):
    bare = [
        f"{path.relative_to(root)}:{number}: {line.strip()}"
        for folder in ("src", "tests", "benchmarks")
        for path in sorted((root / folder).rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (found := IGNORE.search(line)) and not found["rest"].strip(" -–:#")
    ]
    assert bare == []
