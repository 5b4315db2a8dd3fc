"""How a command is declared: a function, examples, and what its exit codes mean."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cyclopts import App

CODES = {0: "done", 1: "something is wrong, and was reported", 2: "wrong usage, or a wrong setting", 3: "could not run"}


def command(
    name: str,
    function: Callable[..., Any] | None = None,
    *,
    examples: Sequence[str],
    codes: Mapping[int, str] | None = None,
    about: str = "",
) -> App:
    """Return the command, whose help ends with `about`, its examples and its exit codes (`codes` over the usual ones)."""
    meanings = {**CODES, **(codes or {})}
    lines = [about, ""] if about else []
    lines += ["Examples:", *(f"  {example}" for example in examples), "", exit_codes(meanings)]
    app = App(name=name, help_format="plaintext", help_epilogue="\n".join(lines))
    if function is not None:
        app.default(function)
    return app


def exit_codes(meanings: Mapping[int, str]) -> str:
    """Return what help says of them."""
    return "\n".join(["Exit codes:", *(f"  {code} {meaning}" for code, meaning in meanings.items())])
