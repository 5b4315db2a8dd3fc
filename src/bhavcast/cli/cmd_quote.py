"""`bhavcast quote`: prices from a running gateway, with what they are worth."""

import asyncio
from collections.abc import Iterator
from datetime import datetime
from itertools import zip_longest
from typing import Annotated, Any

from cyclopts import Parameter

from bhavcast.cli.command import command
from bhavcast.cli.output import Exit, JsonFlag, KeyFileFlag, UrlFlag, age, fail, json, key_headers, note, table, written
from bhavcast.cli.usage import number

_COLUMNS = ("symbol", "id", "price", "change", "%", "volume", "bid", "ask", "state", "source", "age")
_BOOK = ("symbol", "bid orders", "bid quantity", "bid", "ask", "ask quantity", "ask orders")


def quote(
    *symbols: str,
    url: UrlFlag = "http://127.0.0.1:5000",
    fields: Annotated[str, Parameter(show_default=False)] = "",
    depth: Annotated[int, number(0, 5), Parameter(show_default=False)] = 0,
    key_file: KeyFileFlag = None,
    as_json: JsonFlag = False,
) -> int:
    """Print quotes from a running gateway.

    Parameters
    ----------
    symbols
        Codes (500325), ids (RELIANCE), ISINs (INE002A01018) or indices (IDX:SENSEX).
    fields
        ltp, quote, full, or names of fields with commas between, each shown as it is.
    depth
        Levels of the book, 1 to 5; none without it.
    """
    if not symbols:
        fail("quote — expected one symbol or more, got none", then="bhavcast quote RELIANCE", code=Exit.USAGE)
    now, rows = asyncio.run(_ask(url, list(symbols), fields, depth, key_headers(key_file)))
    bad = [row for row in rows if "error" in row]
    if as_json:
        json(rows)
    else:
        for row in bad:
            note(f"error: {row['symbol']}: {row['error'].get('message', row['error'].get('code'))}")
        good = [row for row in rows if "error" not in row]
        if good and fields:
            names = list(dict.fromkeys(name for row in good for name in row if name != "depth"))
            table(names, [[written(row.get(name)) for name in names] for row in good])
        elif good:
            table(
                _COLUMNS,
                [_cells(row, now) for row in good],
                right=("price", "change", "%", "volume", "bid", "ask", "age"),
                spare=("bid", "ask", "source"),
            )
        if levels := [level for row in good for level in _levels(row)]:
            table(_BOOK, levels, right=_BOOK[1:])
    return Exit.WRONG if bad else Exit.DONE


async def _ask(
    url: str, symbols: list[str], fields: str, depth: int, headers: dict[str, str]
) -> tuple[datetime, list[dict[str, Any]]]:
    from bhavcast.client.rest import Rest

    async with Rest(url, headers=headers) as rest:
        rows = await rest.batch(symbols, fields=fields, depth=depth)
        # An age is told in the market's time: its clock may be a virtual one.
        now = datetime.fromisoformat((await rest.status())["clock"]["now"])
    return now, rows


def _cells(row: dict[str, Any], now: datetime) -> list[object]:
    names = ("symbol", "id", "current_price", "change", "percent_change", "volume", "bid_price", "ask_price", "state")
    stamp = row.get("timestamp")
    seconds = None if stamp is None else (now - datetime.fromisoformat(stamp)).total_seconds()
    return [
        *(written(row.get(name)) for name in names),
        f"{row.get('source', '')} ({row.get('mode', '')})",
        age(seconds),
    ]


def _levels(row: dict[str, Any]) -> list[list[object]]:
    depth = row.get("depth") or {}
    bids, asks = depth.get("bids") or [], depth.get("asks") or []
    sides: Iterator[tuple[dict[str, Any], dict[str, Any]]] = zip_longest(bids, asks, fillvalue={})
    return [
        [
            row["symbol"],
            *(written(bid.get(name)) for name in ("orders", "quantity", "price")),
            *(written(ask.get(name)) for name in ("price", "quantity", "orders")),
        ]
        for bid, ask in sides
    ]


app = command(
    "quote",
    quote,
    examples=[
        "bhavcast quote RELIANCE TCS",
        "bhavcast quote IDX:SENSEX --json",
        "bhavcast quote RELIANCE --fields current_price,volume --depth 5",
        "bhavcast quote RELIANCE --key-file desk.key",
        'bhavcast quote "M&M" --url http://127.0.0.1:5001',
    ],
    codes={1: "a symbol is unknown or has no data yet", 3: "nothing answers at the address"},
)
