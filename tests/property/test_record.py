"""Properties of the framing and of what is framed: nothing is lost, nothing is invented, and damage has one error."""

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from bhavcast.domain import field, record
from bhavcast.domain.change import Change, Message, RowImage, Snapshot, decode, decode_snapshot, encode, fold
from bhavcast.domain.errors import BadRecord, UnknownFormat
from bhavcast.domain.record import Decoder, Record

EPOCH = "20261123T0345Z-9f1c03ab77de5a20"

contents = st.lists(st.tuples(st.integers(1, 255), st.binary(max_size=60)), max_size=8)
level = st.tuples(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**5))
values = st.dictionaries(
    st.integers(0, field.COUNT - 1),
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text("live₹", max_size=8)
    | st.lists(level, max_size=5).map(tuple),
    max_size=6,
)
batches = st.lists(
    st.lists(st.tuples(st.sampled_from(["500325", "532540", "IDX:SENSEX"]), values), max_size=4), max_size=6
)


def file_of(pieces: list[tuple[int, bytes]]) -> bytes:
    return record.header(record.JOURNAL) + b"".join(record.frame(*piece) for piece in pieces)


def read_all(data: bytes, cuts: list[int]) -> tuple[list[Record], Decoder, BadRecord | None]:
    """Decode `data` in pieces."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    decoder, found = Decoder(record.JOURNAL), []
    try:
        for begin, end in pairwise(places):
            decoder.push(data[begin:end])
            while (item := decoder.pull()) is not None:
                found.append(item)
    except BadRecord as error:
        return found, decoder, error
    return found, decoder, None


def messages_of(batches_: list[list[tuple[str, dict]]]) -> list[Message]:
    rev, result = 100, []
    for number, batch in enumerate(batches_):
        first = rev + 1
        changes = [Change(symbol, first + n, content) for n, (symbol, content) in enumerate(batch)]
        rev = max(rev + len(batch), first)
        result.append(Message(epoch=EPOCH, token=1, from_rev=first, to_rev=rev, published=number, changes=changes))
    return result


@given(contents, st.lists(st.integers(0, 10**6), max_size=10))
def test_records_come_back_whatever_pieces_they_are_read_in(pieces, cuts):
    data = file_of(pieces)
    found, decoder, error = read_all(data, cuts)
    assert error is None
    assert [(item.type, item.payload) for item in found] == pieces
    assert (decoder.offset, decoder.pending) == (len(data), 0)


@given(contents, st.integers(0, 10**6))
def test_a_file_cut_anywhere_gives_a_prefix_and_the_rest_is_pending(pieces, cut):
    data = file_of(pieces)
    cut %= len(data) + 1
    found, decoder, error = read_all(data[:cut], [])
    assert error is None
    assert [(item.type, item.payload) for item in found] == pieces[: len(found)]
    assert decoder.offset + decoder.pending == cut
    whole = len(file_of(pieces[: len(found) + 1]))
    assert len(found) == len(pieces) or cut < whole


@given(contents, st.integers(0, 10**6), st.integers(1, 255))
@example([], record.HEADER_SIZE - 2, 1)
def test_a_changed_byte_is_damage_and_never_a_torn_tail(pieces, place, flip):
    data = bytearray(file_of(pieces))
    place %= len(data)
    data[place] ^= flip
    found, _, error = read_all(bytes(data), [])
    assert error is not None
    if isinstance(error, UnknownFormat):  # of the changed byte a version was made that nobody reads
        assert (place, found) == (record.HEADER_SIZE - 2, [])
        return
    assert error.offset is not None
    assert error.offset <= place
    assert [(item.type, item.payload) for item in found] == pieces[: len(found)]


@given(st.binary(max_size=200), st.booleans())
def test_arbitrary_bytes_are_records_or_their_own_error(data, with_header):
    found, decoder, error = read_all((record.header(record.JOURNAL) if with_header else b"") + data, [])
    assert error is None or decoder.offset == error.offset
    assert all(len(item.payload) <= record.MAX_LENGTH for item in found)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_message_or_their_own_error(data):
    for decoder in (decode, decode_snapshot):
        try:
            decoder(data)
        except BadRecord:
            continue


@given(batches, st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=3))
def test_a_mutated_message_is_a_message_or_its_own_error(content, mutations):
    begin = Snapshot(
        epoch=EPOCH,
        rev=100,
        token=1,
        market=0,
        rows=[RowImage("500325", 1, [1, "x"], [1, 1])],
        facts={"phase": {"since": 1, "name": "open"}},
        instruments=[],
    )
    originals: list[Message | Snapshot] = [*messages_of(content), begin]
    for original in originals:
        data = bytearray(encode(original))
        for place, byte in mutations:
            data[place % len(data)] = byte
        try:
            decode(bytes(data)) if isinstance(original, Message) else decode_snapshot(bytes(data))
        except BadRecord:
            continue


@given(batches)
def test_folding_says_what_a_naive_board_says(content):
    begin = Snapshot(epoch=EPOCH, rev=100, token=1, market=0, rows=[], facts={}, instruments=[])
    messages = messages_of(content)
    naive: dict[str, dict[int, tuple]] = {}
    for message in messages:
        for change in message.changes:
            for number, value in change.values.items():
                naive.setdefault(change.symbol, {})[number] = (value, change.rev)
    end = fold(begin, (decode(encode(message)) for message in messages))
    assert end.rev == (messages[-1].to_rev if messages else 100)
    for image in end.rows:
        expected = naive.get(image.symbol, {})
        assert [*zip(image.values, image.revs, strict=True)] == [expected.get(n, (None, 0)) for n in range(field.COUNT)]
    assert {image.symbol for image in end.rows} >= set(naive)
