"""The market that is there before any file is imported: the SENSEX 30 as they are, and invented scrips around them.

Codes, ids, names, ISINs, face values and sectors of the thirty are public facts, as of 2026. Everything marked A is an
assumption made here: free-float shares, previous closes, index levels, and every invented scrip.
"""

import math
import random
from collections.abc import Sequence
from statistics import NormalDist
from typing import Final, NamedTuple, TypeVar

from bhavcast.domain.index import IndexBasis
from bhavcast.domain.instrument import INDEX_PREFIX, Instrument, InstrumentKind
from bhavcast.domain.price import default_band, default_tick, nearest_tick
from bhavcast.domain.universe import Universe

_T = TypeVar("_T")


class Constituent(NamedTuple):
    """One of the SENSEX 30. `face_value` and `close` are paise; `shares` (free float) and `close` are made (A)."""

    code: str
    id: str
    name: str
    isin: str
    face_value: int
    sector: str
    shares: int
    close: int


# fmt: off
SENSEX: Final[tuple[Constituent, ...]] = (
    Constituent("532921", "ADANIPORTS", "ADANI PORTS AND SPECIAL ECONOMIC ZONE LTD.", "INE742F01042", 200, "Services", 735_000_000, 1_445_20),
    Constituent("500820", "ASIANPAINT", "ASIAN PAINTS LTD.", "INE021A01026", 100, "Consumer Durables", 451_000_000, 2_512_60),
    Constituent("532215", "AXISBANK", "AXIS BANK LTD.", "INE238A01034", 200, "Banks", 2_850_000_000, 1_238_45),
    Constituent("532978", "BAJAJFINSV", "BAJAJ FINSERV LTD.", "INE918I01026", 100, "Finance", 623_000_000, 2_035_30),
    Constituent("500034", "BAJFINANCE", "BAJAJ FINANCE LIMITED", "INE296A01032", 100, "Finance", 2_800_000_000, 1_008_75),
    Constituent("500049", "BEL", "BHARAT ELECTRONICS LTD.", "INE263A01024", 100, "Capital Goods", 3_580_000_000, 412_35),
    Constituent("532454", "BHARTIARTL", "BHARTI AIRTEL LTD.", "INE397D01024", 500, "Telecommunication", 2_790_000_000, 2_088_10),
    Constituent("543320", "ETERNAL", "ETERNAL LIMITED", "INE758T01015", 100, "Retailing", 9_000_000_000, 301_40),
    Constituent("532281", "HCLTECH", "HCL TECHNOLOGIES LTD.", "INE860A01027", 200, "Information Technology", 1_058_000_000, 1_521_90),
    Constituent("500180", "HDFCBANK", "HDFC BANK LTD.", "INE040A01034", 100, "Banks", 15_350_000_000, 988_15),
    Constituent("500696", "HINDUNILVR", "HINDUSTAN UNILEVER LTD.", "INE030A01027", 100, "Fast Moving Consumer Goods", 893_000_000, 2_411_55),
    Constituent("532174", "ICICIBANK", "ICICI BANK LTD.", "INE090A01021", 200, "Banks", 7_130_000_000, 1_372_80),
    Constituent("539448", "INDIGO", "InterGlobe Aviation Limited", "INE646L01027", 1000, "Services", 224_000_000, 5_602_50),
    Constituent("500209", "INFY", "INFOSYS LTD.", "INE009A01021", 500, "Information Technology", 3_610_000_000, 1_502_65),
    Constituent("500875", "ITC", "ITC LTD.", "INE154A01025", 100, "Fast Moving Consumer Goods", 12_520_000_000, 404_95),
    Constituent("500247", "KOTAKBANK", "KOTAK MAHINDRA BANK LTD.", "INE237A01036", 100, "Banks", 7_360_000_000, 424_70),
    Constituent("500510", "LT", "LARSEN & TOUBRO LTD.", "INE018A01030", 200, "Construction", 1_375_000_000, 4_021_85),
    Constituent("500520", "M&M", "MAHINDRA & MAHINDRA LTD.", "INE101A01026", 500, "Automobile", 1_007_000_000, 3_655_40),
    Constituent("532500", "MARUTI", "MARUTI SUZUKI INDIA LTD.", "INE585B01010", 500, "Automobile", 132_000_000, 15_905_50),
    Constituent("532555", "NTPC", "NTPC LTD.", "INE733E01010", 1000, "Power", 4_750_000_000, 331_25),
    Constituent("532898", "POWERGRID", "POWER GRID CORPORATION OF INDIA LTD.", "INE752E01010", 1000, "Power", 4_560_000_000, 273_85),
    Constituent("500325", "RELIANCE", "RELIANCE INDUSTRIES LTD.", "INE002A01018", 1000, "Oil & Gas", 6_766_000_000, 1_548_30),
    Constituent("500112", "SBIN", "STATE BANK OF INDIA", "INE062A01020", 100, "Banks", 4_060_000_000, 978_20),
    Constituent("524715", "SUNPHARMA", "SUN PHARMACEUTICAL INDUSTRIES LTD.", "INE044A01036", 100, "Healthcare", 1_100_000_000, 1_789_60),
    Constituent("500470", "TATASTEEL", "TATA STEEL LTD.", "INE081A01020", 100, "Metals", 8_360_000_000, 172_45),
    Constituent("532540", "TCS", "TATA CONSULTANCY SERVICES LTD.", "INE467B01029", 100, "Information Technology", 1_020_000_000, 3_104_75),
    Constituent("532755", "TECHM", "TECH MAHINDRA LTD.", "INE669C01036", 500, "Information Technology", 636_000_000, 1_462_35),
    Constituent("500114", "TITAN", "TITAN COMPANY LIMITED", "INE280A01028", 100, "Consumer Durables", 417_000_000, 3_822_90),
    Constituent("500251", "TRENT", "TRENT LTD.", "INE849A01020", 100, "Retailing", 224_000_000, 4_352_15),
    Constituent("532538", "ULTRACEMCO", "ULTRATECH CEMENT LTD.", "INE481G01011", 1000, "Cement", 121_000_000, 11_752_50),
)
# fmt: on


