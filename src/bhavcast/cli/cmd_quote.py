"""`bhavcast quote`: prices from a running gateway, with what they are worth."""

import asyncio
from datetime import datetime
from typing import Any

from bhavcast.cli.command import command
from bhavcast.cli.output import Exit, JsonFlag, UrlFlag, age, fail, json, note, table

_COLUMNS = ("symbol", "id", "price", "change", "%", "volume", "bid", "ask", "state", "source", "age")


def quote(*symbols: str, url: UrlFlag = "http://127.0.0.1:5000", as_json: JsonFlag = False) -> int:
    """Print quotes from a running gateway.

    Parameters
    ----------
    symbols
        Codes (500325), ids (RELIANCE), ISINs (INE002A01018) or indices (IDX:SENSEX).
    """
    if not symbols:
        fail("quote — expected one symbol or more, got none", then="bhavcast quote RELIANCE", code=Exit.USAGE)
    now, rows = asyncio.run(_ask(url, list(symbols)))
    bad = [row for row in rows if "error" in row]
    if as_json:
        json(rows)
    else:
        for row in bad:
            note(f"error: {row['symbol']}: {row['error'].get('message', row['error'].get('code'))}")
        if good := [row for row in rows if "error" not in row]:
            table(
                _COLUMNS,
                [_cells(row, now) for row in good],
                right=("price", "change", "%", "volume", "bid", "ask", "age"),
            )
    return Exit.WRONG if bad else Exit.DONE


async def _ask(url: str, symbols: list[str]) -> tuple[datetime, list[dict[str, Any]]]:
    from bhavcast.client.rest import Rest

    async with Rest(url) as rest:
        rows = await rest.batch(symbols)
        # An age is told in the market's time: its clock may be a virtual one.
        now = datetime.fromisoformat((await rest.status())["clock"]["now"])
    return now, rows


def _cells(row: dict[str, Any], now: datetime) -> list[object]:
    names = ("symbol", "id", "current_price", "change", "percent_change", "volume", "bid_price", "ask_price", "state")
    stamp = row.get("timestamp")
    seconds = None if stamp is None else (now - datetime.fromisoformat(stamp)).total_seconds()
    return [*(row.get(name) for name in names), f"{row.get('source', '')} ({row.get('mode', '')})", age(seconds)]


app = command(
    "quote",
    quote,
    examples=[
        "bhavcast quote RELIANCE TCS",
        "bhavcast quote IDX:SENSEX --json",
        'bhavcast quote "M&M" --url http://127.0.0.1:5001',
    ],
    codes={1: "a symbol is unknown or has no data yet", 3: "nothing answers at the address"},
)
