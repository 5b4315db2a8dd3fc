"""In CI (CI=true) a test that was not run fails the run, unless tests/allowed-skips.txt names it with a reason."""

import os
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ALLOWED = Path(__file__).with_name("allowed-skips.txt")


def parse_allowed(lines: Iterable[str]) -> list[str]:
    """Return the nodeid globs of an allowed-skips file; every entry must give its reason."""
    globs = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        glob, bar, reason = (part.strip() for part in text.partition(" | "))
        if not (glob and bar and reason):
            raise pytest.UsageError(f"{ALLOWED.name}:{number}: expected 'nodeid-glob | reason', found {text!r}")
        globs.append(glob)
    return globs


def is_allowed(nodeid: str, globs: Iterable[str]) -> bool:
    # fnmatch reads [ as a set, but in a nodeid it opens the parameters.
    return any(fnmatchcase(nodeid, glob.replace("[", "[[]")) for glob in globs)


def unrun_reason(report: pytest.TestReport | pytest.CollectReport) -> str | None:
    """Say why a test was not run; None when it ran (an expected failure that ran counts as run)."""
    if not report.skipped:
        return None
    xfail = getattr(report, "wasxfail", None)
    if xfail is not None:
        return f"xfail {xfail}" if xfail.startswith("[NOTRUN]") else None
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)


class ForbidSkips:
    """Collect what was not run, and fail the session for it."""

    def __init__(self, globs: list[str]) -> None:
        self.globs = globs
        self.unrun: dict[str, str] = {}

    def note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        reason = unrun_reason(report)
        if reason is not None and not is_allowed(report.nodeid, self.globs):
            self.unrun[report.nodeid] = reason

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.note(report)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if self.unrun and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.unrun:
            return
        terminalreporter.section("not run, and that is a failure in CI", red=True)
        for nodeid, reason in sorted(self.unrun.items()):
            terminalreporter.line(f"{nodeid}: {reason}")
        terminalreporter.line(f"Make it run, or name it with a reason in tests/{ALLOWED.name}.")


def pytest_configure(config: pytest.Config) -> None:
    # Under xdist the controller hears every worker's reports, so it alone decides.
    if os.environ.get("CI") == "true" and not hasattr(config, "workerinput"):
        globs = parse_allowed(ALLOWED.read_text(encoding="utf-8").splitlines())
        config.pluginmanager.register(ForbidSkips(globs), "forbid-skips")