class Basket(NamedTuple):
    """An index of the exchange by its id and name; `level` is where it stands at the made closes (A)."""

    id: str
    name: str
    sectors: tuple[str, ...]
    level: int


# Ids and names are the exchange's. Its sector indices have members outside the SENSEX; ours have the thirty only (A).
BASKETS: Final[tuple[Basket, ...]] = (
    Basket("SENSEX", "BSE SENSEX", (), 84_250_00),
    Basket("BANKEX", "BSE BANKEX", ("Banks",), 65_120_00),
    Basket("BSE IT", "BSE IT", ("Information Technology",), 35_480_00),
    Basket("FINSER", "BSE FINANCIAL SERVCS", ("Banks", "Finance"), 12_960_00),
    Basket("AUTO", "BSE AUTO", ("Automobile",), 60_340_00),
    Basket("POWER", "BSE POWER", ("Power",), 6_710_00),
)

# No code of the exchange's master of June 2023 begins with 6 (its blocks are 19, 44, 50-59, 70-97), and T+0 codes begin
# with 1: an invented scrip can never be mistaken for a real one.
FIRST_INVENTED: Final = 600_001
MOST_SCRIPS: Final = 20_000


class _Make(NamedTuple):
    """How the invented scrips of one group are made (A)."""

    group: str
    weight: int
    kind: InstrumentKind
    median: int  # paise
    sigma: float


# Weights: active scrips by group in the exchange's master of June 2023.
_MAKES: Final[tuple[_Make, ...]] = (
    _Make("X", 1073, "EQ", 45_00, 1.15),
    _Make("B", 990, "EQ", 180_00, 1.10),
    _Make("A", 658, "EQ", 620_00, 1.00),
    _Make("XT", 631, "EQ", 32_00, 1.15),
    _Make("M", 217, "EQ", 95_00, 0.80),
    _Make("T", 184, "EQ", 60_00, 1.20),
    _Make("P", 71, "EQ", 25_00, 1.00),
    _Make("Z", 68, "EQ", 12_00, 1.00),
    _Make("E", 42, "MF", 110_00, 0.90),
    _Make("MT", 9, "EQ", 70_00, 0.80),
    _Make("ZP", 7, "EQ", 10_00, 0.90),
)
_SME_LOTS: Final = (300, 500, 600, 800, 1000, 1200, 1600, 2000, 2000, 3000, 3000, 4000, 6000)
_FACE_VALUES: Final = (100, 200, 500, 1000, 1000, 1000)  # paise

