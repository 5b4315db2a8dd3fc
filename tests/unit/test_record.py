import pytest

from bhavcast.domain import field, record
from bhavcast.domain.change import Change, Message, RowImage, Snapshot, decode, decode_snapshot, encode, fold
from bhavcast.domain.errors import BadRecord, BusHole, UnknownFormat
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.record import Decoder

EPOCH = "20261123T0345Z-9f1c03ab77de5a20"
# The bytes shown at the head of domain/record.py.
SAMPLE_HEADER = bytes.fromhex("42 48 41 56 43 41 53 54 4a 00 01 0a")
SAMPLE_RECORD = bytes.fromhex("03 00 00 00 04 24 4c c8 59 6d 40 76 70 93 01 02 03")


def row(symbol: str, rev: int, **values: int) -> RowImage:
    numbers = {field.BY_NAME[name].number: value for name, value in values.items()}
    return RowImage(
        symbol,
        rev,
        [numbers.get(n) for n in range(field.COUNT)],
        [rev if n in numbers else 0 for n in range(field.COUNT)],
    )


def snapshot(*rows: RowImage, rev: int = 100) -> Snapshot:
    return Snapshot(epoch=EPOCH, rev=rev, token=7, market=1_795_000_000_000, rows=list(rows), facts={}, instruments=[])


def message(from_rev: int, *changes: Change, to_rev: int | None = None, **more) -> Message:
    to = from_rev + len(changes) - 1 if to_rev is None else to_rev
    content = {"epoch": EPOCH, "token": 7, "published": 1_795_000_000_500, **more}
    return Message(from_rev=from_rev, to_rev=to, changes=list(changes), **content)


def test_the_documented_bytes_are_the_real_ones():
    assert record.header(record.JOURNAL) == SAMPLE_HEADER
    assert record.frame(3, bytes([0x93, 1, 2, 3])) == SAMPLE_RECORD


def test_a_decoder_gives_records_with_their_places():
    decoder = Decoder(record.JOURNAL)
    decoder.push(SAMPLE_HEADER + SAMPLE_RECORD + SAMPLE_RECORD[:5])
    assert decoder.pull() == record.Record(12, 3, b"\x93\x01\x02\x03", 29)
    assert decoder.pull() is None
    assert (decoder.offset, decoder.pending) == (29, 5)


def test_a_decoder_can_begin_at_a_record():
    decoder = Decoder(record.JOURNAL, offset=4711)
    decoder.push(SAMPLE_RECORD)
    assert decoder.pull() == record.Record(4711, 3, b"\x93\x01\x02\x03", 4728)


@pytest.mark.parametrize(
    ("begin", "expected"),
    [
        (b"<!DOCTYPE html>", "not a file of Bhavcast"),
        (SAMPLE_HEADER.replace(b"J", b"R"), "expected a file of kind b'J'"),
    ],
)
def test_a_foreign_file_is_refused_with_what_was_expected(begin, expected):
    decoder = Decoder(record.JOURNAL)
    decoder.push(begin)
    with pytest.raises(BadRecord, match=expected) as caught:
        decoder.pull()
    assert caught.value.offset == 0


def test_damage_stays_damage_however_often_it_is_read():
    decoder = Decoder(record.JOURNAL)
    decoder.push(SAMPLE_HEADER + SAMPLE_RECORD + SAMPLE_RECORD[:-1] + b"\xff" + SAMPLE_RECORD)
    assert decoder.pull() is not None
    for _ in range(3):
        with pytest.raises(BadRecord, match="damaged record of type 3 at byte 29") as caught:
            decoder.pull()
        assert caught.value.offset == 29


def test_a_longer_record_than_any_of_ours_is_never_waited_for():
    with pytest.raises(ValueError, match="at most"):
        record.frame(3, bytes(record.MAX_LENGTH + 1))
    with pytest.raises(ValueError, match="type"):
        record.frame(0, b"")


