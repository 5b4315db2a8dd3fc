import hashlib

import msgspec
import pytest

from bhavcast.domain import field, record
from bhavcast.domain.errors import BadFile, BadRecord, FeedFailed
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.tick import Batch, Source, Tick
from bhavcast.domain.universe import Universe
from bhavcast.feeds import recording
from bhavcast.feeds.port import Feed
from bhavcast.feeds.recording import Recorder, fingerprint
from bhavcast.feeds.replay import ReplayFeed
from bhavcast.telemetry.clock import ManualClock, MarketClock

START = 1_795_405_800_000  # 23 Nov 2026, 09:20 in India
SOURCE = Source(name="sim", mode="sim", grade="tick")
UNIVERSE = Universe(
    instruments={
        "500325": Instrument(symbol="500325", id="RELIANCE", name="RELIANCE INDUSTRIES LTD."),
        "532540": Instrument(symbol="532540", id="TCS", name="TATA CONSULTANCY SERVICES LTD."),
    },
    closes={"500325": 193130, "532540": 313200},
    indices=[],
)


def batch(after_ms: int, price: int = 193130) -> Batch:
    ladder = ((price - 5, 10, 1), (price - 10, 20, 2))
    ticks = [
        Tick("500325", START + after_ms - 3, {field.CURRENT_PRICE: price, field.BIDS: ladder}),
        Tick("532540", START + after_ms - 1, {field.CURRENT_PRICE: None, field.VOLUME: after_ms}),
    ]
    return Batch(SOURCE, START + after_ms, ticks)


BATCHES = [batch(0), batch(100), batch(100), batch(1_000), batch(90_000)]


def describe(started: int = START) -> recording.About:
    return recording.about(
        origin="simulator, seed 7",
        source=SOURCE,
        date="2026-11-23",
        started=started,
        universe=UNIVERSE,
        program="0.1.0",
    )


@pytest.fixture
def path(tmp_path):
    target = tmp_path / "day.recording"
    with Recorder(target, describe()) as recorder:
        for one in BATCHES:
            recorder.write(one)
            recorder.write(Batch(SOURCE, one.received + 50, []))
    return target


class Pace:
    """Real time that passes when the feed waits, and a market clock on it; `waits` is how long it waited each time."""

    def __init__(self, speed: float = 1.0, start: int = START) -> None:
        self.clock = ManualClock()
        self.market = MarketClock(self.clock, start_ms=start, speed=speed)
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        if seconds:
            self.waits.append(seconds)
            self.clock.advance(seconds)


async def play(feed: ReplayFeed) -> list[Batch]:
    return [one async for one in feed.batches()]


def test_a_recording_says_what_it_is_and_what_it_holds(path):
    found = recording.inspect(path)
    assert found.about == describe()
    assert found.about.universe_hash == fingerprint(UNIVERSE)
    trailer = found.trailer
    assert trailer is not None
    assert (trailer.batches, trailer.ticks, trailer.first, trailer.last) == (5, 10, START, START + 90_000)
    assert (found.batches, found.torn, found.warning) == (5, 0, None)
    end = len(path.read_bytes()) - len(record.frame(recording.TRAILER, msgspec.msgpack.encode(trailer)))
    assert trailer.sha256 == hashlib.sha256(path.read_bytes()[:end]).hexdigest()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_recording_is_never_written_over(path):
    before = path.read_bytes()
    with pytest.raises(BadFile, match="never written over"):
        Recorder(path, describe())
    assert path.read_bytes() == before


def test_the_fingerprint_does_not_depend_on_the_order_of_scrips():
    turned = msgspec.structs.replace(UNIVERSE, instruments=dict(reversed(UNIVERSE.instruments.items())))
    assert fingerprint(turned) == fingerprint(UNIVERSE)
    assert fingerprint(msgspec.structs.replace(UNIVERSE, closes={})) != fingerprint(UNIVERSE)


async def test_a_replay_is_the_recording_byte_for_byte(path):
    feed = ReplayFeed(path, Pace().market, None)
    port: Feed = feed
    assert port.instruments() == list(UNIVERSE.instruments.values())
    assert (feed.universe, feed.about.date) == (UNIVERSE, "2026-11-23")
    played = await play(feed)
    assert [msgspec.msgpack.encode((one.received, one.ticks)) for one in played] == [
        msgspec.msgpack.encode((one.received, one.ticks)) for one in BATCHES
    ]
    assert {one.source for one in played} == {Source(name="replay", mode="replay", grade="tick")}


async def test_a_recorded_replay_is_the_same_recording_again(path, tmp_path):
    copy = tmp_path / "copy.recording"
    with Recorder(copy, describe()) as recorder:
        for one in await play(ReplayFeed(path, Pace().market, None)):
            recorder.write(msgspec.structs.replace(one, source=SOURCE))
    assert copy.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("speed", [1.0, 4.0, 60.0])
async def test_batches_come_when_the_market_clock_has_come_to_them(path, speed):
    pace = Pace(speed)
    feed = ReplayFeed(path, pace.market, speed, sleep=pace.sleep)
    seen = [(one.received, pace.market.now_ms()) async for one in feed.batches() if one.ticks]
    assert [received for received, _ in seen] == [one.received for one in BATCHES]
    assert all(received <= now <= received + speed + 1 for received, now in seen)
    assert sum(pace.waits) == pytest.approx(90 / speed, abs=0.01)