# fmt: off
_FIRST: Final = (
    "Aranya", "Bhavika", "Chitrak", "Devanshi", "Ekvira", "Falguni", "Girnar", "Harivansh", "Indrani", "Jaldhara",
    "Kanakveer", "Lohitaksh", "Malhargad", "Narmadesh", "Ojasvin", "Panchavati", "Qutubnagar", "Revanta", "Sahyagiri",
    "Tapovan", "Udaychal", "Vasundhar", "Wardhaman", "Yamunesh", "Zarkashi", "Amodini", "Brihadra", "Champavat",
    "Dhruvansh", "Eklavin", "Garudesh", "Hemkund", "Ishwarya", "Jambudvip", "Kesarika", "Lavanyam", "Meghdoot",
    "Nilgiriya", "Omkarin", "Prabhasa", "Rudravan", "Shivneri", "Trikuta", "Ujwalit", "Vindhyesh", "Yashogan",
    "Ambuvani", "Bhimtara", "Chandravat", "Dakshayan", "Gomatika", "Himsagar", "Jyotirma", "Kalpavan", "Mandarin",
    "Navdurga", "Pushkarin", "Ratnagar", "Suryodit", "Tejomay", "Vanamala",
)
# fmt: on
_SECOND: Final[dict[str, tuple[str, ...]]] = {
    "Automobile": ("Motors", "Auto Components", "Forgings", "Axles"),
    "Banks": ("Bank", "Small Finance Bank"),
    "Capital Goods": ("Engineering", "Electricals", "Machine Tools", "Pumps"),
    "Cement": ("Cement",),
    "Chemicals": ("Chemicals", "Organics", "Dyestuffs", "Polymers", "Agrochem"),
    "Construction": ("Infra", "Projects", "Constructions"),
    "Consumer Durables": ("Appliances", "Jewellers", "Ceramics"),
    "Fast Moving Consumer Goods": ("Foods", "Agro", "Tea", "Sugars", "Dairy"),
    "Finance": ("Finance", "Capital", "Securities", "Leasing", "Investments"),
    "Healthcare": ("Pharma", "Lifesciences", "Hospitals", "Diagnostics"),
    "Information Technology": ("Infotech", "Software", "Digital", "Systems"),
    "Media": ("Media", "Printers"),
    "Metals": ("Steels", "Alloys", "Tubes", "Metals"),
    "Oil & Gas": ("Petro", "Gas"),
    "Power": ("Power", "Renewables"),
    "Realty": ("Estates", "Realty", "Housing"),
    "Retailing": ("Retail", "Stores"),
    "Services": ("Logistics", "Shipping", "Hotels", "Travels"),
    "Telecommunication": ("Telecom", "Networks"),
    "Textiles": ("Textiles", "Spinners", "Fabrics", "Synthetics"),
}
_SECTORS: Final = tuple(_SECOND)
# Rough shares of the listed companies by sector (A), in the order of _SECTORS.
_SECTOR_WEIGHTS: Final = (6, 2, 9, 2, 10, 6, 4, 8, 14, 7, 7, 2, 7, 2, 3, 4, 2, 6, 2, 8)
_FUNDS: Final = ("Broad Market ETF", "Next Fifty ETF", "Gold ETF", "Silver ETF", "Bank ETF", "Liquid ETF", "Value ETF")


def universe(scrips: int = 5000, seed: int = 1) -> Universe:
    """Return the SENSEX 30, `scrips - 30` invented scrips and the indices; the same ones for the same seed.

    A smaller universe of the same seed is the beginning of a larger one.
    """
    if not len(SENSEX) <= scrips <= MOST_SCRIPS:
        raise ValueError(f"expected {len(SENSEX)} to {MOST_SCRIPS} scrips, got {scrips}")
    instruments = {c.code: real(c) for c in SENSEX}
    closes = {c.code: c.close for c in SENSEX}
    dice = random.Random(seed)
    used = {instrument.id for instrument in instruments.values()}
    for number in range(scrips - len(SENSEX)):
        instrument, close = _invent(number, dice, used)
        instruments[instrument.symbol] = instrument
        closes[instrument.symbol] = close
    bases = indices(closes)
    for basis in bases:
        instruments[basis.symbol] = index_instrument(basis)
        closes[basis.symbol] = basis.value(basis.cap(closes))
    return Universe(instruments=instruments, closes=closes, indices=bases, built_in=True)


def indices(closes: dict[str, int]) -> list[IndexBasis]:
    """Return the indices over those of the SENSEX 30 that have a close.

    The base is always the made closes of these members: the level of an index moves with the closes from day to day
    and does not begin anew with every import. It is a level of our own weights (A), never the exchange's.
    """
    found = []
    for basket in BASKETS:
        members = [c for c in SENSEX if c.code in closes and (not basket.sectors or c.sector in basket.sectors)]
        if members:
            found.append(
                IndexBasis(
                    symbol=INDEX_PREFIX + basket.id,
                    name=basket.name,
                    members={c.code: c.shares for c in members},
                    base_value=basket.level,
                    base_cap=sum(c.close * c.shares for c in members),
                )
            )
    return found


