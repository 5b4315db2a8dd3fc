"""Read the official scrip master: every scrip that the exchange lists, one row each.

    FinInstrmId,TckrSymb,SctySrs,FinInstrmNm,ISIN,NewBrdLotQty,ParVal,SctyTpFlg,BidIntrvl,…   (120 columns)
    600001,EXAMPLE,A,EXAMPLE INDUSTRIES LTD.,INEZ00001012,1,1000,EQ,0.05,100,90,…

Columns are found by their names: the file of 2026 has another one at place 24 (ElgbltyClsgAuctnSsn) than that of 2023.
"""

import re
from collections import Counter
from typing import Final, Literal

import msgspec

from bhavcast.domain.instrument import Instrument, InstrumentKind, Status
from bhavcast.domain.price import FINE, PAISE, default_band, rescale
from bhavcast.reference.assume import closing_auction_assumed, sector_of
from bhavcast.reference.table import Row, read_table, rows_of

WHAT: Final = "a scrip master (BSE_EQ_SCRIP_DDMMYYYY.csv)"
CLOSING_AUCTION: Final = "ElgbltyClsgAuctnSsn"
# fmt: off
REQUIRED: Final = (
    "FinInstrmId", "TckrSymb", "SctySrs", "FinInstrmNm", "ISIN", "NewBrdLotQty", "ParVal", "SctyTpFlg", "BidIntrvl",
    "CallAuctnInd", "SttlmTp", "TickSz", "Rsvd01", "Sts", "FinInstrmTp",
)
# fmt: on

CODE: Final = re.compile(r"[1-9]\d{5}", re.ASCII)
GROUP: Final = re.compile(r"[A-Z]{1,3}", re.ASCII)
ISIN: Final = re.compile(r"[A-Z]{2}[A-Z0-9]{10}", re.ASCII)
MOST_NAME: Final = 120
MOST_ID: Final = 24
_MOST_TICK: Final = 10_000 * 10**FINE
_MOST_FACE: Final = 10**13  # paise; the largest real one is 10^9
_MOST_LOT: Final = 10**9

CallAuction = Literal["none", "ipo", "relist", "periodic", "pre_open"]
_KINDS: Final[dict[str, InstrumentKind]] = {"EQ": "EQ", "MF": "MF", "DB": "DB", "GS": "GS"}
_STATUSES: Final[dict[str, Status]] = {"A": "A", "S": "S", "I": "I"}
_AUCTIONS: Final[dict[str, CallAuction]] = {
    "": "none",
    "0": "none",
    "1": "ipo",
    "2": "relist",
    "3": "periodic",
    "90": "pre_open",
}
# Graded surveillance measure (BSE's "GSM/S+"): 100 is none.
_GSM_STAGES: Final[dict[str, int | None]] = {"": None, "100": None} | {str(stage): stage for stage in range(7)}
_SETTLEMENTS: Final[dict[str, Literal[0, 1, 2]]] = {"0": 0, "1": 1, "2": 2}
_FLAGS: Final = {"Y": True, "1": True, "E": True, "N": False, "0": False, "": False}
_NOT_GIVEN: Final = "the file does not say which scrips have the closing auction: the SENSEX 30 are assumed"


class Master(msgspec.Struct, frozen=True):
    """What a master says: its instruments by symbol, and what in it was unusual but no reason to refuse it."""

    instruments: dict[str, Instrument]
    warnings: list[str] = []


def parse_master(content: bytes) -> Master:
    """Read a whole master; raise BadFile with row and reason if any of it is not as it should be.

    Ids and ISINs may repeat (a company's bonds, T+0 codes); a code may not.
    """
    table = read_table(content, WHAT)
    flagged = CLOSING_AUCTION in table.header
    instruments: dict[str, Instrument] = {}
    first: dict[str, int] = {}
    unknown: Counter[str] = Counter()
    for row in rows_of(table, (*REQUIRED, CLOSING_AUCTION) if flagged else REQUIRED, WHAT):
        instrument = _instrument(row, flagged, unknown)
        code = instrument.symbol
        if code in first:
            raise row.bad("FinInstrmId", f"{code} is in row {first[code]} already")
        first[code] = row.number
        instruments[code] = instrument
    warnings = [f"{what} ({count} rows)" for what, count in sorted(unknown.items())]
    return Master(instruments, warnings if flagged else [*warnings, _NOT_GIVEN])


