"""Numbers from outside are digits in the one form that their place has; what else Python would take is refused there."""

import datetime
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bhavcast.app.config import load
from bhavcast.bus.address import Address
from bhavcast.bus.mirror import FORMAT, MARKET, PLANNED, POSITION, Place, read, version_of
from bhavcast.domain.calendar_file import parse_calendar
from bhavcast.domain.digits import MOST, decimal, whole
from bhavcast.domain.errors import BadConfig, BadFile, BadRecord, BadRequest, UnknownFormat
from bhavcast.domain.format import BUS
from bhavcast.domain.hours import parse_hours
from bhavcast.domain.position import Position
from bhavcast.domain.price import parse_price
from bhavcast.feeds.chaos import Chaos
from bhavcast.gateway import kite, quotes, sse
from bhavcast.gateway.edge import Edge, Gate
from bhavcast.gateway.routes.asked import check_whole
from bhavcast.reference.bhavcopy import parse_bhavcopy
from bhavcast.reference.master import parse_master
from bhavcast.telemetry.metrics import HttpCounters
from tests.reference_files import legacy, legacy_file, master_file, scrip

EPOCH = "20261123T0345Z-9f1c03ab77de5a20"
DAY = datetime.date(2021, 5, 7)
GATE = Gate((), ())
EDGE = Edge(None, GATE, HttpCounters(), {}, max_body=10_000)
SCOPE = {"headers": [(b"host", b"localhost")], "path": "/"}


class Where(NamedTuple):
    """A place where a number comes from outside: a good one, how it is read, and how what is none is refused."""

    good: str
    read: Callable[[str], Any]
    refuses: type[Exception]
    padded: bool = False  # blanks around it are the file's


def _bus(market: str) -> Any:
    told = {POSITION: f"{EPOCH}:5:1:w", FORMAT: str(BUS.written), MARKET: market, PLANNED: "1"}
    return read({name.encode(): value.encode() for name, value in told.items()})


def _length(text: str) -> None:
    if (refused := EDGE._check(SCOPE, {"content-length": text}, strict=False)) is not None:
        raise refused


def _or(found: object) -> None:
    if not found:
        raise ValueError


PLACES = {
    "position": Where("12", lambda text: Position.parse(f"{EPOCH}:{text}"), BadRequest),
    "Last-Event-ID": Where(
        "12",
        lambda text: sse._message({"symbols": "TCS"}, {"headers": [(b"last-event-id", f"{EPOCH}:{text}".encode())]}),
        BadRequest,
    ),
    "hz of an event stream": Where(
        "5", lambda text: sse._message({"symbols": "TCS", "hz": text}, {"headers": []}), BadRequest
    ),
    "depth of an event stream": Where(
        "5", lambda text: sse._message({"symbols": "TCS", "depth": text}, {"headers": []}), BadRequest
    ),
    "depth of a quote": Where("5", lambda text: quotes._shape({"depth": text}), BadRequest),
    "limit": Where("20", lambda text: check_whole(SimpleNamespace(query_params={"limit": text}), "limit"), BadRequest),  # type: ignore[arg-type]  # all it looks at
    "Content-Length": Where("20", _length, BadRequest),
    "Host": Where("5000", lambda text: _or(GATE.host_allowed(f"localhost:{text}")), ValueError),
    "token": Where("265", lambda text: _or(kite.named(None, SimpleNamespace(row=str), text)), ValueError),  # type: ignore[arg-type]  # all it looks at
    "rev on the bus": Where("12", lambda text: Place.parse(f"{EPOCH}:{text}:1:w".encode()), BadRecord),
    "token on the bus": Where("12", lambda text: Place.parse(f"{EPOCH}:5:{text}:w".encode()), BadRecord),
    "version on the bus": Where(str(BUS.written), lambda text: version_of(text.encode()), UnknownFormat),
    "market time on the bus": Where("12", _bus, BadRecord),
    "port of the bus": Where("6379", lambda text: Address.parse(f"redis://there:{text}"), BadConfig),
    "database of the bus": Where("5", lambda text: Address.parse(f"redis://there:6379/{text}"), BadConfig),
    "whole setting": Where("5000", lambda text: load(environ={"BHAVCAST_PORT": text}), BadConfig),
    "setting": Where("5", lambda text: load(environ={"BHAVCAST_SPEED": text}), BadConfig),
    "faults on demand": Where("5", lambda text: Chaos.parse(f"drop={text}%"), BadConfig),
    "hour": Where("10", lambda text: parse_hours(f"continuous={text}:00-15:00"), ValueError),
    "date": Where(
        "23", lambda text: parse_calendar(f"date,kind,name\n2026-11-{text},holiday,X\n"), BadFile, padded=True
    ),
    "price": Where("10", parse_price, ValueError),
    "price of a day": Where(
        "102", lambda text: parse_bhavcopy(legacy_file(legacy(OPEN=text)), "EQ070521.CSV", DAY), BadFile, padded=True
    ),
    "lot of a master": Where(
        "10", lambda text: parse_master(master_file(scrip(NewBrdLotQty=text))), BadFile, padded=True
    ),
}
SCRIPTS = (0x660, 0x6F0, 0x966, 0x9E6, 0xFF10, 0x1D7CE)  # the zero of Arabic (two), Devanagari, Bengali, wide, bold