def made_closes(instruments: dict[str, Instrument], seed: int = 1) -> dict[str, int]:
    """Return a plausible close (A) for every active share and fund: what a simulation of a master alone begins with.

    A scrip's close depends on its code, group and the seed only.
    """
    closes = {c.code: c.close for c in SENSEX if c.code in instruments}
    makes = {make.group: make for make in _MAKES}
    for symbol, instrument in instruments.items():
        tradable = instrument.status == "A" and instrument.kind in ("EQ", "MF") and instrument.settlement == 1
        if tradable and symbol not in closes:
            draw = random.Random(f"{seed}:{symbol}").random()
            closes[symbol] = _made_price(makes.get(instrument.group, _MAKES[0]), draw, instrument.tick)
    return closes


def index_instrument(basis: IndexBasis) -> Instrument:
    """Return the instrument under which an index is quoted: hundredths of a point, no band, no lot to trade."""
    return Instrument(
        symbol=basis.symbol,
        id=basis.symbol.removeprefix(INDEX_PREFIX),
        name=basis.name,
        kind="IDX",
        tick=1,
        call_auction="none",
    )


def isin_check_digit(body: str) -> int:
    """Return the twelfth character of an ISIN from its first eleven (ISO 6166, the Luhn rule over letters as 10-35)."""
    digits = "".join(str(int(character, 36)) for character in body)
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (2 - place % 2)
        total += doubled // 10 + doubled % 10
    return -total % 10


def real(constituent: Constituent) -> Instrument:
    """Return the instrument of a SENSEX constituent."""
    return Instrument(
        symbol=constituent.code,
        id=constituent.id,
        name=constituent.name,
        isin=constituent.isin,
        group="A",
        tick=default_tick(constituent.close),
        face_value=constituent.face_value,
        band=None,  # stocks with derivatives have no fixed band
        closing_auction=True,  # A: until a master with the flag is imported
        sector=constituent.sector,
    )


def _invent(number: int, dice: random.Random, used: set[str]) -> tuple[Instrument, int]:
    # A fixed number of draws per scrip keeps a smaller universe the beginning of a larger one.
    draws = [dice.random() for _ in range(7)]
    make = _weighted(_MAKES, [make.weight for make in _MAKES], draws[0])
    sector = "" if make.kind == "MF" else _weighted(_SECTORS, _SECTOR_WEIGHTS, draws[1])
    trade = _choose(_FUNDS if make.kind == "MF" else _SECOND[sector], draws[2])
    first = _choose(_FIRST, draws[3])
    close = _made_price(make, draws[4], 1)
    tick = 1 if make.kind == "MF" else default_tick(close)
    close = nearest_tick(close, tick)
    identity, name = _naming(first, trade, used, fund=make.kind == "MF")
    return (
        Instrument(
            symbol=str(FIRST_INVENTED + number),
            id=identity,
            name=name,
            isin=_invented_isin(number),
            group=make.group,
            kind=make.kind,
            tick=tick,
            lot=_choose(_SME_LOTS, draws[5]) if make.group in ("M", "MT") else 1,
            face_value=_choose(_FACE_VALUES, draws[6]),
            band=default_band(make.group, make.kind, False),
            call_auction="none" if make.kind == "MF" else "pre_open",
            sector=sector,
            exclusive=make.group in ("X", "XT", "M", "MT", "P"),
        ),
        close,
    )


def _made_price(make: _Make, draw: float, tick: int) -> int:
    deviation = NormalDist().inv_cdf(min(max(draw, 1e-4), 1 - 1e-4))
    return nearest_tick(max(int(make.median * math.exp(make.sigma * deviation)), 1_00), tick)


def _naming(first: str, trade: str, used: set[str], *, fund: bool) -> tuple[str, str]:
    stem = first.upper()[:6] + "".join(word[:4] if fund else word[:3] for word in trade.upper().split()[:1])
    suffix, name = "", f"{first} {trade}" if fund else f"{first} {trade} Ltd."
    count = 1
    while stem + suffix in used:
        count += 1
        suffix = str(count)
        name = f"{first} {trade} {_roman(count)}" if fund else f"{first} {trade} ({_roman(count)}) Ltd."
    used.add(stem + suffix)
    return stem + suffix, name


def _roman(number: int) -> str:
    text = ""
    for value, digits in (
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ):
        count, number = divmod(number, value)
        text += digits * count
    return text


def _invented_isin(number: int) -> str:
    # Real issuers begin with a digit (INE002A), these with a letter and three digits: no ISIN of the master does.
    letter, serial = divmod(number, 1000)
    body = f"INE{chr(ord('Z') - letter)}{serial:03d}0101"
    return body + str(isin_check_digit(body))


def _choose(options: Sequence[_T], draw: float) -> _T:
    return options[int(draw * len(options))]


def _weighted(options: Sequence[_T], weights: Sequence[int], draw: float) -> _T:
    point = draw * sum(weights)
    for option, weight in zip(options, weights, strict=True):
        point -= weight
        if point < 0:
            return option
    return options[-1]
