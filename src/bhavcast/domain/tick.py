"""What feeds say: ticks, in batches, each batch of one source."""

from typing import Literal

import msgspec

from bhavcast.domain.field import Values

Mode = Literal["real", "delayed", "sim", "replay", "eod"]
Grade = Literal["tick", "conflated", "polled", "eod"]
FeedState = Literal["starting", "live", "paused", "stale", "failed", "ended", "not_due"]


class Source(msgspec.Struct, frozen=True):
    """Who says it, and what its word is worth: `period_ms` is the time between its updates, 0 for none."""

    name: str
    mode: Mode
    grade: Grade
    period_ms: int = 0


class Tick(msgspec.Struct, frozen=True, gc=False):
    """One event of one scrip: the fields it speaks of with their absolute values; None says "has no value now".

    `time` is the exchange's stamp in milliseconds since the Unix epoch (the source's where the exchange gives none).
    Fields that the source does not give are absent, never zero. CHANGE, PERCENT_CHANGE, PHASE, STATE, MODE, SOURCE,
    GRADE, PERIOD_MS and TIMESTAMP are not the feed's to say: the board derives them.
    """

    symbol: str
    time: int
    values: Values


class Batch(msgspec.Struct, frozen=True, gc=False):
    """Ticks of one source that arrived together, in the order they came; `received` is market time in milliseconds."""

    source: Source
    received: int
    ticks: list[Tick]
