"""Help where no terminal is: no line longer than the console, and what goes on in a further line is indented under its name.

--seed N: seed of the simulator: the same seed gives the same day, byte for
    byte [default: 1]
"""

import re
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions

_INDENT: Final = "  "
_FURTHER: Final = "      "
# A short note is read at a glance, and is not torn apart.
_NOTE: Final = re.compile(r"\[default: \S+\]")
_TIED: Final = "\N{NO-BREAK SPACE}"


class Plain:
    """A formatter of help, as cyclopts asks for one."""

    def __call__(self, console: "Console", options: "ConsoleOptions", panel: "HelpPanel") -> None:
        """Write a list of commands or parameters."""
        if not panel.entries:
            return
        lines = ["", f"{panel.title}:"]
        for entry in panel.entries:
            name = ", ".join(entry.display_labels_with_metavar)
            words = " ".join((_text(entry.description, console, options), *_notes(entry))).strip()
            words = _NOTE.sub(lambda note: note[0].replace(" ", _TIED), words)
            lines += textwrap.wrap(
                f"{name}: {words}" if words else name,
                console.width,
                initial_indent=_INDENT,
                subsequent_indent=_FURTHER,
                break_long_words=False,
                break_on_hyphens=False,
            )
        _print(console, *lines)

    def render_usage(self, console: "Console", options: "ConsoleOptions", usage: Any) -> None:
        """Write how the command is called."""
        _print(console, f"Usage: {_text(usage, console, options)}")

    def render_description(self, console: "Console", options: "ConsoleOptions", description: Any) -> None:
        """Write what the command does."""
        _print(console, "", *textwrap.wrap(_text(description, console, options), console.width))


def _notes(entry: "HelpEntry") -> Iterator[str]:
    """Yield what else is to be known of a parameter."""
    if entry.choices:
        yield f"[choices: {', '.join(entry.choices)}]"
    if entry.default is not None:
        yield f"[default: {entry.default}]"
    if entry.required:
        yield "[required]"


def _text(told: Any, console: "Console", options: "ConsoleOptions") -> str:
    """Return the words of something that Rich can draw, in one line."""
    wide = options.update(width=10_000)
    return " ".join("".join(segment.text for segment in console.render(told or "", wide)).split())


def _print(console: "Console", *lines: str) -> None:
    console.print("\n".join(lines).replace(_TIED, " "), highlight=False, markup=False, soft_wrap=True)
