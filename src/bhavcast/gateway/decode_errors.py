"""What a decoder found wrong with input, in the words that every refusal has: the field, what was expected, what came.

Expected `int | null`, got `str` - at `$.depth`     depth: expected a whole number, got text
Object missing required field `symbols`             symbols: expected a value, got none
"""

import re
from collections.abc import Sequence
from typing import Final

from bhavcast.domain.errors import BadRequest

_AT: Final = re.compile(r" - at `\$\.?([a-z_]*)[^`]*`$")
_KIND: Final = re.compile(r"Expected `([^`]+)`(?: (>=|<=|>|<) ([^ ,]+))?(?:, got `([^`]+)`)?")
_MISSING: Final = re.compile(r"Object missing required field `([^`]+)`")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `([^`]+)`")
_VALUE: Final = re.compile(r"Invalid (?:enum )?value (.+)", re.DOTALL)
_KINDS: Final = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_BOUNDS: Final = {">=": "of at least", "<=": "of at most", ">": "above", "<": "below"}


def explain(text: str, *, field: str | None = None, came: str | None = None, known: Sequence[str] = ()) -> BadRequest:
    """Turn what a decoder says into an error of ours.

    `came` is the input as it was written, where that is at hand, and `known` are the values that there are, where the
    decoder does not say them. What is worded as no decoder that we know does, stays as it is.
    """
    at = _AT.search(text)
    field = field or ((at[1] or None) if at else None)
    text = _AT.sub("", text)
    got = f"got {came[:40]!r}" if came is not None else ""
    if found := _MISSING.match(text):
        return BadRequest("expected a value, got none", field=found[1])
    if found := _UNKNOWN.match(text):
        return BadRequest(f"expected no such field, got {found[1][:40]!r}", field=found[1][:40])
    if (found := _VALUE.match(text)) and known:
        return BadRequest(f"expected one of {', '.join(known)}, got {found[1][:40]}", field=field)
    if found := _KIND.match(text):
        bound = f" {_BOUNDS[found[2]]} {found[3]}" if found[2] else ""
        got = got or (f"got {_named(found[4])}" if found[4] else "got another")
        return BadRequest(f"expected {_named(found[1], but='null')}{bound}, {got}", field=field)
    return BadRequest(f"{text}, {got}" if got else text, field=field)


def _named(kinds: str, but: str = "") -> str:
    each = [kind.strip() for kind in kinds.split("|")]
    return " or ".join(_KINDS.get(kind, kind) for kind in each if kind != but or len(each) == 1)
