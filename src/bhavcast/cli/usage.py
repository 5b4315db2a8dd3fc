"""Wrong usage, said as every other error is: what was expected, what came, and the nearest name there is.

The parser of the command line finds what is wrong; its own words are another house's.
"""

import datetime
import difflib
from collections.abc import Iterable
from typing import Any, Final, Literal, get_args, get_origin

from cyclopts import (
    App,
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    Parameter,
    RepeatArgumentError,
    UnknownOptionError,
    UnusedCliTokensError,
    ValidationError,
)
from cyclopts.exceptions import UnknownCommandError

from bhavcast.cli.output import CommandError, Exit

_EXPECTED: Final = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    datetime.date: "a date such as 2021-05-07",
}


_MANY: Final = 10**15  # nobody means so many records, changes or seconds, and a float and an index can be as large


def number(least: int, most: int = _MANY, *, above: bool = False) -> Parameter:
    """Let a parameter be a number of `least` (or `above` it) to `most`."""
    low = f"above {least}" if above else f"from {least} to {most}" if most < _MANY else f"of at least {least}"

    def check(kind: Any, value: Any) -> None:
        if value is None:
            return
        if not (least < value if above else least <= value) or not value <= most:  # nan is neither
            raise ValueError(f"expected {_expected(kind)} {low}, got {value}")

    return Parameter(validator=check)


def wrong_usage(error: CycloptsError) -> CommandError:
    """Return what the parser found, in our words."""
    words = " ".join(error.command_chain or ())
    then = f"bhavcast {words} --help" if words else "bhavcast --help"
    return CommandError(_what(error, words), then=then, code=Exit.USAGE)


def _what(error: CycloptsError, words: str) -> str:
    match error:
        case UnknownCommandError(unused_tokens=[token, *_], app=App() as app):
            names = [name for name in app if not name.startswith("-")]
            of = f"a command of bhavcast {words}" if words else "a command"
            return f"{token} — expected {of}, one of {', '.join(names)}{_nearest(token, names)}"
        case UnknownOptionError(token=token):
            given = (token.keyword or token.value).partition("=")[0]
            options = [name for each in error.argument_collection if each.parse for name in each.names]
            return f"{given} — expected an option of bhavcast {words}{_nearest(given, options)}"
        case UnusedCliTokensError(unused_tokens=[token, *_]):
            return f"{words} — expected no further argument, got {_quoted(token)}"
        case RepeatArgumentError(token=token):
            return f"{token.keyword} — expected once, got it again"
        case MissingArgumentError(argument=argument) if argument is not None:
            named = error.keyword or next((each.keyword for each in argument.tokens if each.keyword), None)
            if named is not None:
                return f"{named} — expected a value behind it, got none"
            return f"{words} — expected {_shown(argument)}, got none"
        case CoercionError(token=token, target_type=kind) if token is not None and kind is not None:
            name = token.keyword or _shown(error.argument)
            return f"{name} — expected {_expected(kind)}, got {_quoted(token.value)}{_nearest(token.value, _choices(kind))}"
        case ValidationError(argument=argument) if argument is not None and argument.tokens:
            return f"{argument.tokens[0].keyword or _shown(argument)} — {error.exception_message}"
    return str(error).strip()


def _shown(argument: Any) -> str:
    """Return a parameter's name as its help shows it: FILE, --name."""
    name: str = argument.name
    return name if argument.field_info.is_keyword_only else name.lstrip("-").upper()


def _expected(kind: Any) -> str:
    choices = _choices(kind)
    if choices:
        return "one of " + ", ".join(choices)
    plain = next((each for each in get_args(kind) if each is not type(None)), kind)
    return _EXPECTED.get(plain, "a value of another kind")


def _choices(kind: Any) -> tuple[str, ...]:
    return get_args(kind) if get_origin(kind) is Literal else ()


def _nearest(given: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(given, list(known), n=1, cutoff=0.4)
    return f"; the nearest is {close[0]}" if close else ""


def _quoted(text: str) -> str:
    return repr(text[:80])
