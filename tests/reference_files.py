"""Make files in the exchange's forms, of invented scrips; the real ones are never copied."""

from collections.abc import Iterable

MASTER_COLUMNS = [
    "FinInstrmId",
    "TckrSymb",
    "SctySrs",
    "FinInstrmNm",
    "ISIN",
    "NewBrdLotQty",
    "ParVal",
    "SctyTpFlg",
    "BidIntrvl",
    "TrckgInd",
    "CallAuctnInd",
    "ElgbltyRETDBTMkt",
    "SttlmTp",
    "Xchg",
    "TickSz",
    "Rsvd01",
    "Sts",
    "FinInstrmTp",
    "Rsvd07",
]
LEGACY_COLUMNS = [
    "SC_CODE",
    "SC_NAME",
    "SC_GROUP",
    "SC_TYPE",
    "OPEN",
    "HIGH",
    "LOW",
    "CLOSE",
    "LAST",
    "PREVCLOSE",
    "NO_TRADES",
    "NO_OF_SHRS",
    "NET_TURNOV",
    "TDCLOINDI",
]
UDIFF_COLUMNS = [
    "TradDt",
    "BizDt",
    "Sgmt",
    "Src",
    "FinInstrmTp",
    "FinInstrmId",
    "ISIN",
    "TckrSymb",
    "SctySrs",
    "XpryDt",
    "FininstrmActlXpryDt",
    "StrkPric",
    "OptnTp",
    "FinInstrmNm",
    "OpnPric",
    "HghPric",
    "LwPric",
    "ClsPric",
    "LastPric",
    "PrvsClsgPric",
    "UndrlygPric",
    "SttlmPric",
    "OpnIntrst",
    "ChngInOpnIntrst",
    "TtlTradgVol",
    "TtlTrfVal",
    "TtlNbOfTxsExctd",
    "SsnId",
    "NewBrdLotQty",
    "Rmks",
    "Rsvd1",
    "Rsvd2",
    "Rsvd3",
    "Rsvd4",
]

_SCRIP = {
    "FinInstrmId": "600001", "TckrSymb": "EXAMPLE", "SctySrs": "A", "FinInstrmNm": "EXAMPLE INDUSTRIES LTD.",
    "ISIN": "INEZ00001012", "NewBrdLotQty": "1", "ParVal": "1000", "SctyTpFlg": "EQ", "BidIntrvl": "0.05",
    "TrckgInd": "100", "CallAuctnInd": "90", "SttlmTp": "1", "Xchg": "BSE", "TickSz": "0.05", "Rsvd01": "N",
    "Sts": "A", "FinInstrmTp": "E",
}  # fmt: skip
_LEGACY_DAY = {
    "SC_CODE": "600001", "SC_NAME": "EXAMPLE     ", "SC_GROUP": "A ", "SC_TYPE": "Q", "OPEN": "101.00",
    "HIGH": "103.50", "LOW": "100.25", "CLOSE": "102.10", "LAST": "102.00", "PREVCLOSE": "100.40",
    "NO_TRADES": "118", "NO_OF_SHRS": "10812", "NET_TURNOV": "1103905.00",
}  # fmt: skip
_UDIFF_DAY = {
    "TradDt": "2026-09-11", "BizDt": "2026-09-11", "Sgmt": "CM", "Src": "BSE", "FinInstrmTp": "STK",
    "FinInstrmId": "600001", "ISIN": "INEZ00001012", "TckrSymb": "EXAMPLE", "SctySrs": "A",
    "FinInstrmNm": "EXAMPLE INDUSTRIES LTD.", "OpnPric": "101.00", "HghPric": "103.50", "LwPric": "100.25",
    "ClsPric": "102.10", "LastPric": "102.00", "PrvsClsgPric": "100.40", "TtlTradgVol": "10812",
    "TtlTrfVal": "1103905.00", "TtlNbOfTxsExctd": "118", "SsnId": "F1",
}  # fmt: skip


def scrip(code: int | str = 600001, **cells: str) -> dict[str, str]:
    """A row of a master."""
    return {**_SCRIP, "FinInstrmId": str(code), **cells}


def legacy(code: int | str = 600001, **cells: str) -> dict[str, str]:
    """A row of a legacy bhavcopy."""
    return {**_LEGACY_DAY, "SC_CODE": str(code), **cells}


def udiff(code: int | str = 600001, **cells: str) -> dict[str, str]:
    """A row of a UDiFF bhavcopy."""
    return {**_UDIFF_DAY, "FinInstrmId": str(code), **cells}


def master_file(*rows: dict[str, str], columns: Iterable[str] = MASTER_COLUMNS) -> bytes:
    return _file(columns, rows)


def legacy_file(*rows: dict[str, str], columns: Iterable[str] = LEGACY_COLUMNS) -> bytes:
    return _file(columns, rows)


def udiff_file(*rows: dict[str, str], columns: Iterable[str] = UDIFF_COLUMNS) -> bytes:
    return _file(columns, rows)


def _file(columns: Iterable[str], rows: tuple[dict[str, str], ...]) -> bytes:
    columns = list(columns)
    lines = [columns, *([row.get(column, "") for column in columns] for row in rows)]
    return "".join(",".join(line) + "\n" for line in lines).encode()
