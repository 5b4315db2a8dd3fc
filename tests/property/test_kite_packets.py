"""Packets of the Kite API: whatever a row holds, each has its length and reads back as the row."""

import struct
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bhavcast.board.board import Board, Row
from bhavcast.domain import field
from bhavcast.domain.directory import Directory
from bhavcast.domain.instrument import Instrument
from bhavcast.gateway.kite import MODES, SENSEX, Packets, Tokens, numbered
from bhavcast.gateway.kite_ticker import _count

LEVELS = st.lists(st.tuples(st.integers(1, 10**9), st.integers(0, 2**33), st.integers(0, 10**5)), max_size=5).map(tuple)
VALUES = st.fixed_dictionaries(
    {field.CURRENT_PRICE: st.integers(0, 10**9)},
    optional={
        **{number: st.integers(0, 2**40) for number in range(field.OPEN, field.LAST_TRADE_TIME)},
        field.LAST_TRADE_TIME: st.integers(0, 2**41),
        field.TIMESTAMP: st.integers(0, 2**41),
        field.BIDS: LEVELS,
        field.ASKS: LEVELS,
    },
)
SCRIPS = (
    Instrument(symbol="500325", id="RELIANCE", name="R"),
    Instrument(symbol="999999", id="DEBT", name="D", scale=4),
    Instrument(symbol="IDX:SENSEX", id="SENSEX", name="S", kind="IDX"),
    Instrument(symbol="IDX:BANKEX", id="BANKEX", name="B", kind="IDX"),
)


def tokens(rows: list[Row]) -> Tokens:
    replica = SimpleNamespace(rows={row.symbol: row for row in rows})
    directory = Directory(row.instrument for row in rows)
    gateway: Any = SimpleNamespace(generation=0, directory=directory, replica=replica)
    return Tokens(gateway)


@given(st.sampled_from(SCRIPS), VALUES)
def test_a_packet_has_its_length_and_says_what_the_row_says(instrument, values):
    row = Board().add([instrument])[0]
    row.put(1, values)
    known = tokens([row])
    packets = Packets(known)
    expected = {"ltp": 8, "quote": 28, "full": 32} if instrument.is_index else {"ltp": 8, "quote": 44, "full": 184}
    for mode, length in expected.items():
        packet = packets.dialects[MODES[mode].dialect](row)
        assert len(packet) == 2 + length
        told, token, price = struct.unpack_from(">HII", packet)
        assert (told, known.row(token)) == (length, row)
        assert price == values[field.CURRENT_PRICE] * 100 // instrument.divisor
        assert _count(packet * 3) == 3
    if not instrument.is_index:
        full = packets.full(row)[2:]
        assert struct.unpack_from(">I", full, 16)[0] == min(values.get(field.VOLUME, 0), 2**32 - 1)
        for at, number in ((64, field.BIDS), (124, field.ASKS)):
            for level, (price, quantity, orders) in enumerate(values.get(number, ())):
                told = struct.unpack_from(">IIH", full, at + 12 * level)
                assert told == (min(quantity, 2**32 - 1), price * 100 // instrument.divisor, min(orders, 65535))


def test_a_row_without_a_price_has_no_packet():
    row = Board().add(SCRIPS)[0]
    packets = Packets(tokens([row]))
    assert {write(row) for write in packets.dialects.values()} == {b""}


@given(st.integers(-(2**70), 2**70))
def test_any_number_is_a_token_or_none(number):
    rows = Board().add(SCRIPS)
    known = tokens(rows)
    found = known.row(number)
    assert found is None or known.of(found.instrument) == number


@given(st.lists(st.text(st.characters(codec="ascii"), min_size=1, max_size=8), unique=True, max_size=40))
def test_every_index_has_a_number_and_sensex_its_own(names):
    symbols = sorted(f"IDX:{name}" for name in {*names, "SENSEX"})
    found = numbered(symbols)
    assert sorted(found.values()) == symbols
    assert found[SENSEX] == "IDX:SENSEX"
