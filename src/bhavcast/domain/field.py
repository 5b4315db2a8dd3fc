"""The fields of a quote: one table, from which codecs, encoders, presets and documentation are made.

A field's number is its identity in the journal and on the bus: numbers are never reused or changed. Values are
integers (prices in the scrip's scale, money in paise, times in milliseconds since the Unix epoch, percentages in
hundredths), text, or a ladder: a tuple of up to five (price, quantity, orders).
"""

from enum import Enum
from typing import Final, NamedTuple

import msgspec

Level = tuple[int, int, int]
Ladder = tuple[Level, ...]
Value = int | str | Ladder | None
Values = dict[int, Value]
# What a row holds: of a ladder perhaps only the MessagePack in which it came. Few look at it, and it is twenty objects.
Held = Value | bytes

_decode_ladder = msgspec.msgpack.Decoder(Ladder).decode


def ladder(held: Held) -> Ladder | None:
    """Return the ladder that a row holds, if it is one."""
    if isinstance(held, bytes):
        return _decode_ladder(held)
    return held if isinstance(held, tuple) else None


class Kind(Enum):
    """How a field's integer or text is read, and how it is written at the edge."""

    PRICE = "rupees, two decimals (four for debt)"
    MONEY = "rupees, two decimals"
    PERCENT = "per cent, two decimals"
    COUNT = "whole number"
    TIME = "ISO-8601 with milliseconds, IST"
    SECOND = "ISO-8601 to the second, IST"
    TEXT = "text"
    LADDER = "list of {price, quantity, orders}, best first"


class Field(NamedTuple):
    """One field: its number, its name on the wire, its kind, and whether a new day empties it."""

    number: int
    name: str
    kind: Kind
    day: bool
    meaning: str


CURRENT_PRICE: Final = 0
CHANGE: Final = 1
PERCENT_CHANGE: Final = 2
OPEN: Final = 3
HIGH: Final = 4
LOW: Final = 5
PREVIOUS_CLOSE: Final = 6
CLOSE_PRICE: Final = 7
VOLUME: Final = 8
VALUE: Final = 9
TRADES: Final = 10
AVERAGE_PRICE: Final = 11
LAST_QUANTITY: Final = 12
LAST_TRADE_TIME: Final = 13
BID_PRICE: Final = 14
BID_QUANTITY: Final = 15
ASK_PRICE: Final = 16
ASK_QUANTITY: Final = 17
TOTAL_BID_QUANTITY: Final = 18
TOTAL_ASK_QUANTITY: Final = 19
LOWER_CIRCUIT: Final = 20
UPPER_CIRCUIT: Final = 21
INDICATIVE_PRICE: Final = 22
INDICATIVE_QUANTITY: Final = 23
REFERENCE_PRICE: Final = 24
YEAR_HIGH: Final = 25
YEAR_LOW: Final = 26
PHASE: Final = 27
STATE: Final = 28
MODE: Final = 29
SOURCE: Final = 30
GRADE: Final = 31
PERIOD_MS: Final = 32
TIMESTAMP: Final = 33
BIDS: Final = 34
ASKS: Final = 35

