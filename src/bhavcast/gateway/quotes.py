"""The answers to `/api/stock/{symbol}` and `/api/stocks/batch`, for both ways of serving them.

The hot path (hot.py) writes them straight to the socket, the cold one (rest.py) hands them to the framework: what is
answered is decided here, once.
"""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote

from bhavcast.board import encode
from bhavcast.board.board import Row
from bhavcast.domain import field
from bhavcast.domain.digits import whole
from bhavcast.domain.errors import BadRequest, Behind, BhavcastError, NoDataYet, TooManySymbols
from bhavcast.domain.position import Position
from bhavcast.domain.shape import Shape, parse_depth, parse_fields
from bhavcast.gateway import problems
from bhavcast.gateway.etag import matches
from bhavcast.gateway.gateway import Gateway

JSON: Final = "application/json"


class Answer(NamedTuple):
    """What is answered: everything but the headers that all answers share."""

    status: int
    body: bytes
    content_type: str = JSON
    etag: str | None = None
    rows: tuple[Row, ...] = ()
    pos: str | None = None
    retry_after: int | None = None
    # Whether it stays right as long as none of `rows` changes.
    lasting: bool = False

    @property
    def stamp(self) -> int | None:
        """Return the oldest exchange time among the quotes of this answer."""
        return oldest(self.rows)


def refusal(error: BhavcastError) -> Answer:
    """Turn an error into its answer."""
    return Answer(error.status, problems.body(error), problems.CONTENT_TYPE, retry_after=error.retry_after)


def stock(gateway: Gateway, symbol: str, query: str, if_none_match: str | None) -> Answer:
    """Answer one quote. `symbol` is the path's last part, still percent-encoded."""
    try:
        shape = _shape(parameters(query, ("fields", "depth")))
        row = gateway.row(_decoded(symbol))
        if not row.has_data:
            raise NoDataYet(f"{row.symbol} exists, and nothing has been seen of it yet")
    except BhavcastError as error:
        gateway.count_reads((), 1)
        return refusal(error)
    gateway.count_reads((row,), 1)
    etag = f'"{gateway.replica.epoch}:{row.rev}:{gateway.link}"'
    if if_none_match is not None and matches(if_none_match, etag):
        return Answer(304, b"", etag=etag, rows=(row,), pos=gateway.position, lasting=True)
    return Answer(200, _encoded(gateway, row, shape), etag=etag, rows=(row,), pos=gateway.position, lasting=True)


def batch(gateway: Gateway, query: str) -> Answer:
    """Answer up to 500 quotes in request order, or with `since` only what changed."""
    try:
        asked = parameters(query, ("symbols", "since", "fields", "depth"))
        shape = _shape(asked)
        symbols = listed(asked)
        most = gateway.limits.symbols_per_message
        if not 1 <= len(symbols) <= most:
            raise TooManySymbols(f"expected 1 to {most} symbols, got {len(symbols)}", field="symbols")
        if "since" in asked:
            return _since(gateway, symbols, Position.parse(asked["since"], field="since"), shape)
    except BhavcastError as error:
        return refusal(error)
    rows: list[Row] = []
    parts = []
    for text in symbols:
        found = _quote_or_error(gateway, text)
        if isinstance(found, dict):
            parts.append(encode.encode(found, binary=False))
        else:
            parts.append(_encoded(gateway, found, shape))
            rows.append(found)
    gateway.count_reads(rows, len(symbols))
    body = b"[" + b",".join(parts) + b"]"
    # A symbol that cannot be answered now may be the next moment, without any of the others changing.
    return Answer(200, body, rows=tuple(rows), pos=gateway.position, lasting=len(rows) == len(symbols))


def _since(gateway: Gateway, symbols: list[str], position: Position, shape: Shape) -> Answer:
    replica = gateway.replica
    if position.rev > replica.rev:
        raise Behind(f"this gateway is at revision {replica.rev}, the reader at {position.rev}")
    recovered = position.epoch == replica.epoch
    quotes: list[dict[str, Any]] = []
    rows: list[Row] = []
    for text in symbols:
        found = _quote_or_error(gateway, text)
        if isinstance(found, dict):
            quotes.append(found)
            continue
        rows.append(found)
        row = encode.delta(found, shape, position.rev) if recovered else encode.full(found, shape)
        if row is not None:
            quotes.append(row)
    gateway.count_reads(rows, len(symbols))
    told = {"pos": gateway.position, "recovered": recovered, "link": gateway.link, "q": quotes}
    return Answer(200, encode.encode(told, binary=False), rows=tuple(rows), pos=gateway.position)


def _quote_or_error(gateway: Gateway, text: str) -> Row | dict[str, Any]:
    try:
        row = gateway.row(text)
        if not row.has_data:
            raise NoDataYet("the scrip exists, and nothing has been seen of it yet")
    except BhavcastError as error:
        return {"symbol": text[:64], "error": problems.brief(error)}
    return row


def _encoded(gateway: Gateway, row: Row, shape: Shape) -> bytes:
    if gateway.link == "ok" and shape == gateway.quote.shape:
        return gateway.quote.full(row)
    return encode.encode(shown(gateway, row, shape), binary=False)


def shown(gateway: Gateway, row: Row, shape: Shape) -> dict[str, Any]:
    """Return a full quote; while the bus is not heard, none claims to be up to date."""
    quote = encode.full(row, shape)
    if gateway.link != "ok" and quote.get("state") in ("live", "quiet"):
        quote["state"] = "stale"
    return quote


def oldest(rows: Iterable[Row]) -> int | None:
    """Return the oldest exchange time of some quotes, None where none has any."""
    stamps = [stamp for row in rows if isinstance(stamp := row[field.TIMESTAMP], int)]
    return min(stamps) if stamps else None


def age_ms(gateway: Gateway, stamp: int) -> int:
    """Return how old a quote of that exchange time is, by the market clock."""
    return max(0, gateway.market.now_ms() - stamp)


def parameters(query: str, known: tuple[str, ...]) -> dict[str, str]:
    """Read a query string; each name must be known and stand once."""
    if not query:
        return {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True, max_num_fields=16, errors="strict")
    except ValueError as error:
        raise BadRequest(f"expected name=value pairs, got {query[:80]!r}", field="query") from error
    read: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            expected = f"one of {', '.join(known)}" if known else "no parameter"
            raise BadRequest(f"expected {expected}, got {name[:40]!r}", field=name[:40])
        if name in read:
            raise BadRequest("expected it once, got it twice", field=name)
        read[name] = value
    return read


def listed(asked: dict[str, str]) -> list[str]:
    """Return the symbols that were asked for; none where nothing was."""
    text = asked.get("symbols", "")
    symbols = text.split(",") if text else []
    if "" in symbols:
        raise BadRequest(f"expected a symbol before and after each comma, got {text[:80]!r}", field="symbols")
    return symbols


def _shape(asked: dict[str, str]) -> Shape:
    numbers = parse_fields(asked["fields"]) if "fields" in asked else field.FULL
    depth = 0
    if "depth" in asked:
        text = asked["depth"]
        number = whole(text)
        depth = parse_depth(text if number is None else number)
    return Shape(numbers, depth)


def _decoded(symbol: str) -> str:
    if "%" not in symbol:
        return symbol
    try:
        return unquote(symbol, errors="strict")
    except UnicodeDecodeError as error:
        raise BadRequest("expected a symbol in UTF-8", field="symbol") from error
