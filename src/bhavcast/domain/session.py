"""The words of a trading session: phases, who is in which, and the market-wide halts that interrupt them."""

from datetime import time
from typing import Final, Literal, NamedTuple

from bhavcast.domain.instrument import Instrument

# The pre_open_* phases are those of any call auction before trading: the daily pre-open, the longer one of a newly
# listed scrip, and each round of the periodic call auction. `halted` and `auction_after_halt` are events of a day, told
# by a feed; no calendar foresees them.
Phase = Literal[
    "closed",
    "pre_open_entry",
    "pre_open_match",
    "pre_open_buffer",
    "continuous",
    "cas_reference",
    "cas_entry",
    "cas_match",
    "closing",
    "post_close",
    "halted",
    "auction_after_halt",
]
ScripClass = Literal["standard", "closing_auction", "periodic", "special_pre_open"]
MarketStatus = Literal["pre_open", "open", "closing_auction", "post_close", "closed", "holiday", "special"]

CLASSES: Final[tuple[ScripClass, ...]] = ("standard", "closing_auction", "periodic", "special_pre_open")

# Orders meet on a call: crossed books, market orders (price 0) and indicative prices are legitimate.
CALL_AUCTION_PHASES: Final[frozenset[Phase]] = frozenset(
    {"pre_open_entry", "pre_open_match", "cas_entry", "cas_match", "auction_after_halt"}
)
# Trades can happen. A match is one burst of them; post-close trades are at the close price.
TRADING_PHASES: Final[frozenset[Phase]] = frozenset(
    {"pre_open_match", "continuous", "cas_match", "post_close", "auction_after_halt"}
)
# Silence of a whole source is a fault: orders move books or indicative prices all the time. Not so in a match, a buffer
# or a reference phase (no orders are taken), nor in post-close (a trade now and then).
TICKS_DUE_PHASES: Final[frozenset[Phase]] = frozenset(
    {"pre_open_entry", "continuous", "cas_entry", "auction_after_halt"}
)

# Market-wide halts, by the move of the index against its previous close. Assumed: general knowledge, not read in a
# notice of BSE. For each level, rows of (halts that begin before this time, minutes); None: the rest of the day.
HALTS: Final[dict[int, tuple[tuple[time, int | None], ...]]] = {
    10: ((time(13, 0), 45), (time(14, 30), 15), (time.max, 0)),
    15: ((time(13, 0), 105), (time(14, 0), 45), (time.max, None)),
    20: ((time.max, None),),
}
# Assumed: every halt that ends in the day is followed by a call auction of this length.
AUCTION_AFTER_HALT_MINUTES: Final = 15


class Window(NamedTuple):
    """One phase of a day, from `start` until before `end`, milliseconds since the Unix epoch."""

    phase: Phase
    start: int
    end: int


def class_of(instrument: Instrument) -> ScripClass:
    """Return the class whose timetable the scrip follows; a call auction of its own wins over the closing auction.

    An index follows "standard": the exchange computes it as long as any of its members trades, and those outside the
    closing auction trade until 15:30. The closes that the auction finds reach it in `closing`.
    A scrip without pre-open is "standard" too: it takes part from `continuous` on.
    """
    if instrument.call_auction == "periodic":
        return "periodic"
    if instrument.call_auction in ("ipo", "relist"):
        return "special_pre_open"
    return "closing_auction" if instrument.closing_auction else "standard"


def halt_minutes(percent: int, at: time) -> int | None:
    """Return how long trading halts when the index has moved by `percent` at `at` (IST); None: the rest of the day.

    The sign does not matter. Between two levels the lower one has been passed: 12 is 10. No halt is 0.
    """
    level = max((level for level in HALTS if level <= abs(percent)), default=None)
    if level is None:
        return 0
    return next((minutes for before, minutes in HALTS[level] if at < before), HALTS[level][-1][1])