FIELDS: Final[tuple[Field, ...]] = (
    Field(CURRENT_PRICE, "current_price", Kind.PRICE, True, "price of the last trade"),
    Field(CHANGE, "change", Kind.PRICE, True, "close_price, or else current_price, less previous_close"),
    Field(PERCENT_CHANGE, "percent_change", Kind.PERCENT, True, "change as a part of previous_close"),
    Field(OPEN, "open", Kind.PRICE, True, "price of the day's first trade"),
    Field(HIGH, "high", Kind.PRICE, True, "highest trade of the day"),
    Field(LOW, "low", Kind.PRICE, True, "lowest trade of the day"),
    Field(PREVIOUS_CLOSE, "previous_close", Kind.PRICE, False, "official close of the last day, adjusted"),
    Field(CLOSE_PRICE, "close_price", Kind.PRICE, True, "official close, absent until it is determined"),
    Field(VOLUME, "volume", Kind.COUNT, True, "shares traded in the day"),
    Field(VALUE, "value", Kind.MONEY, True, "turnover of the day"),
    Field(TRADES, "trades", Kind.COUNT, True, "trades of the day"),
    Field(AVERAGE_PRICE, "average_price", Kind.PRICE, True, "turnover by volume"),
    Field(LAST_QUANTITY, "last_quantity", Kind.COUNT, True, "shares of the last trade"),
    Field(LAST_TRADE_TIME, "last_trade_time", Kind.SECOND, True, "exchange's time of the last trade"),
    Field(BID_PRICE, "bid_price", Kind.PRICE, True, "best bid"),
    Field(BID_QUANTITY, "bid_quantity", Kind.COUNT, True, "shares at the best bid"),
    Field(ASK_PRICE, "ask_price", Kind.PRICE, True, "best offer"),
    Field(ASK_QUANTITY, "ask_quantity", Kind.COUNT, True, "shares at the best offer"),
    Field(TOTAL_BID_QUANTITY, "total_bid_quantity", Kind.COUNT, True, "shares bid for in the whole book"),
    Field(TOTAL_ASK_QUANTITY, "total_ask_quantity", Kind.COUNT, True, "shares offered in the whole book"),
    Field(LOWER_CIRCUIT, "lower_circuit", Kind.PRICE, False, "lowest price allowed today"),
    Field(UPPER_CIRCUIT, "upper_circuit", Kind.PRICE, False, "highest price allowed today"),
    Field(INDICATIVE_PRICE, "indicative_price", Kind.PRICE, True, "price at which the call auction would match now"),
    Field(INDICATIVE_QUANTITY, "indicative_quantity", Kind.COUNT, True, "shares the call auction would match now"),
    Field(
        REFERENCE_PRICE, "reference_price", Kind.PRICE, True, "reference price of the closing auction or block deals"
    ),
    Field(YEAR_HIGH, "year_high", Kind.PRICE, False, "highest trade of 52 weeks"),
    Field(YEAR_LOW, "year_low", Kind.PRICE, False, "lowest trade of 52 weeks"),
    Field(PHASE, "phase", Kind.TEXT, False, "phase of the session for this scrip"),
    Field(STATE, "state", Kind.TEXT, False, "live, quiet, stale, halted, closed or no_data"),
    Field(MODE, "mode", Kind.TEXT, False, "real, delayed, sim, replay or eod"),
    Field(SOURCE, "source", Kind.TEXT, False, "name of the feed that gave the last tick"),
    Field(GRADE, "grade", Kind.TEXT, False, "tick, conflated, polled or eod"),
    Field(PERIOD_MS, "period_ms", Kind.COUNT, False, "the source's own period between updates, 0 for none"),
    Field(TIMESTAMP, "timestamp", Kind.TIME, False, "exchange's time of the update (the source's where it gives none)"),
    Field(BIDS, "bids", Kind.LADDER, True, "five best bids, on the wire under depth"),
    Field(ASKS, "asks", Kind.LADDER, True, "five best offers, on the wire under depth"),
)
COUNT: Final = len(FIELDS)
NUMBERS: Final = frozenset(range(COUNT))
BY_NAME: Final[dict[str, Field]] = {field.name: field for field in FIELDS}
DAY_FIELDS: Final[tuple[int, ...]] = tuple(field.number for field in FIELDS if field.day)
LADDERS: Final = (BIDS, ASKS)

LTP: Final = (CURRENT_PRICE, CHANGE, PERCENT_CHANGE, VOLUME, STATE, TIMESTAMP)
QUOTE: Final = (
    *LTP[:3],
    OPEN,
    HIGH,
    LOW,
    PREVIOUS_CLOSE,
    VOLUME,
    LAST_QUANTITY,
    LAST_TRADE_TIME,
    BID_PRICE,
    BID_QUANTITY,
    ASK_PRICE,
    ASK_QUANTITY,
    STATE,
    TIMESTAMP,
)
FULL: Final = tuple(field.number for field in FIELDS if field.number not in LADDERS)
PRESETS: Final[dict[str, tuple[int, ...]]] = {"ltp": LTP, "quote": QUOTE, "full": FULL}
