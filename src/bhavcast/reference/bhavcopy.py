"""Read the exchange's file of a day, the bhavcopy, in both of its forms.

Until July 2024, EQDDMMYY.CSV; the name alone says the day:

    SC_CODE,SC_NAME,SC_GROUP,SC_TYPE,OPEN,HIGH,LOW,CLOSE,LAST,PREVCLOSE,NO_TRADES,NO_OF_SHRS,NET_TURNOV,TDCLOINDI
    600001,EXAMPLE     ,A ,Q,101.00,103.50,100.25,102.10,102.00,100.40,118,10812,1103905.00,

Since January 2024, BhavCopy_BSE_CM_0_0_0_YYYYMMDD_F_0000.CSV (UDiFF), 34 columns:

    TradDt,BizDt,Sgmt,Src,FinInstrmTp,FinInstrmId,ISIN,TckrSymb,SctySrs,…,OpnPric,HghPric,LwPric,ClsPric,LastPric,…
    2026-09-11,2026-09-11,CM,BSE,STK,600001,INEZ00001012,EXAMPLE,A,…,101.00,103.50,100.25,102.10,102.00,…

Only scrips that traded have a row. The close is the official one: it may differ from the last trade, and with block
deals the average from the day's range.
"""

import datetime
import re
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import msgspec

from bhavcast.domain.errors import BadFile
from bhavcast.domain.instrument import Instrument, InstrumentKind
from bhavcast.domain.price import FINE, PAISE, default_band, default_tick, rescale
from bhavcast.domain.universe import Day
from bhavcast.reference.assume import closing_auction_assumed, sector_of
from bhavcast.reference.master import MOST_ID, MOST_NAME, code_of, group_of, isin_of
from bhavcast.reference.table import Row, Table, read_table, rows_of

WHAT: Final = "a bhavcopy (EQDDMMYY.CSV or BhavCopy_BSE_CM_0_0_0_YYYYMMDD_F_0000.CSV)"
DayForm = Literal["legacy", "udiff"]

MOST_PRICE: Final = 10**9  # rupees; debt of a crore a piece trades near 10^7
MOST_VOLUME: Final = 10**12
MOST_TRADES: Final = 10**9
MOST_VALUE: Final = 10**15  # rupees; a whole day's turnover is near 10^11
FIRST_YEAR: Final = 1990

_CLEAN: Final = frozenset(("FC", "GC"))
_DEBT: Final = frozenset(("F", "G", "FC", "GC"))
_LEGACY_NAME: Final = re.compile(r"EQ(?:_ISINCODE)?_?(\d{2})(\d{2})(\d{2})(?!\d)", re.ASCII | re.IGNORECASE)
_UDIFF_NAME: Final = re.compile(r"BhavCopy_BSE_CM_\d_\d_\d_(\d{4})(\d{2})(\d{2})(?!\d)", re.ASCII | re.IGNORECASE)
_DATE: Final = re.compile(r"(\d{4})-(\d{2})-(\d{2})", re.ASCII)
_TRADING_DATE: Final = re.compile(r"(\d{1,2})-([A-Z]{3})-(\d{2}|\d{4})", re.ASCII | re.IGNORECASE)
_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


class DayFile(msgspec.Struct, frozen=True):
    """A day as one file tells it.

    `instruments` describes every scrip of the file as far as the file does, for those that no master knows; prices of
    `days` are in the scale of that description.
    """

    date: datetime.date
    form: DayForm
    days: dict[str, Day]
    instruments: dict[str, Instrument]


class _Columns(NamedTuple):
    code: str
    name: str
    group: str
    open: str
    high: str
    low: str
    close: str
    last: str
    previous_close: str
    trades: str
    volume: str
    value: str
    others: tuple[str, ...]