def test_messages_and_snapshots_come_back_as_they_were():
    ladder = ((193130, 10, 2), (193125, 5, 1))
    original = message(101, Change("500325", 101, {field.CURRENT_PRICE: 193130, field.BIDS: ladder, field.ASKS: None}))
    assert decode(encode(original)) == original
    picture = snapshot(row("500325", 99, current_price=193130))
    assert decode_snapshot(encode(picture)) == picture


def test_a_file_of_another_version_is_refused():
    decoder = record.Decoder(record.JOURNAL)
    decoder.push(SAMPLE_HEADER.replace(b"\0\1", b"\0\2"))
    with pytest.raises(UnknownFormat, match=r"version 1 of its format \(journal\), got 2"):
        decoder.pull()


def test_another_version_of_a_message_is_refused():
    with pytest.raises(UnknownFormat, match=r"version 1 of its format \(bus\), got 2"):
        decode(encode(message(101, to_rev=101, version=2)))


def test_a_row_whose_revisions_do_not_match_its_values_is_refused():
    with pytest.raises(BadRecord, match="'500325' has 1 values and 2 revisions"):
        decode_snapshot(encode(snapshot(RowImage("500325", 1, [None], [0, 0]))))


def test_folding_sets_values_clears_values_and_adds_rows():
    begin = snapshot(row("500325", 90, current_price=193130, volume=5))
    end = fold(
        begin,
        [
            message(
                101, Change("500325", 101, {field.CURRENT_PRICE: 193135}), Change("532540", 102, {field.VOLUME: 1})
            ),
            message(103, Change("500325", 103, {field.VOLUME: None}), facts={"phase": "open"}, token=8),
        ],
    )
    first, second = end.rows
    assert (first.values[field.CURRENT_PRICE], first.revs[field.CURRENT_PRICE]) == (193135, 101)
    assert (first.values[field.VOLUME], first.revs[field.VOLUME], first.rev) == (None, 103, 103)
    assert (second.symbol, second.values[field.VOLUME], second.revs[field.VOLUME], second.rev) == (
        "532540",
        1,
        102,
        102,
    )
    assert (end.rev, end.token, end.market, end.facts) == (103, 8, 1_795_000_000_500, {"phase": "open"})


def test_folding_leaves_what_it_began_with_untouched():
    begin = snapshot(row("500325", 90, current_price=193130))
    before = encode(begin)
    fold(begin, [message(101, Change("500325", 101, {field.CURRENT_PRICE: 1}), facts={"a": 1})])
    assert encode(begin) == before


def test_folding_takes_a_description_again_but_no_other_within_an_epoch():
    old, new = (
        Instrument(symbol="500325", id="RELIANCE", name="old"),
        Instrument(symbol="500325", id="RELIANCE", name="new"),
    )
    again = [message(101, to_rev=101, instruments=[old]), message(102, to_rev=102, instruments=[old])]
    assert fold(snapshot(), again).instruments == [old]
    with pytest.raises(BadRecord, match="500325"):
        fold(snapshot(), [*again, message(103, to_rev=103, instruments=[new])])


def test_rows_of_fewer_fields_are_filled_up():
    end = fold(snapshot(RowImage("500325", 9, [5], [9])), [message(101, Change("500325", 101, {field.ASKS: None}))])
    assert end.rows[0].values == [5] + [None] * (field.COUNT - 1)
    assert end.rows[0].revs == [9] + [0] * (field.COUNT - 2) + [101]


@pytest.mark.parametrize(
    "wrong",
    [
        message(102, to_rev=102),
        message(100, to_rev=102),
        message(101, to_rev=100),
        message(101, to_rev=101, epoch="20261123T0345Z-0000000000000000"),
    ],
)
def test_folding_refuses_holes_overlaps_and_foreign_epochs(wrong):
    with pytest.raises(BusHole, match="expected"):
        fold(snapshot(), [wrong])


@pytest.mark.parametrize("number", [-1, field.COUNT])
def test_folding_refuses_a_field_that_does_not_exist(number):
    with pytest.raises(BadRecord, match="field number of '500325'"):
        fold(snapshot(), [message(101, Change("500325", 101, {number: 1}))])
