"""Every setting, command, error code and metric has its heading in docs/reference, and every heading its thing."""

import importlib
import pkgutil
import re

import pytest

import bhavcast
from bhavcast.app.config import SETTINGS
from bhavcast.app.config.page import settings_page
from bhavcast.cli.main import COMMANDS, build
from bhavcast.cli.page import commands_page, names
from bhavcast.domain.errors import BhavcastError
from bhavcast.gateway.close_codes import CLOSE_CODES
from bhavcast.telemetry.metrics import NAMES
from tests.docs.refusals import OTHERWISE, REFUSALS

HEADING = re.compile(r"^## `([^`]+)`$", re.MULTILINE)


def error_codes() -> set[str]:
    for module in pkgutil.walk_packages(bhavcast.__path__, "bhavcast."):
        if not module.name.endswith("__main__") and ".load." not in module.name:
            importlib.import_module(module.name)
    found = {BhavcastError.code}
    classes = [BhavcastError]
    while classes:
        for each in classes.pop().__subclasses__():
            found.add(each.code)
            classes.append(each)
    return found


THINGS = {
    "settings": lambda: set(SETTINGS),
    "commands": lambda: {f"bhavcast {' '.join(words)}" for words in names(build())},
    "errors": error_codes,
    # Those of RFC 6455 are not ours to list, but which of them are sent is worth a heading.
    "close-codes": lambda: {str(each.code) for each in CLOSE_CODES} | {"1002", "1003", "1007", "1009", "1012"},
    "metrics": lambda: {name.name for name in NAMES},
}


@pytest.mark.parametrize("page", THINGS)
def test_everything_has_its_heading_and_every_heading_its_thing(root, page):
    described = HEADING.findall((root / "docs" / "reference" / f"{page}.md").read_text(encoding="utf-8"))
    things = THINGS[page]()
    assert sorted(things - set(described)) == [], f"not in docs/reference/{page}.md"
    assert sorted(set(described) - things) == [], f"docs/reference/{page}.md describes what does not exist"
    assert sorted(described) == sorted(set(described)), "described twice"


@pytest.mark.parametrize(
    ("page", "write", "how"),
    [
        ("settings", settings_page, "bhavcast config docs --write docs/reference/settings.md"),
        ("commands", commands_page, "python -m bhavcast.cli.page > docs/reference/commands.md"),
    ],
)
def test_a_written_page_is_current(root, page, write, how):
    assert (root / "docs" / "reference" / f"{page}.md").read_text(encoding="utf-8") == write(), f"run: {how}"


def test_every_command_states_its_exit_codes_and_has_an_example():
    page = commands_page()
    for entry in page.split("\n## ")[1:]:
        name = entry.partition("`\n")[0].removeprefix("`")
        assert re.search(r"^Exit codes:\n  0 .+\n  1 .+\n  2 .+\n  3 .+$", entry, re.MULTILINE), name
        assert f"  {name.partition(' ')[0]} {name.split()[1]}" in entry, name


def test_every_command_file_is_registered(root):
    files = {path.stem.removeprefix("cmd_") for path in (root / "src" / "bhavcast" / "cli").glob("cmd_*.py")}
    assert files == set(COMMANDS)


def test_every_setting_says_what_it_means_in_words_and_its_example_is_valid():
    from bhavcast.app.config import load

    for setting in SETTINGS.values():
        assert len(setting.meaning) > 10, setting.name
        example = ",".join(setting.example) if isinstance(setting.example, list) else str(setting.example)
        others = {
            "speed": {"BHAVCAST_SOURCE": "replay:x"},
            "tls.cert": {"BHAVCAST_TLS_KEY": "key.pem"},
            "tls.key": {"BHAVCAST_TLS_CERT": "cert.pem"},
        }.get(setting.name, {})
        load(environ={**others, setting.variable: example})


def test_every_error_has_an_example_as_it_is_really_answered(root):
    page = (root / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
    assert error_codes() == REFUSALS.keys() | OTHERWISE.keys(), "in tests/docs/refusals.py"
    for code in REFUSALS:
        _, _, section = page.partition(f"\n## `{code}`\n")
        assert f"<!-- refusal {code} -->" in section.partition("\n## ")[0], f"docs/reference/errors.md: {code}"


def test_every_close_code_that_a_conversation_can_bring_about_has_one(root):
    page = (root / "docs" / "reference" / "close-codes.md").read_text(encoding="utf-8")
    for each in CLOSE_CODES:
        _, _, section = page.partition(f"\n## `{each.code}`\n")
        shown = f"S closes: {each.code} " in section.partition("\n## ")[0]
        # Both need a gateway that is held up: one whose client does not read, one that does not hear of the market.
        assert shown or each.name in ("slow", "position_lost"), each