# fmt: off
_LEGACY: Final = _Columns(
    "SC_CODE", "SC_NAME", "SC_GROUP", "OPEN", "HIGH", "LOW", "CLOSE", "LAST", "PREVCLOSE", "NO_TRADES", "NO_OF_SHRS",
    "NET_TURNOV", ("SC_TYPE",),
)
_UDIFF: Final = _Columns(
    "FinInstrmId", "FinInstrmNm", "SctySrs", "OpnPric", "HghPric", "LwPric", "ClsPric", "LastPric", "PrvsClsgPric",
    "TtlNbOfTxsExctd", "TtlTradgVol", "TtlTrfVal", ("TradDt", "Sgmt", "Src", "FinInstrmTp", "ISIN", "TckrSymb"),
)
# fmt: on


def parse_bhavcopy(content: bytes, name: str = "", date: datetime.date | None = None) -> DayFile:
    """Read a whole day; raise BadFile with row and reason if any of it is not as it should be.

    The day is what the rows say, what the file's `name` says and the `date` that was asked for: at least one of the
    three must, and they must not differ.
    """
    table = read_table(content, WHAT)
    form: DayForm = "udiff" if "TradDt" in table.header else "legacy"
    columns, own_date = (_UDIFF, _udiff_date) if form == "udiff" else (_LEGACY, _legacy_date)
    days: dict[str, Day] = {}
    instruments: dict[str, Instrument] = {}
    first: dict[str, int] = {}
    for row in rows_of(table, _required(columns), WHAT):
        code = code_of(row, columns.code)
        if code in first:
            raise row.bad(columns.code, f"{code} is in row {first[code]} already")
        first[code] = row.number
        instruments[code], days[code] = _scrip(row, code, form, columns)
    return DayFile(_agree(_content_date(table, columns, own_date), name, date), form, days, instruments)


def date_in_name(name: str) -> datetime.date | None:
    """Return the day that a bhavcopy's file name says, None if it says none."""
    udiff = _UDIFF_NAME.search(name)
    if udiff is not None:
        return _date(int(udiff[1]), int(udiff[2]), int(udiff[3]))
    legacy = _LEGACY_NAME.search(name)
    return None if legacy is None else _date(2000 + int(legacy[3]), int(legacy[2]), int(legacy[1]))


def _required(columns: _Columns) -> tuple[str, ...]:
    return (*columns[:-1], *columns.others)


def _scrip(row: Row, code: str, form: DayForm, columns: _Columns) -> tuple[Instrument, Day]:
    name = row.text(columns.name, MOST_NAME)
    group = group_of(row, columns.group)
    if form == "legacy":
        identity, isin, kind = name, isin_of(row, "ISIN_CODE"), _kind(group, row.text("SC_TYPE", 20))
    else:
        _refuse_other_market(row)
        identity, isin, kind = row.text("TckrSymb", MOST_ID), isin_of(row, "ISIN"), _kind(group, "")
    scale = FINE if group in _DEBT else PAISE
    day = _day(row, scale, columns)
    if scale == FINE and group not in _CLEAN and _whole_paise(day):
        scale, day = PAISE, _in_paise(day)
    closing = closing_auction_assumed(code)
    instrument = Instrument(
        symbol=code,
        id=identity,
        name=name,
        isin=isin,
        group=group,
        kind=kind,
        scale=scale,
        tick=default_tick(day.close) if kind == "EQ" else 1,
        band=default_band(group, kind, closing),
        settlement=0 if identity.endswith("#") else 1,
        closing_auction=closing,
        call_auction="pre_open" if kind == "EQ" else "none",
        sector=sector_of(code),
        provisional=True,
    )
    return instrument, day


def _kind(group: str, letter: str) -> InstrumentKind:
    # Q equity, B and D debt, P preference; the other form has STK in every row, bonds included.
    if group in ("G", "GC"):
        return "GS"
    if group in ("F", "FC"):
        return "EQ" if letter in ("Q", "P") else "DB"
    return "MF" if group == "E" else "EQ"


def _refuse_other_market(row: Row) -> None:
    for column, expected in (("Sgmt", "CM"), ("Src", "BSE")):
        given = row.text(column, 20)
        if given != expected:
            raise row.bad(column, f"is {given!r}, expected {expected}: another market's file")