def code_of(row: Row, column: str) -> str:
    """Return the six-digit scrip code of a row."""
    code = row.text(column, 20)
    if CODE.fullmatch(code) is None:
        raise row.bad(column, f"is {code!r}, expected a six-digit scrip code")
    return code


def group_of(row: Row, column: str) -> str:
    """Return the group of a row: one to three capitals."""
    group = row.text(column, 20)
    if GROUP.fullmatch(group) is None:
        raise row.bad(column, f"is {group!r}, expected a group such as A, XT or ZP")
    return group


def isin_of(row: Row, column: str) -> str:
    """Return the ISIN of a row, empty where the cell holds none (the exchange writes NA or a dot for its iNAV codes)."""
    isin = row.optional(column)
    return isin if ISIN.fullmatch(isin) else ""


def _instrument(row: Row, flagged: bool, unknown: "Counter[str]") -> Instrument:
    code = code_of(row, "FinInstrmId")
    identity = row.text("TckrSymb", MOST_ID)
    group = group_of(row, "SctySrs")
    kind = _kind(row, group)
    clean = row.optional("FinInstrmTp") == "C"  # a clean price: without the interest accrued, in four decimals
    tick = _tick(row, kind)
    scale = FINE if clean or tick % 100 else PAISE
    closing = _flag(row, CLOSING_AUCTION) if flagged else closing_auction_assumed(code)
    face = row.number_of("ParVal", 0, _MOST_FACE)
    return Instrument(
        symbol=code,
        id=identity,
        name=row.text("FinInstrmNm", MOST_NAME),
        isin=isin_of(row, "ISIN"),
        group=group,
        kind=kind,
        status=_status(row),
        scale=scale,
        tick=rescale(tick, FINE, scale),
        lot=row.number_of("NewBrdLotQty", 0, _MOST_LOT, least=1),
        face_value=rescale(face, PAISE, scale) or None,
        band=default_band(group, kind, closing),
        settlement=0 if identity.endswith("#") else _settlement(row, unknown),
        closing_auction=closing,
        call_auction=_auction(row, unknown),
        sector=sector_of(code),
        exclusive=_flag(row, "Rsvd01"),
        gsm_stage=_gsm_stage(row, unknown),
    )


def _kind(row: Row, group: str) -> InstrumentKind:
    given = row.optional("SctyTpFlg")
    if given in _KINDS:
        return _KINDS[given]
    if given:
        raise row.bad("SctyTpFlg", f"is {given!r}, expected EQ, MF, DB or GS")
    # Four suspended scrips of the file of June 2023 have none.
    if group in ("G", "GC"):
        return "GS"
    return "DB" if row.optional("FinInstrmTp") in ("C", "D") or group in ("F", "FC") else "EQ"


def _tick(row: Row, kind: InstrumentKind) -> int:
    tick = row.number_of("TickSz", FINE, _MOST_TICK, least=1)
    other = row.number_of("BidIntrvl", FINE, _MOST_TICK, least=1)
    # The two columns differ for debt only (0.01 and 0.0001, 0.25 and 0.0025): the finer one fits its prices (A).
    return min(tick, other) if kind in ("DB", "GS") else tick


def _status(row: Row) -> Status:
    given = row.text("Sts", 20)
    if given not in _STATUSES:
        raise row.bad("Sts", f"is {given!r}, expected A, S or I")
    return _STATUSES[given]


def _flag(row: Row, column: str) -> bool:
    given = row.optional(column)
    if given not in _FLAGS:
        raise row.bad(column, f"is {given[:20]!r}, expected Y or N")
    return _FLAGS[given]


def _settlement(row: Row, unknown: "Counter[str]") -> Literal[0, 1, 2]:
    given = row.optional("SttlmTp")[:20]
    if given not in _SETTLEMENTS:
        unknown[f"settlement {given!r} is not known: taken as T+1"] += 1
    return _SETTLEMENTS.get(given, 1)


def _gsm_stage(row: Row, unknown: "Counter[str]") -> int | None:
    given = row.optional("TrckgInd")[:20]
    if given not in _GSM_STAGES:
        unknown[f"surveillance stage {given!r} is not known: taken as none"] += 1
    return _GSM_STAGES.get(given)


def _auction(row: Row, unknown: "Counter[str]") -> CallAuction:
    given = row.optional("CallAuctnInd")[:20]
    if given not in _AUCTIONS:
        unknown[f"call auction {given!r} is not known: taken as none"] += 1
    return _AUCTIONS.get(given, "none")
