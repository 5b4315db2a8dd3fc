"""The market that the scenarios without a simulator play: scrips, their opening rows, the epoch."""

import functools
from pathlib import Path

from bhavcast.domain import field
from bhavcast.domain.change import RowImage, Snapshot
from bhavcast.domain.field import Value
from bhavcast.domain.instrument import Instrument

EPOCH = "20261123T0345Z-9f1c03ab77de5a20"
TOKEN = 1
START_MS = 1_795_410_000_000  # 23 Nov 2026, 10:30 IST: continuous trading
BASE_REV = 1_795_410_000_000_000
HOT = "500000"


@functools.cache
def instruments(count: int) -> list[Instrument]:
    """Return so many scrips, with codes from 500000 on."""
    return [
        Instrument(
            symbol=str(500_000 + number),
            id=f"SCRIP{number}",
            name=f"SCRIP NUMBER {number} LTD.",
            isin=f"INE{number:06d}011",
            group="A",
            band=20,
        )
        for number in range(count)
    ]


def first_rev(count: int) -> int:
    """Return the revision at which the opening rows are complete."""
    return BASE_REV + count


def snapshot(count: int) -> Snapshot:
    """Return the market as it stands before the first tick: every row has every field of a traded scrip."""
    rows = [
        RowImage(each.symbol, BASE_REV + number, _values(number), [BASE_REV + number] * field.COUNT)
        for number, each in enumerate(instruments(count), start=1)
    ]
    return Snapshot(
        epoch=EPOCH,
        rev=first_rev(count),
        token=TOKEN,
        market=START_MS,
        rows=rows,
        facts={},
        instruments=instruments(count),
    )


def _values(number: int) -> list[Value]:
    price = 150_000 + 5 * (number % 1000)
    known: dict[int, Value] = {
        field.CURRENT_PRICE: price,
        field.CHANGE: price - 150_000,
        field.PERCENT_CHANGE: (price - 150_000) // 15,
        field.OPEN: 150_500,
        field.HIGH: 158_090,
        field.LOW: 149_235,
        field.PREVIOUS_CLOSE: 150_000,
        field.VOLUME: 221_992,
        field.VALUE: 34_957_500_000,
        field.TRADES: 6412,
        field.AVERAGE_PRICE: 157_472,
        field.LAST_QUANTITY: 10,
        field.LAST_TRADE_TIME: START_MS,
        field.BID_PRICE: price - 5,
        field.BID_QUANTITY: 126,
        field.ASK_PRICE: price + 5,
        field.ASK_QUANTITY: 168,
        field.TOTAL_BID_QUANTITY: 123_456,
        field.TOTAL_ASK_QUANTITY: 98_765,
        field.LOWER_CIRCUIT: 120_000,
        field.UPPER_CIRCUIT: 180_000,
        field.YEAR_HIGH: 190_000,
        field.YEAR_LOW: 90_000,
        field.PHASE: "continuous",
        field.STATE: "live",
        field.MODE: "sim",
        field.SOURCE: "bench",
        field.GRADE: "tick",
        field.PERIOD_MS: 0,
        field.TIMESTAMP: START_MS,
    }
    return [known.get(each.number) for each in field.FIELDS]


def write_symbols(folder: Path, count: int) -> Path:
    """Write the file of symbols that a stream load chooses from."""
    path = folder / "symbols"
    path.write_text("".join(f"{each.symbol}\n" for each in instruments(count)))
    return path
