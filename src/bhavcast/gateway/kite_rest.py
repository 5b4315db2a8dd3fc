"""The market routes of the Kite API, in its shapes: `/quote`, `/quote/ohlc`, `/quote/ltp`, `/instruments`."""

import csv
import io
from collections.abc import Callable
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from bhavcast.board import encode
from bhavcast.board.board import Row
from bhavcast.domain import field
from bhavcast.domain.errors import BadRequest, BhavcastError, MethodNotAllowed, TooManySymbols, Unavailable
from bhavcast.gateway.edge import App, Receive, Scope, Send, refuse, respond
from bhavcast.gateway.gateway import Gateway
from bhavcast.gateway.kite import EXCHANGE, WORDING, Tokens, levels, named, paise, seconds, trading_symbol, whole

MOST: Final = 1000  # instruments in one request; of whole quotes half as many
_COLUMNS: Final = (
    "instrument_token",
    "exchange_token",
    "tradingsymbol",
    "name",
    "last_price",
    "expiry",
    "strike",
    "tick_size",
    "lot_size",
    "instrument_type",
    "segment",
    "exchange",
)
_json = msgspec.json.Encoder().encode


def routes(gateway: Gateway, tokens: Tokens) -> dict[str, App]:
    """Return each route."""
    answers: dict[str, Callable[[str], tuple[bytes, bytes]]] = {
        "/quote": partial(_quotes, gateway, tokens, _quote, MOST // 2),
        "/quote/ohlc": partial(_quotes, gateway, tokens, _ohlc, MOST),
        "/quote/ltp": partial(_quotes, gateway, tokens, _ltp, MOST),
        "/instruments": partial(_instruments, gateway, tokens),
        f"/instruments/{EXCHANGE}": partial(_instruments, gateway, tokens),
    }
    return {path: partial(_answer, gateway, answer) for path, answer in answers.items()}


async def _answer(
    gateway: Gateway, answer: Callable[[str], tuple[bytes, bytes]], scope: Scope, receive: Receive, send: Send
) -> None:
    try:
        if scope["method"] not in ("GET", "HEAD"):
            raise MethodNotAllowed(f"expected GET, got {scope['method']}", allowed=("GET", "HEAD"))
        if not gateway.ready:
            raise Unavailable("the board is not here yet")
        kind, body = answer(scope["query_string"].decode("latin-1"))
    except BhavcastError as error:
        await refuse(error, send, WORDING)
    else:
        await respond(
            send, 200, b"" if scope["method"] == "HEAD" else body, [(b"content-type", kind)], length=len(body)
        )


def _quotes(
    gateway: Gateway, tokens: Tokens, write: Callable[[Row], dict[str, Any]], most: int, query: str
) -> tuple[bytes, bytes]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=most, errors="strict")
    except ValueError as error:
        raise TooManySymbols(f"expected at most {most} instruments, in UTF-8", field="i") from error
    asked = [value for name, value in pairs if name == "i"]
    if not asked:
        raise BadRequest("expected at least one instrument, such as i=BSE:RELIANCE", field="i")
    # What names nothing, or has no price yet, is left out: so does this API.
    found = {text: row for text in asked if (row := named(gateway, tokens, text)) is not None}
    priced = {text: row for text, row in found.items() if row[field.CURRENT_PRICE] is not None}
    gateway.count_reads(priced.values(), len(asked))
    data = {text: {"instrument_token": tokens.of(row.instrument), **write(row)} for text, row in priced.items()}
    return b"application/json", _json({"status": "success", "data": data})


def _rupees(row: Row, number: int) -> float:
    return whole(row, number) / row.divisor


def _ltp(row: Row) -> dict[str, Any]:
    return {"last_price": _rupees(row, field.CURRENT_PRICE)}


def _ohlc(row: Row) -> dict[str, Any]:
    names = {"open": field.OPEN, "high": field.HIGH, "low": field.LOW, "close": field.PREVIOUS_CLOSE}
    return _ltp(row) | {"ohlc": {name: _rupees(row, number) for name, number in names.items()}}


def _quote(row: Row) -> dict[str, Any]:
    change = row[field.CHANGE]
    told: dict[str, Any] = {
        "timestamp": _time(row, field.TIMESTAMP),
        "last_trade_time": _time(row, field.LAST_TRADE_TIME),
        **_ohlc(row),
        "net_change": change / row.divisor if isinstance(change, int) else 0,
    }
    if row.instrument.is_index:
        return told
    sides = {"buy": field.BIDS, "sell": field.ASKS}
    return told | {
        "last_quantity": whole(row, field.LAST_QUANTITY),
        "average_price": _rupees(row, field.AVERAGE_PRICE),
        "volume": whole(row, field.VOLUME),
        "buy_quantity": whole(row, field.TOTAL_BID_QUANTITY),
        "sell_quantity": whole(row, field.TOTAL_ASK_QUANTITY),
        "oi": 0,
        "oi_day_high": 0,
        "oi_day_low": 0,
        "lower_circuit_limit": _rupees(row, field.LOWER_CIRCUIT),
        "upper_circuit_limit": _rupees(row, field.UPPER_CIRCUIT),
        "depth": {
            side: [
                {"price": price / 100, "quantity": quantity, "orders": orders}
                for quantity, price, orders in levels(row, number)
            ]
            for side, number in sides.items()
        },
    }


def _time(row: Row, number: int) -> str | None:
    """Write a time as this API does: in IST, without saying so."""
    at = seconds(row, number)
    return encode.iso_second(at * 1000)[:19].replace("T", " ") if at else None


def _instruments(gateway: Gateway, tokens: Tokens, query: str) -> tuple[bytes, bytes]:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in gateway.everyone():
        each = row.instrument
        if each.status != "A":
            continue
        token = tokens.of(each)
        kind, segment = ("EQ", EXCHANGE) if not each.is_index else ("EQ", "INDICES")
        price = paise(row, field.CURRENT_PRICE) / 100
        head = (token, token >> 8, trading_symbol(gateway, each), each.name, price)
        writer.writerow((*head, "", 0, each.tick / each.divisor, each.lot, kind, segment, EXCHANGE))
    return b"text/csv", text.getvalue().encode()
