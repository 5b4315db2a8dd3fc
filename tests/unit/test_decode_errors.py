"""What decoders find wrong, in our words; what they say is asked of the decoders themselves."""

from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta

from bhavcast.gateway.decode_errors import explain


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """What a client may say here."""

    symbols: list[str] | str
    depth: int | None = None
    hz: Annotated[float, Meta(ge=0, le=50)] = 1.0
    limit: Annotated[int, Meta(ge=1)] = 1
    stamps: bool = False
    by: Literal["gain", "loss"] = "gain"


def said(text: str) -> str:
    with pytest.raises(msgspec.ValidationError) as found:
        msgspec.json.decode(text, type=Asked)
    return str(found.value)


@pytest.mark.parametrize(
    ("text", "field", "detail"),
    [
        ('{"symbols": "*", "depth": "five"}', "depth", "expected a whole number, got text"),
        ('{"symbols": 5}', "symbols", "expected text or a list, got a whole number"),
        ('{"symbols": [5]}', "symbols", "expected text, got a whole number"),
        ('{"symbols": "*", "stamps": null}', "stamps", "expected true or false, got null"),
        ('{"symbols": "*", "hz": 51.5}', "hz", "expected a number of at most 50.0, got another"),
        ('{"depth": 5}', "symbols", "expected a value, got none"),
        ('{"symbols": "*", "dept": 5}', "dept", "expected no such field, got 'dept'"),
        ('{"symbols": "*", "by": "gian"}', "by", "expected one of gain, loss, got 'gian'"),
        ("[]", None, "expected an object, got a list"),
    ],
)
def test_a_field_is_named_with_what_was_expected_and_what_came(text, field, detail):
    error = explain(said(text), known=("gain", "loss"))
    assert (error.field, error.detail) == (field, detail)


def test_what_was_written_is_repeated_where_it_is_at_hand():
    error = explain(said('{"symbols": "*", "limit": 0}'), field="limit", came="0")
    assert error.detail == "expected a whole number of at least 1, got '0'"
