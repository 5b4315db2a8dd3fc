"""What the Kite API calls things: instrument tokens, modes, and the binary packets of its ticker.

A packet is big-endian, prices in paise: 8 bytes (ltp), 44 (quote), 184 (full: five levels of depth), of an index 28 and 32.
What a message carries stands in kite_ticker.py.
"""

import struct
import zlib
from collections.abc import Iterable
from typing import Final

import msgspec

from bhavcast.board.board import Row
from bhavcast.domain import digits, field
from bhavcast.domain.errors import AmbiguousSymbol, BhavcastError, UnknownSymbol
from bhavcast.domain.instrument import INDEX_PREFIX, Instrument
from bhavcast.domain.shape import Shape
from bhavcast.gateway.gateway import Gateway
from bhavcast.gateway.problems import Wording

EXCHANGE: Final = "BSE"
BSE: Final = 4  # segments, the last byte of a token
INDICES: Final = 9
SENSEX: Final = 1  # as that API numbers it: token 265
_MOST: Final = 2**32 - 1
_LTP: Final = struct.Struct(">HII")
_QUOTE: Final = struct.Struct(">H11I")
_FULL: Final = struct.Struct(">H16I")
_LEVEL: Final = struct.Struct(">IIHxx")
_INDEX: Final = struct.Struct(">H6Ii")
_INDEX_FULL: Final = struct.Struct(">H6IiI")
_OHLC: Final = (field.OPEN, field.HIGH, field.LOW, field.PREVIOUS_CLOSE)
_QUOTED: Final = (
    field.CURRENT_PRICE,
    field.LAST_QUANTITY,
    field.AVERAGE_PRICE,
    field.VOLUME,
    field.TOTAL_BID_QUANTITY,
    field.TOTAL_ASK_QUANTITY,
    *_OHLC,
)
# What a change of makes a packet, by mode.
MODES: Final = {
    mode: Shape(tuple(sorted(numbers)), binary=True, dialect=f"kite/{mode}")
    for mode, numbers in {
        "ltp": (field.CURRENT_PRICE,),
        "quote": _QUOTED,
        "full": (*_QUOTED, field.LAST_TRADE_TIME, field.TIMESTAMP, *field.LADDERS),
    }.items()
}
# What that API's client raises, by status; what is not named here is the program's own fault.
_KINDS: Final = {
    401: "TokenException",
    403: "TokenException",
    429: "NetworkException",
    500: "GeneralException",
    503: "NetworkException",
}


def _refusal(error: BhavcastError) -> bytes:
    where = "" if error.field is None else f"{error.field}: "
    told = {
        "status": "error",
        "message": f"{error.code}: {where}{error.detail}",
        "error_type": _KINDS.get(error.status, "InputException"),
        "data": None,
    }
    return msgspec.json.encode(told)


WORDING: Final = Wording("application/json", _refusal)


def whole(row: Row, number: int) -> int:
    """Return a count, 0 where there is none, and at most what four bytes hold."""
    value = row[number]
    return min(max(value, 0), _MOST) if isinstance(value, int) else 0


