"""Every link, path and command in the documentation leads somewhere."""

import re
import shlex
from pathlib import Path
from typing import Final

import pytest

from bhavcast.app.config import SETTINGS
from bhavcast.cli.main import build
from tests.docs.regions import ROOT, pages

LINK: Final = re.compile(r"(?<!!)\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
FENCE: Final = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
HEADING: Final = re.compile(r"^#+ (.+)$", re.MULTILINE)
PATH: Final = re.compile(r"`((?:src|tests|docs|web|benchmarks|requirements)/[\w./-]+)`")
COMMAND: Final = re.compile(r"(?:^|`|\$ |^ *)(?:\.venv/bin/)?(bhavcast [a-z][^`\n#·]*)", re.MULTILINE)
TARGET: Final = re.compile(r"`make ([a-z]+)\b|^make ([a-z]+)\b", re.MULTILINE)
# The help of a command is its own; what stands in a made region is compared elsewhere.
MADE: Final = {"commands.md"}


def anchor(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {anchor(heading) for heading in HEADING.findall(FENCE.sub("", page.read_text()))}


def every_page() -> list[object]:
    return [pytest.param(page, id=str(page.relative_to(ROOT))) for page in pages()]


@pytest.mark.parametrize("page", every_page())
def test_every_link_of_the_page_resolves(page: Path):
    broken = []
    for found in LINK.finditer(FENCE.sub("", page.read_text())):
        target = found[1] or found[2]
        if re.match(r"[a-z]+:", target):
            continue
        path, _, part = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (part and part not in anchors(file)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", every_page())
def test_every_path_the_page_names_exists(page: Path):
    assert [path for path in PATH.findall(page.read_text()) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", every_page())
def test_every_make_target_the_page_names_exists(page: Path):
    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {first or second for first, second in TARGET.findall(page.read_text())} - known == set()


@pytest.mark.parametrize("page", [page for page in every_page() if page.values[0].name not in MADE])  # type: ignore[attr-defined]  # a parameter set
def test_every_command_the_page_names_parses(page: Path):
    app = build()
    for text in COMMAND.findall(page.read_text()):
        words = _words(text)
        if words is None or words == ["bhavcast"]:
            continue
        tokens = words[1:]
        if "--help" in tokens:
            tokens = tokens[: tokens.index("--help")]
            assert app.parse_commands(tokens)[2] == [], text
            continue
        if app.parse_commands(tokens)[0] and len(tokens) == len(app.parse_commands(tokens)[0]):
            continue  # the command alone, as one speaks of it
        app.parse_args(tokens, print_error=False, exit_on_error=False)


def _words(text: str) -> list[str] | None:
    """Split a command as a shell would; None where it is a pattern with dots for what is left out."""
    if "…" in text or "FILE" in text or "SYMBOL" in text:
        return None
    words = shlex.split(text.strip())
    return words[: words.index(">")] if ">" in words else words  # what a shell takes for itself


def test_a_setting_of_every_page_exists():
    for page in pages():
        for key in re.findall(
            r"^([a-z_]+) = ", "\n".join(re.findall(r"```toml.*?```", page.read_text(), re.DOTALL)), re.MULTILINE
        ):
            assert key in {name.rpartition(".")[2] for name in SETTINGS}, f"{key} in {page}"