def _day(row: Row, scale: int, columns: _Columns) -> Day:
    most = MOST_PRICE * 10**scale
    volume = row.number_of(columns.volume, 0, MOST_VOLUME)
    least = 1 if volume else 0
    day = Day(
        open=row.number_of(columns.open, scale, most, least),
        high=row.number_of(columns.high, scale, most, least),
        low=row.number_of(columns.low, scale, most, least),
        close=row.number_of(columns.close, scale, most, least),
        last=row.number_of(columns.last, scale, most, least),
        # Zero on a scrip's first day.
        previous_close=row.number_of(columns.previous_close, scale, most),
        volume=volume,
        value=row.number_of(columns.value, PAISE, MOST_VALUE * 10**PAISE),
        trades=row.number_of(columns.trades, 0, MOST_TRADES),
    )
    if day.low > day.high:
        raise row.bad(columns.low, f"is above {columns.high}")
    # Not the close: an average or an auction's price need not lie in the range of the trades.
    for column, price in ((columns.open, day.open), (columns.last, day.last)):
        if not day.low <= price <= day.high:
            raise row.bad(column, f"is outside {columns.low} to {columns.high}")
    if day.trades > day.volume:
        raise row.bad(columns.trades, f"is more than {columns.volume}")
    # A turnover is rounded to whole rupees: of one share at ten paise it is 0.
    if bool(day.trades) != bool(day.volume) or (day.value and not day.volume):
        raise row.bad(columns.volume, f"is {day.volume}, but {columns.trades} is {day.trades}")
    return day


def _prices(day: Day) -> tuple[int, ...]:
    return day.open, day.high, day.low, day.close, day.last, day.previous_close


def _whole_paise(day: Day) -> bool:
    return not any(price % 10 ** (FINE - PAISE) for price in _prices(day))


def _in_paise(day: Day) -> Day:
    o, h, low, close, last, previous = (rescale(price, FINE, PAISE) for price in _prices(day))
    return Day(o, h, low, close, last, previous, day.volume, day.value, day.trades)


def _content_date(table: Table, columns: _Columns, own: Callable[[Row], datetime.date | None]) -> datetime.date | None:
    found: datetime.date | None = None
    for row in rows_of(table, _required(columns), WHAT):
        date = own(row)
        if row.number == 2:
            found = date
        elif date != found:
            raise row.bad("TradDt", f"is {date}, but {found} in the rows before")
    return found


def _udiff_date(row: Row) -> datetime.date:
    text = row.text("TradDt", 20)
    match = _DATE.fullmatch(text)
    date = None if match is None else _date(int(match[1]), int(match[2]), int(match[3]))
    if date is None:
        raise row.bad("TradDt", f"is {text!r}, expected a date such as 2026-09-11")
    return date


def _legacy_date(row: Row) -> datetime.date | None:
    text = row.optional("TRADING_DATE")  # only in the variant with ISINs: 07-MAY-21
    if not text:
        return None
    match = _TRADING_DATE.fullmatch(text)
    date = None
    if match is not None and match[2].upper() in _MONTHS:
        year = int(match[3]) + (2000 if len(match[3]) == 2 else 0)
        date = _date(year, _MONTHS.index(match[2].upper()) + 1, int(match[1]))
    if date is None:
        raise row.bad("TRADING_DATE", f"is {text[:20]!r}, expected a date such as 07-MAY-21")
    return date


def _date(year: int, month: int, day: int) -> datetime.date | None:
    if year < FIRST_YEAR:
        return None
    try:
        return datetime.date(year, month, day)
    except ValueError:
        return None


def _agree(content: datetime.date | None, name: str, asked: datetime.date | None) -> datetime.date:
    said = {"its rows": content, f"its name ({name[:80]})": date_in_name(name), "the request": asked}
    dates = {by: date for by, date in said.items() if date is not None}
    if not dates:
        raise BadFile("nothing says which day this is: keep the name EQDDMMYY.CSV, or give the date", field="date")
    if len(set(dates.values())) > 1:
        listed = ", ".join(f"{date} by {by}" for by, date in dates.items())
        raise BadFile(f"the file is of another day than expected: {listed}", field="date")
    return next(iter(dates.values()))
