"""Help as a pipe gets it: narrow enough for every terminal that shows it later, and each line says whose it is."""

import io

import pytest
from cyclopts import App
from rich.console import Console

from bhavcast.cli.main import build
from bhavcast.cli.page import names

WIDTH = 80
APP = build(boxes=False)
COMMANDS = [(), *names(APP)]


def told(app: App, words: tuple[str, ...], width: int = WIDTH) -> list[str]:
    text = io.StringIO()
    app.help_print(list(words), console=Console(file=text, width=width, color_system=None))
    return [line.rstrip() for line in text.getvalue().splitlines()]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_line_is_longer_than_the_console_and_no_gap_is_wider_than_one(words):
    lines = told(APP, words)
    assert [line for line in lines if len(line) > WIDTH] == []
    assert "\n\n\n" not in "\n".join(lines)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_within_a_list_only_what_begins_an_entry_is_where_entries_begin(words):
    lines = told(APP, words)
    for heading in ("Commands:", "Arguments:", "Parameters:"):
        if heading in lines:
            at = lines.index(heading) + 1
            for line in lines[at : lines.index("", at)]:
                assert line.startswith("      ") or ":" in line or line[2:].isupper(), line


@pytest.mark.parametrize("words", [each for each in COMMANDS if each], ids=" ".join)
def test_an_example_can_be_copied_in_one_piece(words):
    lines = told(APP, words)
    at = lines.index("Examples:") + 1
    examples = lines[at : lines.index("", at)]
    assert examples
    assert all("bhavcast " in line and line.startswith("  ") and line[2] != " " for line in examples)


def test_what_does_not_fit_goes_on_under_its_name_and_a_default_is_not_torn_apart():
    app = App(name="bhavcast", help_format="plaintext", help_formatter=APP.help_formatter)

    @app.command
    def roll(*, seed: int = 1) -> None:
        """Roll a die.

        Parameters
        ----------
        seed
            The same one gives the
            same numbers.
        """

    assert told(app, ("roll",), 40)[4:] == [
        "Parameters:",
        "  --seed INT: The same one gives the",
        "      same numbers. [default: 1]",
    ]
    assert told(app, ("roll",), 35)[5:] == [
        "  --seed INT: The same one gives",
        "      the same numbers.",
        "      [default: 1]",
    ]
