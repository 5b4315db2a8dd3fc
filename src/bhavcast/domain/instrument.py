"""Scrips and indices: what does not move in the day."""

from typing import Final, Literal

import msgspec

InstrumentKind = Literal["EQ", "MF", "DB", "GS", "IDX"]
Status = Literal["A", "S", "I"]

INDEX_PREFIX: Final = "IDX:"
CANARY_SYMBOL: Final = "000000"  # of the heartbeat that travels as a quote; no scrip has it


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """A scrip as BSE's master describes it, or an index.

    `symbol` is the key everywhere: the six-digit scrip code, or `IDX:` and the index id. (A prefix is the segment:
    equity has none. Derivatives will have theirs, so a code alone is never the key.) Prices of the scrip are integers
    in units of 10 ** -scale rupees; `tick`, `face_value` and the circuit limits are such prices; `band` is the daily
    price band in per cent of the previous close, None where there is none fixed. `gsm_stage`: under graded surveillance
    (0 to 6), None where it is not. `provisional`: seen in a feed or a day's file, but in no master.
    """

    symbol: str
    id: str
    name: str
    isin: str = ""
    group: str = ""
    kind: InstrumentKind = "EQ"
    status: Status = "A"
    scale: int = 2
    tick: int = 5
    lot: int = 1
    face_value: int | None = None
    band: int | None = None
    settlement: Literal[0, 1, 2] = 1
    closing_auction: bool = False
    call_auction: Literal["none", "ipo", "relist", "periodic", "pre_open"] = "pre_open"
    sector: str = ""
    exclusive: bool = False
    gsm_stage: int | None = None
    provisional: bool = False

    @property
    def is_index(self) -> bool:
        """Whether this is an index rather than a scrip that is traded."""
        return self.kind == "IDX"

    @property
    def hidden(self) -> bool:
        """Whether this is no part of the market, but of the service."""
        return self.symbol == CANARY_SYMBOL

    @property
    def divisor(self) -> int:
        """What an integer price of this scrip is divided by to be rupees."""
        return 100 if self.scale == 2 else 10_000
