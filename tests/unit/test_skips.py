"""The rule that CI skips nothing in silence."""

from pathlib import Path

import pytest

from tests.skips import is_allowed, parse_allowed

pytest_plugins = ["pytester"]

CASES = """
    import pytest

    def test_runs(): pass

    @pytest.mark.skip(reason="no engine")
    def test_skipped(): pass

    @pytest.mark.xfail(reason="known", strict=True)
    def test_expected_failure(): assert False

    @pytest.mark.xfail(reason="not tried", run=False)
    def test_not_tried(): pass
"""


def run(pytester: pytest.Pytester, *args: str) -> pytest.RunResult:
    root = Path(__file__).parents[2]
    pytester.makepyprojecttoml(f"[tool.pytest]\npythonpath = ['{root}']")
    pytester.makeconftest('pytest_plugins = ["tests.skips"]')
    pytester.makepyfile(CASES)
    return pytester.runpytest_subprocess(*args)


@pytest.fixture(autouse=True)
def without_other_plugins(monkeypatch):
    """The inner runs start faster, and only what is tested here can fail them."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.mark.parametrize("workers", [(), ("-p", "xdist", "-n", "1")], ids=["serial", "xdist"])
def test_a_skip_and_an_untried_xfail_fail_the_run_in_ci(pytester, monkeypatch, workers):
    monkeypatch.setenv("CI", "true")
    result = run(pytester, *workers)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*::test_not_tried: xfail [[]NOTRUN[]]*", "*::test_skipped: *no engine"])
    result.stdout.no_fnmatch_line("*::test_expected_failure: *")


def test_outside_ci_a_skip_is_only_a_skip(pytester, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    assert run(pytester).ret == pytest.ExitCode.OK


def test_an_allowed_skip_needs_a_reason():
    assert parse_allowed(["# comment", "", "tests/a.py::* | no Windows here"]) == ["tests/a.py::*"]
    with pytest.raises(pytest.UsageError, match=r"allowed-skips\.txt:1"):
        parse_allowed(["tests/a.py::*"])


def test_brackets_in_an_allowed_skip_are_the_tests_parameters():
    assert is_allowed("tests/a.py::test_x[redis]", ["tests/a.py::*[redis]"])
    assert not is_allowed("tests/a.py::test_x[r]", ["tests/a.py::*[redis]"])