def _in(zero: int) -> Callable[[str], str]:
    return lambda text: "".join(chr(zero + int(each)) for each in text)


FORGERIES: dict[str, Callable[[str], str]] = {
    **{f"digits from {zero:x}": _in(zero) for zero in SCRIPTS},
    "superscript": lambda text: f"{text}²",
    "plus": lambda text: f"+{text}",
    "underscore": lambda text: f"{text[0]}_{text[1:] or '0'}",
    "exponent": lambda text: f"{text}e0",
    "hexadecimal": lambda text: f"0x{text}",
    "point at the end": lambda text: f"{text}.",
    "point at the start": lambda text: f".{text}",
    "nothing": lambda _: "nan",
    "much": lambda _: "inf",
    "all": lambda _: "Infinity",
    "long": lambda text: text * 3000,
}
BLANKS = {f"blank {blank!r}": blank for blank in (" ", "\t", "\n", "\u00a0", "\u2003")}


@pytest.mark.parametrize("place", PLACES.values(), ids=list(PLACES))
def test_a_number_is_taken(place: Where):
    place.read(place.good)


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=list(FORGERIES))
@pytest.mark.parametrize("place", PLACES.values(), ids=list(PLACES))
def test_what_only_python_takes_for_a_number_is_refused(place: Where, forge: Callable[[str], str]):
    with pytest.raises(place.refuses):
        place.read(forge(place.good))


@pytest.mark.parametrize("blank", BLANKS.values(), ids=list(BLANKS))
@pytest.mark.parametrize(
    "place",
    [each for each in PLACES.values() if not each.padded],
    ids=[name for name, each in PLACES.items() if not each.padded],
)
def test_blanks_are_no_part_of_a_number(place: Where, blank: str):
    for text in (blank + place.good, place.good + blank):
        with pytest.raises(place.refuses):
            place.read(text)


def test_of_several_wrong_numbers_it_is_always_the_same_that_is_named():
    with pytest.raises(BadRequest) as refused:
        sse._message({"symbols": "TCS", "depth": "x", "hz": "x"}, {"headers": []})
    assert refused.value.field == "hz"


@given(st.text(max_size=25) | st.from_regex(r"\s?[+-]?[\d_.eE]{1,22}\s?", fullmatch=True))
@example(str(MOST))
@example(str(MOST + 1))
def test_a_whole_number_is_what_is_written_with_its_digits_alone(text: str):
    plain = bool(text) and set(text) <= set("0123456789")
    found = whole(text)
    assert found == (int(text) if plain and len(text) <= 19 and int(text) <= MOST else None)
    assert whole(text.encode()) == found
    if found is not None:
        assert (whole(text, found), whole(text, found - 1)) == (found, None)


@given(st.text(max_size=25) | st.from_regex(r"\s?[+-]?[\d_.eE]{1,22}\s?", fullmatch=True))
def test_a_decimal_has_digits_and_one_point_between_them(text: str):
    found = decimal(text)
    before, point, after = text.partition(".")
    plain = all(
        part and set(part) <= set("0123456789") and len(part) <= 15
        for part in ((before, after) if point else (before,))
    )
    assert found == (float(text) if plain else None)
