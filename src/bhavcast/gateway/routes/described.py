"""What /openapi.json says of answers: their schemas, examples and refusals."""

from typing import Annotated, Any, Final

import msgspec
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example, SecurityScheme
from litestar.params import Parameter

from bhavcast.access.sessions import COOKIE
from bhavcast.domain import field
from bhavcast.gateway import problems

_PYTHON: Final[dict[field.Kind, Any]] = {
    field.Kind.PRICE: float,
    field.Kind.MONEY: float,
    field.Kind.PERCENT: float,
    field.Kind.COUNT: int,
    field.Kind.TIME: str,
    field.Kind.SECOND: str,
    field.Kind.TEXT: str,
}


class PriceLevel(msgspec.Struct):
    """One price level of the book."""

    price: float
    quantity: int
    orders: int


class Depth(msgspec.Struct):
    """Up to five levels of each side, best first."""

    bids: list[PriceLevel] | msgspec.UnsetType = msgspec.UNSET
    asks: list[PriceLevel] | msgspec.UnsetType = msgspec.UNSET


class Problem(msgspec.Struct):
    """RFC 9457 problem details: the one shape of every refusal."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    field: str | msgspec.UnsetType = msgspec.UNSET
    retry_after: int | msgspec.UnsetType = msgspec.UNSET
    candidates: list[str] | msgspec.UnsetType = msgspec.UNSET
    request_id: str | msgspec.UnsetType = msgspec.UNSET


class Reason(msgspec.Struct):
    """Why a symbol of a batch is not answered."""

    code: str
    message: str
    retry_after: int | msgspec.UnsetType = msgspec.UNSET
    candidates: list[str] | msgspec.UnsetType = msgspec.UNSET


class Unanswered(msgspec.Struct):
    """A symbol of a batch without a quote."""

    symbol: str
    error: Reason


def _maybe(kind: Any, meaning: str) -> Any:
    return Annotated[kind, msgspec.Meta(description=meaning)] | msgspec.UnsetType


# The schema of a quote is made from the table of fields, as everything else about them is.
Quote = msgspec.defstruct(
    "Quote",
    [
        ("symbol", str),
        ("rev", int),
        *(
            (name, _maybe(str, meaning), msgspec.UNSET)
            for name, meaning in (
                ("id", "BSE security id"),
                ("company_name", "name"),
                ("isin", "ISIN"),
                ("group", "BSE group"),
            )
        ),
        *(
            (each.name, _maybe(_PYTHON[each.kind], each.meaning), msgspec.UNSET)
            for each in field.FIELDS
            if each.kind in _PYTHON
        ),
        ("depth", Depth | msgspec.UnsetType, msgspec.UNSET),
    ],
    namespace={"__doc__": "The state of one scrip or index; fields without a value are absent."},
)


class Changes(msgspec.Struct):
    """What is new since a position; every quote whole, if it was not `recovered`."""

    pos: str
    recovered: bool
    link: str
    q: list[dict[str, Any]]


EXAMPLE: Final = {
    "symbol": "500325",
    "id": "RELIANCE",
    "company_name": "RELIANCE INDUSTRIES LTD.",
    "isin": "INE002A01018",
    "group": "A",
    "current_price": 1574.55,
    "change": 11.0,
    "percent_change": 0.7,
    "previous_close": 1563.55,
    "volume": 221992,
    "state": "live",
    "mode": "sim",
    "source": "sim",
    "phase": "continuous",
    "timestamp": "2026-11-23T12:08:51.143+05:30",
    "rev": 123456,
}
POSITION: Final = "20261123T0345Z-9f1c03ab77de5a20:1795405500000123"


def text(description: str, media_type: str, example: str, container: Any = str) -> ResponseSpec:
    """Describe an answer that is no JSON; `container` Any: more than a text."""
    return ResponseSpec(
        data_container=container,
        description=description,
        media_type=media_type,
        examples=[Example(value=example)],
        generate_examples=False,
    )


def responses(container: Any, example: Any, *refusals: int, status: int = 200) -> dict[int, ResponseSpec]:
    """Describe what a route answers; any may be refused for want of a key, of a role, of patience, or at the end."""
    statuses = sorted({400, 401, 403, 429, 503, *refusals})
    return {
        status: ResponseSpec(
            data_container=container, description="OK", examples=[Example(value=example)], generate_examples=False
        ),
        **{each: refusal(REFUSALS[each]) for each in statuses},
    }


def refusal(description: str) -> ResponseSpec:
    """Describe an answer that is no."""
    return ResponseSpec(
        data_container=Problem, description=description, media_type=problems.CONTENT_TYPE, generate_examples=False
    )


REFUSALS: Final = {
    400: "Bad request",
    401: "A key is needed",
    403: "Not with this key",
    404: "Not found",
    409: "Not as it is",
    429: "Too many requests",
    503: "Not now",
}
# How a key is shown. Reading needs none in a house without keys; what operators do always needs one.
SCHEMES: Final = {
    "bearer": SecurityScheme(type="http", scheme="bearer", description="A key, as `Authorization: Bearer …`."),
    "key": SecurityScheme(type="apiKey", name="X-API-Key", security_scheme_in="header", description="A key."),
    "session": SecurityScheme(
        type="apiKey",
        name=COOKIE,
        security_scheme_in="cookie",
        description="What POST /api/session gave; a change needs `X-CSRF-Token` too, from the same answer.",
    ),
}
_Schemes = list[dict[str, list[str]]]  # any of them will do
BY_KEY: Final[_Schemes] = [{"bearer": []}, {"key": []}]
SIGNED_IN: Final[_Schemes] = [*BY_KEY, {"session": []}]

Symbol = Annotated[str, Parameter(description="Scrip code, BSE id, ISIN or IDX:NAME; case-insensitive.", max_length=64)]
Fields = Annotated[str | None, Parameter(description="ltp, quote, full, or names of fields with commas between.")]
DepthLevels = Annotated[int | None, Parameter(ge=0, le=5, description="Levels of the book, 0 to 5.")]