def paise(row: Row, number: int) -> int:
    """Return a price in paise; finer ones, of debt, are cut."""
    value = row[number]
    return min(max(value, 0) * 100 // row.divisor, _MOST) if isinstance(value, int) else 0


def seconds(row: Row, number: int) -> int:
    """Return a time in seconds since the Unix epoch."""
    value = row[number]
    return value // 1000 if isinstance(value, int) else 0


def levels(row: Row, number: int) -> list[tuple[int, int, int]]:
    """Return five levels of one side as quantity, price in paise, orders; zeros where there are fewer."""
    ladder = field.ladder(row[number]) or ()
    told = [
        (min(quantity, _MOST), price * 100 // row.divisor, min(orders, 65535)) for price, quantity, orders in ladder
    ]
    return (told + [(0, 0, 0)] * 5)[:5]


class Tokens:
    """The number of each instrument: scrip code and BSE's segment, or an index's number and the segment of indices."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._generation = -1
        self._indices: dict[str, int] = {}
        self._symbols: dict[int, str] = {}

    def of(self, instrument: Instrument) -> int:
        """Return an instrument's token."""
        if not instrument.is_index:
            return int(instrument.symbol) << 8 | BSE
        self._learn()
        return self._indices[instrument.symbol] << 8 | INDICES

    def row(self, token: int) -> Row | None:
        """Return what a token names."""
        number, segment = token >> 8, token & 0xFF
        self._learn()
        symbol = f"{number:06}" if segment == BSE else self._symbols.get(number) if segment == INDICES else None
        return self._gateway.replica.rows.get(symbol) if symbol is not None else None

    def _learn(self) -> None:
        if self._generation == self._gateway.generation:
            return
        self._generation = self._gateway.generation
        symbols = sorted(each.symbol for each in self._gateway.directory if each.is_index)
        self._symbols = numbered(symbols)
        self._indices = {symbol: number for number, symbol in self._symbols.items()}


def numbered(symbols: Iterable[str]) -> dict[int, str]:
    """Give each index a number that stays the same from day to day: it is made from its name."""
    found: dict[int, str] = {}
    for symbol in symbols:
        number = SENSEX if symbol == f"{INDEX_PREFIX}SENSEX" else zlib.crc32(symbol.encode()) & 0xFFFFFF
        while number in found or (number == SENSEX and not symbol.endswith(":SENSEX")):
            number = (number + 1) & 0xFFFFFF
        found[number] = symbol
    return found


def trading_symbol(gateway: Gateway, instrument: Instrument) -> str:
    """Return the id that names this instrument and no other, or its code."""
    if instrument.is_index:
        return instrument.symbol.removeprefix(INDEX_PREFIX)
    found = _row(gateway, instrument.id) if instrument.id else None
    return instrument.id if found is not None and found.symbol == instrument.symbol else instrument.symbol


def named(gateway: Gateway, tokens: Tokens, text: str) -> Row | None:
    """Return what `BSE:RELIANCE`, `BSE:500325`, `BSE:SENSEX` or a token names."""
    exchange, colon, name = text.partition(":")
    if not colon:
        token = digits.whole(text, _MOST)
        return None if token is None else tokens.row(token)
    if exchange.upper() != EXCHANGE:
        return None
    return _row(gateway, name) or _row(gateway, INDEX_PREFIX + name)


def _row(gateway: Gateway, text: str) -> Row | None:
    try:
        return gateway.row(text)
    except (UnknownSymbol, AmbiguousSymbol):
        return None


class Packets:
    """Writes rows as packets, each with its length before it: the dialects of this API."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self.dialects = {
            MODES["ltp"].dialect: self.ltp,
            MODES["quote"].dialect: self.quote,
            MODES["full"].dialect: self.full,
        }

    def ltp(self, row: Row) -> bytes:
        """Write the last price."""
        price = self._price(row)
        return b"" if price is None else _LTP.pack(8, self._tokens.of(row.instrument), price)

    def quote(self, row: Row) -> bytes:
        """Write the day without depth."""
        if (price := self._price(row)) is None:
            return b""
        token = self._tokens.of(row.instrument)
        if row.instrument.is_index:
            return _INDEX.pack(28, token, price, *_index(row))
        return _QUOTE.pack(44, token, *_quote(row))

    def full(self, row: Row) -> bytes:
        """Write everything."""
        if (price := self._price(row)) is None:
            return b""
        token, stamp = self._tokens.of(row.instrument), seconds(row, field.TIMESTAMP)
        if row.instrument.is_index:
            return _INDEX_FULL.pack(32, token, price, *_index(row), stamp)
        # Open interest is a matter of derivatives.
        head = _FULL.pack(184, token, *_quote(row), seconds(row, field.LAST_TRADE_TIME), 0, 0, 0, stamp)
        return head + b"".join(_LEVEL.pack(*each) for side in field.LADDERS for each in levels(row, side))

    def _price(self, row: Row) -> int | None:
        return None if row[field.CURRENT_PRICE] is None else paise(row, field.CURRENT_PRICE)


def _quote(row: Row) -> tuple[int, ...]:
    return (
        paise(row, field.CURRENT_PRICE),
        whole(row, field.LAST_QUANTITY),
        paise(row, field.AVERAGE_PRICE),
        whole(row, field.VOLUME),
        whole(row, field.TOTAL_BID_QUANTITY),
        whole(row, field.TOTAL_ASK_QUANTITY),
        *(paise(row, number) for number in _OHLC),
    )


def _index(row: Row) -> tuple[int, ...]:
    order = (field.HIGH, field.LOW, field.OPEN, field.PREVIOUS_CLOSE)
    close = paise(row, field.PREVIOUS_CLOSE)
    change = paise(row, field.CURRENT_PRICE) - close if close else 0
    return (*(paise(row, number) for number in order), max(-(2**31), min(change, 2**31 - 1)))
