"""What is told of the market as a whole: status, indices, movers, breadth, ranges, feeds."""

import datetime
from typing import Any, Final

from bhavcast.board import encode
from bhavcast.board.board import Row
from bhavcast.board.encode import iso_ms
from bhavcast.domain import field
from bhavcast.domain.calendar import at_ist
from bhavcast.domain.errors import BadRequest
from bhavcast.domain.shape import Shape
from bhavcast.domain.span import LENGTHS, SPANS
from bhavcast.gateway import quotes
from bhavcast.gateway.gateway import Gateway

MAX_MOVERS: Final = 200
MOVERS: Final = {
    "gain": (field.PERCENT_CHANGE, True),
    "loss": (field.PERCENT_CHANGE, False),
    "volume": (field.VOLUME, True),
    "value": (field.VALUE, True),
}
_SHOWN: Final = Shape(field.QUOTE)


def gaps(gateway: Gateway, symbol: str | None, since: str | None) -> list[dict[str, Any]]:
    """Return the gaps that concern a scrip (all without one) and were not over at a time, oldest first."""
    begin = 0 if since is None else _moment(since)
    source = None if symbol is None else gateway.row(symbol)[field.SOURCE]
    ledger: list[dict[str, Any]] = gateway.replica.facts.get("gaps", [])
    return [
        {**each, "from": iso_ms(each["from"]), "to": None if each["to"] is None else iso_ms(each["to"])}
        for each in ledger
        if (each["to"] is None or each["to"] >= begin) and (symbol is None or each["source"] in (None, source))
    ]


def _moment(text: str) -> int:
    try:
        at = datetime.datetime.fromisoformat(text)
        if at.tzinfo is None:
            return at_ist(at.date(), at.time())
        return int(at.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise BadRequest(
            f"expected a time as 2026-11-23T09:15:00 (IST, or with its zone, + written %2B), got {text[:40]!r}",
            field="from",
        ) from None


def status(gateway: Gateway) -> dict[str, Any]:
    """Return the market's status, its phases, what comes next, the feeds, the clock and the position."""
    market = gateway.fact("market")
    upcoming = market.get("next") or {}
    now = gateway.market.now_ms()
    told: dict[str, Any] = {
        "status": market.get("status", "unknown"),
        "date": market.get("date"),
        "phases": market.get("phases", {}),
        "next": {**upcoming, "at": iso_ms(upcoming["at"])} if upcoming else None,
        "calendar": market.get("calendar", "unknown"),
        "feeds": gateway.fact("feeds"),
        "clock": {**gateway.fact("clock"), "now": iso_ms(now)},
        "link": gateway.link,
        "pos": gateway.position,
    }
    if market.get("holiday"):
        told["holiday"] = market["holiday"]
    return told


def indices(gateway: Gateway) -> list[dict[str, Any]]:
    """Return the quotes of all indices that have one."""
    rows = [row for row in gateway.everyone() if row.instrument.is_index and row.has_data]
    return [quotes.shown(gateway, row, Shape()) for row in rows]


def movers(gateway: Gateway, by: str, limit: int, group: str | None) -> list[dict[str, Any]]:
    """Return the scrips that moved or traded most."""
    if by not in MOVERS:
        raise BadRequest(f"expected one of {', '.join(MOVERS)}, got {by[:40]!r}", field="by")
    if not 1 <= limit <= MAX_MOVERS:
        raise BadRequest(f"expected 1 to {MAX_MOVERS}, got {limit}", field="limit")
    number, descending = MOVERS[by]
    ranked = []
    for row in scrips(gateway):
        value = row[number]
        wrong_sign = by in ("gain", "loss") and isinstance(value, int) and (value > 0) != descending
        if (
            isinstance(value, int)
            and value != 0
            and not wrong_sign
            and (group is None or row.instrument.group == group)
        ):
            ranked.append((value, row.symbol, row))
    ranked.sort(key=lambda each: (-each[0] if descending else each[0], each[1]))
    return [_brief(row) for _, _, row in ranked[:limit]]


def _brief(row: Row) -> dict[str, Any]:
    return {**encode.describe(row), **encode.full(row, _SHOWN), **_money(row)}


def _money(row: Row) -> dict[str, Any]:
    value = row[field.VALUE]
    return {"value": value / 100} if isinstance(value, int) else {}


def scrips(gateway: Gateway) -> list[Row]:
    """Return the rows of what is traded."""
    return [row for row in gateway.everyone() if not row.instrument.is_index]


def breadth(gateway: Gateway) -> dict[str, Any]:
    """Return advances, declines and unchanged of the scrips that traded, and those at their 52-week limits."""
    counts = dict.fromkeys(("advances", "declines", "unchanged", "not_traded", "upper_circuit", "lower_circuit"), 0)
    counts |= {"year_highs": 0, "year_lows": 0}
    for row in scrips(gateway):
        move, last = row[field.CHANGE], row[field.CURRENT_PRICE]
        if not isinstance(move, int) or not isinstance(last, int):
            counts["not_traded"] += 1
            continue
        counts["advances" if move > 0 else "declines" if move < 0 else "unchanged"] += 1
        counts["upper_circuit"] += last == row[field.UPPER_CIRCUIT]
        counts["lower_circuit"] += last == row[field.LOWER_CIRCUIT]
        counts["year_highs"] += _reaches(row[field.HIGH], row[field.YEAR_HIGH], 1)
        counts["year_lows"] += _reaches(row[field.LOW], row[field.YEAR_LOW], -1)
    return {**counts, "pos": gateway.position}


def _reaches(today: field.Held, year: field.Held, sign: int) -> bool:
    return isinstance(today, int) and isinstance(year, int) and sign * today >= sign * year


def ranges(gateway: Gateway, row: Row) -> dict[str, Any]:
    """Return a scrip's highs and lows of the day, week, month and 52 weeks; a span that is not known is absent.

    Where the source does not tell the 52 weeks, they too are put together from days; `days` and `from` say from how many,
    and since when.
    """
    divisor = row.divisor
    told: dict[str, Any] = {"symbol": row.symbol, "date": gateway.replica.facts.get("day"), "pos": gateway.position}
    today = _pair(row[field.HIGH], row[field.LOW])
    if today is not None:
        told["day"] = _range([today], divisor)
    spans = gateway.fact(SPANS).get(row.symbol) or [None] * len(LENGTHS)
    for name, span in zip(LENGTHS, spans, strict=True):
        first, days, *past = (None, 0) if span is None else span
        pairs = [pair for pair in (today, tuple(past) or None) if pair is not None]
        source = _pair(row[field.YEAR_HIGH], row[field.YEAR_LOW]) if name == "year" else None
        if source is not None:
            told[name] = _range([source, *pairs], divisor)
        elif pairs:
            since = told["date"] if first is None else datetime.date.fromordinal(first).isoformat()
            told[name] = {**_range(pairs, divisor), "days": days + (today is not None), "from": since}
    return told


def _pair(high: field.Held, low: field.Held) -> tuple[int, int] | None:
    return (high, low) if isinstance(high, int) and isinstance(low, int) else None


def _range(pairs: list[tuple[int, int]], divisor: int) -> dict[str, Any]:
    return {"high": max(high for high, _ in pairs) / divisor, "low": min(low for _, low in pairs) / divisor}