async def test_while_nothing_is_due_an_empty_batch_comes_every_quarter_second(path):
    pace = Pace()
    played, last = [], pace.clock.monotonic()
    async for one in ReplayFeed(path, pace.market, sleep=pace.sleep).batches():
        played.append(one)
        assert pace.clock.monotonic() - last <= 0.25 + 1e-9
        last = pace.clock.monotonic()
    empty = [one for one in played if not one.ticks]
    assert 350 <= len(empty) <= 370
    assert all(START <= one.received <= START + 90_000 for one in empty)


async def test_on_a_clock_of_another_day_the_pace_is_the_same(path):
    pace = Pace(start=START + 86_400_000)
    await play(ReplayFeed(path, pace.market, 10.0, sleep=pace.sleep))
    assert sum(pace.waits) == pytest.approx(9.0, abs=0.01)


async def test_a_clock_that_is_set_forward_takes_the_recording_with_it(path):
    pace = Pace()
    async for one in ReplayFeed(path, pace.market, sleep=pace.sleep).batches():
        if one.received == START + 1_000:
            pace.market.jump(START + 89_999)
    assert sum(pace.waits) == pytest.approx(1.0, abs=0.01)


async def test_at_full_speed_the_recording_sets_the_clock_and_nothing_waits(path):
    pace = Pace()
    async for one in ReplayFeed(path, pace.market, None, sleep=pace.sleep).batches():
        assert pace.market.now_ms() == one.received
    assert pace.waits == []


async def test_a_replay_can_begin_in_the_middle(path):
    pace = Pace(start=START + 500)
    played = await play(ReplayFeed(path, pace.market, start=START + 500, sleep=pace.sleep))
    assert [one.received for one in played if one.ticks] == [START + 1_000, START + 90_000]
    assert pace.market.now_ms() == pytest.approx(START + 90_000, abs=2)


async def test_it_is_starting_then_live_then_ended(path):
    feed = ReplayFeed(path, Pace().market, None)
    before = feed.state
    meanwhile = [feed.state async for _ in feed.batches()]
    assert (before, meanwhile, feed.state) == ("starting", ["live"] * 5, "ended")


async def test_closing_ends_it_at_the_next_batch(path):
    pace = Pace()
    feed = ReplayFeed(path, pace.market, sleep=pace.sleep)
    count = 0
    async for _ in feed.batches():
        count += 1
        if count == 5:
            await feed.close()
            await feed.close()
    assert count == 5
    assert feed.state == "ended"


async def test_a_recording_cut_at_any_byte_plays_what_is_whole_and_says_so(path):
    data = path.read_bytes()
    ends = [item.end for item in record.records([data], record.Decoder(record.RECORDING))]
    for cut in [*range(0, ends[0], 97), *range(ends[0] - 1, len(data))]:
        path.write_bytes(data[:cut])
        if cut < ends[0]:
            with pytest.raises(BadFile, match="before it says what it is"):
                recording.inspect(path)
            continue
        whole = sum(end <= cut for end in ends) - 1
        feed = ReplayFeed(path, Pace().market, None)
        assert await play(feed) == [msgspec.structs.replace(one, source=feed.source) for one in BATCHES[:whole]]
        assert (
            feed.warning
            == f"day.recording was cut off: {whole} batches are whole, {cut - ends[whole]} bytes after them are not"
        )


def test_a_damaged_recording_is_refused_with_the_place(path):
    data = path.read_bytes()
    items = list(record.records([data], record.Decoder(record.RECORDING)))
    for place in range(0, len(data), 3):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
        begin = next(item.offset for item in items if place < item.end) if place >= record.HEADER_SIZE else 0
        with pytest.raises(BadFile) as caught:
            ReplayFeed(path, Pace().market)
        assert begin == 0 or f"at byte {begin}" in caught.value.detail


def test_records_that_were_taken_out_or_put_in_are_noticed(path):
    data = path.read_bytes()
    items = list(record.records([data], record.Decoder(record.RECORDING)))
    third = data[items[2].offset : items[2].end]
    for forged, reason in (
        (data[: items[2].offset] + data[items[2].end :], "speaks of 5 batches"),
        (
            data[: items[2].offset] + data[items[3].offset : items[3].end] + third + data[items[4].offset :],
            "trailer at byte",
        ),
        (data + third, "out of place"),
        (data + third[:4], "4 bytes after its end"),
        (data[: items[1].offset] + data[items[0].offset : items[0].end], "out of place"),
    ):
        if forged == data:  # two neighbours that are equal were exchanged
            continue
        path.write_bytes(forged)
        with pytest.raises(BadFile, match=reason):
            recording.inspect(path)


def test_a_journal_is_no_recording(path):
    path.write_bytes(record.header(record.JOURNAL))
    with pytest.raises(BadFile, match="expected a file of kind b'R'"):
        recording.inspect(path)


async def test_a_file_that_changes_while_it_plays_fails_as_a_feed(path):
    feed = ReplayFeed(path, Pace().market, None)
    data = bytearray(path.read_bytes())
    data[-200] ^= 1
    path.write_bytes(data)
    with pytest.raises(FeedFailed, match="at byte"):
        await play(feed)
    assert feed.state == "failed"
    with pytest.raises(BadRecord):
        list(recording.batches(path))


def test_a_speed_of_nothing_is_refused(path):
    with pytest.raises(ValueError, match="above 0"):
        ReplayFeed(path, Pace().market, 0)
