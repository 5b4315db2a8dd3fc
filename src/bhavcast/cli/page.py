"""The page of all commands, written from their own help: `python -m bhavcast.cli.page > docs/reference/commands.md`."""

import io
from collections.abc import Iterator

from cyclopts import App
from rich.console import Console

from bhavcast.cli.main import build

_HEAD = """# Commands

<!-- Written by `python -m bhavcast.cli.page`; a test compares. -->

What each command prints for `--help`. stdout carries the answer, stderr everything about it; `--json` is a contract. Colours and boxes appear only on a
terminal, and never where `NO_COLOR` is set. An error is one line, `error: <what> — expected …, got …`, and what to do next.
"""
_WIDTH = 150


def names(app: App, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield every command as the words that call it."""
    for name in app:
        if not name.startswith("-"):
            words = (*path, name)
            yield words
            yield from names(app[name], words)


def commands_page() -> str:
    """Return docs/reference/commands.md."""
    app = build(boxes=False)
    return "\n".join([_HEAD, *(_entry(app, words) for words in names(app))])


def _entry(app: App, words: tuple[str, ...]) -> str:
    text = io.StringIO()
    app.help_print(list(words), console=Console(file=text, width=_WIDTH, color_system=None))
    lines = "\n".join(line.rstrip() for line in text.getvalue().strip().splitlines())
    return f"## `bhavcast {' '.join(words)}`\n\n```\n{lines}\n```\n"


if __name__ == "__main__":
    print(commands_page(), end="")
