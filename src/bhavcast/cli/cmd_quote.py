"""`bhavcast quote`: quotes, once."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

from cyclopts import Parameter

from bhavcast.cli.address import Url, gateway, written
from bhavcast.cli.command import AsJson, command
from bhavcast.cli.output import CommandError, Exit, fail, json, report, say, table

_COLUMNS = (
    "symbol", "id", "current_price", "change", "percent_change", "open", "high", "low", "previous_close", "volume",
    "state", "timestamp",
)  # fmt: skip
_TEXTS = ("symbol", "id", "state", "timestamp", "phase", "mode", "source", "grade", "last_trade_time", "isin", "group")


def quote(
    *symbols: str,
    url: Url = None,
    as_json: AsJson = False,
    fields: Annotated[str, Parameter(show_default=False)] = "",
    depth: Annotated[int, Parameter(show_default=False)] = 0,
) -> int:
    """Print quotes once.

    Parameters
    ----------
    symbols
        Scrip codes, BSE ids, ISINs or IDX:NAME.
    url
        Address of the gateway.
    as_json
        Print one JSON array: per symbol a quote, or {symbol, error}.
    fields
        ltp, quote, full, or names of fields with commas between.
    depth
        Levels of the book to show, 0 to 5.
    """
    if not symbols:
        fail("expected at least one symbol", then="bhavcast quote RELIANCE TCS", code=Exit.USAGE)
    found = asyncio.run(_fetch(gateway(url), list(symbols), fields, depth))
    good = [each for each in found if "error" not in each]
    if as_json:
        json(found)
    elif len(good) == 1 and len(found) == 1:
        _one(good[0])
    elif good:
        _several(good, fields)
    bad = [each for each in found if "error" in each]
    for each in bad:
        report(CommandError(f"{each['symbol']}: {each['error'].get('message', each['error'].get('code'))}"))
    if bad:
        report_next()
    return Exit.WRONG if bad else Exit.DONE


def report_next() -> None:
    """Say what to do about symbols that were not found."""
    from bhavcast.cli.output import note

    note("  next: /api/stocks?q=NAME on the gateway finds scrips by name")


async def _fetch(url: str, symbols: list[str], fields: str, depth: int) -> list[dict[str, Any]]:
    from bhavcast.client.rest import Rest

    async with Rest(url) as rest:
        return await rest.batch(symbols, fields=fields, depth=depth)


def _one(found: Mapping[str, Any]) -> None:
    rows = [(name, written(name, value)) for name, value in found.items() if not isinstance(value, dict | list)]
    table(["field", "value"], rows)
    _book(found)


def _several(found: list[dict[str, Any]], fields: str) -> None:
    names = list(_COLUMNS) if not fields else list(dict.fromkeys(name for each in found for name in each))
    names = [name for name in names if name != "depth" and any(name in each for each in found)]
    rows = [[written(name, each.get(name)) for name in names] for each in found]
    table(names, rows, right=[name for name in names if name not in _TEXTS])
    for each in found:
        if each.get("depth"):
            say(f"{each.get('id', each['symbol'])}:")
            _book(each)


def _book(found: Mapping[str, Any]) -> None:
    depth = found.get("depth")
    if not depth:
        return
    bids, asks = depth.get("bids") or [], depth.get("asks") or []
    columns = ["orders", "bid quantity", "bid", "offer", "offer quantity", "orders "]
    rows = []
    for level in range(max(len(bids), len(asks))):
        bid = bids[level] if level < len(bids) else {}
        ask = asks[level] if level < len(asks) else {}
        rows.append([
            bid.get("orders"), bid.get("quantity"), written("bid_price", bid.get("price")),
            written("ask_price", ask.get("price")), ask.get("quantity"), ask.get("orders"),
        ])  # fmt: skip
    table(columns, rows, right=columns)


app = command(
    "quote",
    quote,
    examples=[
        "bhavcast quote RELIANCE",
        "bhavcast quote RELIANCE TCS IDX:SENSEX --fields ltp",
        "bhavcast quote 500325 --depth 5 --json",
    ],
    codes={0: "every symbol has a quote", 1: "a symbol has none, and was named", 3: "no service answers"},
)
