"""The main path with its real parts, on a real journal: only the feed is a script, and the clock moves when it says."""

import asyncio
import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field as member
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bhavcast.app.build import build
from bhavcast.app.config import Config
from bhavcast.board.board import Board
from bhavcast.bus.memory import MemoryBus
from bhavcast.domain import field
from bhavcast.domain.calendar import IST, ist
from bhavcast.domain.change import Message
from bhavcast.domain.field import Values
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.tick import Tick
from bhavcast.domain.universe import Universe
from bhavcast.flow import ingest, recover, relay
from bhavcast.journal import reader
from bhavcast.telemetry.clock import ManualClock, MarketClock
from tests.scripted_line import Line

A, B = "600001", "600002"
CLOSES = {A: 10_000, B: 20_000}
DAY_FIELDS = {field.FIELDS[number].name for number in field.DAY_FIELDS}
Step = tuple[float, dict[str, Values]]


def moment(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=IST)


def ms(text: str) -> int:
    return int(moment(text).timestamp() * 1000)


def universe(date: str | None = None, **closes: int) -> Universe:
    scrips = [
        Instrument(symbol=A, id="FIRST", name="FIRST LTD.", band=20),
        Instrument(symbol=B, id="SECOND", name="SECOND LTD.", band=10),
    ]
    return Universe(
        instruments={each.symbol: each for each in scrips},
        closes=CLOSES | {{"a": A, "b": B}[name]: close for name, close in closes.items()},
        indices=[],
        date=None if date is None else datetime.date.fromisoformat(date),
    )


@dataclass
class House:
    """A data directory, and the lives of its writer one after the other, on one clock."""

    directory: Path
    clock: ManualClock
    boot: str = "one boot"
    universe: Universe = member(default_factory=universe)
    speed: float | None = None
    endless: bool = False
    asked: list[bool] = member(default_factory=list)

    async def start(self) -> "System":
        market = MarketClock(self.clock)
        if self.speed is not None:
            found = reader.recover(self.directory, self.boot)
            market = MarketClock(self.clock, start_ms=found.market or self.clock.wall_ms(), speed=self.speed)
        system = System(self, market)
        await system.start()
        return system


class System(Line):
    """One life, told what prices come and how the seconds pass."""

    def __init__(self, house: House, market: MarketClock) -> None:
        super().__init__(
            house.directory,
            clock=house.clock,
            market=market,
            speed=house.speed or 1.0,
            boot_id=house.boot,
            endless=house.endless,
            writer="house",
        )
        self.line.reload = lambda: house.universe
        self.line.asked = lambda: bool(house.asked) and house.asked.pop()

    async def steps(self, *steps: Step) -> None:
        """Let the feed say it; the guard has nothing against it."""
        for seconds, said in steps:
            self.clock.advance(seconds)
            now = self.market.now_ms()
            ticks = []
            for symbol, values in said.items():
                at = values.get(-1, now)  # a time of the past
                assert isinstance(at, int)
                ticks.append(Tick(symbol, at, {number: value for number, value in values.items() if number >= 0}))
            await self.say(now, ticks)
            await asyncio.sleep(0)
        assert len(self.line.guard.quarantine) == 0

    async def until(self, text: str, **ticks: int) -> None:
        """Go to a moment, and let prices come there."""
        said = {{"a": A, "b": B}[name]: price(value) for name, value in ticks.items()}
        await self.steps(((ms(text) - self.market.now_ms()) / 1000, said))

    def quote(self, symbol: str = A) -> dict[str, field.Held]:
        row = self.board.rows[symbol]
        return {field.FIELDS[number].name: value for number, value in enumerate(row) if value is not None}

    @property
    def day(self) -> str:
        return str(self.board.facts["day"])


def price(value: int) -> Values:
    return {field.CURRENT_PRICE: value, field.OPEN: value, field.HIGH: value, field.LOW: value, field.VOLUME: value}


def picture(board: Board) -> dict[str, Any]:
    return {
        "position": board.position,
        "rows": {row.symbol: row.image() for row in board.order if row.rev},
        "facts": board.facts,
        "instruments": [row.instrument for row in board.order],
    }


def values(board: Board) -> dict[str, list[field.Value]]:
    return {row.symbol: row.image().values for row in board.order}


@pytest.fixture
def house(tmp_path) -> House:
    return House(tmp_path / "journal", ManualClock(ms("2026-11-23T10:00:00")))


TRADES: tuple[Step, ...] = (
    (0.25, {A: price(10_100)}),
    (0.25, {A: {field.CURRENT_PRICE: 10_150, field.ASK_PRICE: None}, B: price(19_900)}),
    (0.25, {}),
    (1.0, {B: {field.BIDS: ((19_800, 5, 1),), field.BID_PRICE: 19_800}}),
)


# -- start and recovery -----------------------------------------------------------------------------------------------------


async def test_a_first_start_begins_an_epoch_and_a_day_from_the_official_closes(house):
    system = await house.start()
    snapshot = await system.bus.snapshot()
    assert (snapshot.planned, system.day, snapshot.rev) == (True, "2026-11-23", house.clock.wall_ms() * 1000)
    assert system.quote() == {"previous_close": 10_000, "lower_circuit": 8_000, "upper_circuit": 12_000}
    assert system.quote(B) == {"previous_close": 20_000, "lower_circuit": 18_000, "upper_circuit": 22_000}
    await system.steps(*TRADES)
    assert system.quote()["change"] == 150
    assert system.quote()["state"] == "live"
    assert system.board.facts["market"]["status"] == "open"


@pytest.mark.parametrize("cleanly", [True, False], ids=["stopped", "killed"])
async def test_a_restart_goes_on_with_the_epoch_its_rows_and_its_revisions(house, cleanly):
    before = await house.start()
    for _ in range(3):
        await before.steps(*TRADES, (31.0, {A: {field.LAST_QUANTITY: 3}}), *TRADES[:1])
        if cleanly:
            before.journal.close()
        system = await house.start()
        assert picture(system.board) == picture(before.board)
        assert (await system.bus.snapshot()).position == before.board.position
        before = system
    await before.steps((1.0, {A: price(10_300)}))
    assert before.quote()["change"] == 300


@pytest.mark.parametrize("cut", [1, 7, 40])
async def test_what_was_being_written_when_the_process_died_was_never_said(house, cut):
    system = await house.start()
    await system.steps(*TRADES)
    path = system.journal.path
    assert path is not None
    whole = picture(system.board)
    with path.open("ab") as file:
        file.write(b"\x00\x01\x02\x03" * 10 if cut == 40 else b"\x01" * cut)
    again = await house.start()
    if again.board.epoch == system.board.epoch:
        assert picture(again.board) == whole
    else:  # noise that is as long as a record is damage, and honestly another epoch
        assert cut == 40
        assert values(again.board) == values(system.board)


async def test_another_boot_begins_an_epoch_that_was_not_planned_with_the_rows_kept(house):
    system = await house.start()
    await system.steps(*TRADES)
    held, last = values(system.board), system.board.position
    house.boot = "another boot"
    again = await house.start()
    snapshot = await again.bus.snapshot()
    assert (snapshot.planned, again.day) == (False, "2026-11-23")
    assert snapshot.epoch != last.epoch
    assert snapshot.rev > last.rev
    assert {row.rev for row in snapshot.rows} == {snapshot.rev}
    assert values(again.board) == held
    await again.steps(*TRADES)


async def test_a_damaged_journal_begins_an_epoch_that_was_not_planned_from_what_can_be_read(house):
    system = await house.start()
    await system.steps(*TRADES)
    held, last = values(system.board), system.board.position
    path = system.journal.path
    assert path is not None
    size = path.stat().st_size
    await system.steps((0.25, {A: price(10_445)}), *TRADES)
    with path.open("r+b") as file:
        file.seek(size + 30)
        file.write(b"\xff" * 8)
    again = await house.start()
    snapshot = await again.bus.snapshot()
    assert (snapshot.planned, snapshot.epoch == last.epoch, snapshot.rev > last.rev) == (False, False, True)
    assert values(again.board) == held


async def test_a_journal_that_cannot_be_read_at_all_is_no_planned_beginning(house):
    system = await house.start()
    assert system.journal.path is not None
    system.journal.path.write_bytes(b"\x00" * 200)
    again = await house.start()
    assert not (await again.bus.snapshot()).planned
    assert again.quote()["previous_close"] == 10_000


async def test_scrips_that_were_redefined_begin_a_planned_epoch(house):
    system = await house.start()
    await system.steps(*TRADES)
    last = system.board.position
    scrips = dict(house.universe.instruments)
    scrips[A] = Instrument(symbol=A, id="RENAMED", name="RENAMED LTD.", band=20)
    house.universe = replace_scrips(house.universe, scrips)
    again = await house.start()
    snapshot = await again.bus.snapshot()
    assert snapshot.planned
    assert snapshot.epoch != last.epoch
    assert snapshot.rev > last.rev
    assert again.board.rows[A].instrument.id == "RENAMED"
    assert again.quote()["current_price"] == 10_150, "the day goes on"


def replace_scrips(of: Universe, scrips: dict[str, Instrument]) -> Universe:
    return Universe(scrips, of.closes, of.indices, of.days, of.date)


async def test_every_writer_of_an_epoch_has_a_higher_token_than_the_one_before(tmp_path):
    tokens = []
    for _ in range(4):
        parts = build(Config(data=tmp_path / "data", scrips=30))
        await recover(parts.line, parts.recovery, parts.writer)
        tokens.append(((await parts.bus.snapshot()).token, parts.line.board.token))
        assert parts.journal.path is not None
        parts.lease.release()  # and no more: it was killed
    assert tokens == [(n, n) for n in (1, 2, 3, 4)]


# -- the day ----------------------------------------------------------------------------------------------------------------


def assert_unopened(system: System, previous: int) -> None:
    """The day has begun, and nothing has traded."""
    quote = system.quote()
    assert quote["previous_close"] == previous
    assert not DAY_FIELDS & quote.keys()


@pytest.mark.parametrize(
    ("last", "nights", "opens", "day"),
    [
        ("2026-11-19T15:00:00", ["2026-11-19T23:59:59", "2026-11-20T00:00:01", "2026-11-20T07:59:59"],
         "2026-11-20T08:00:00", "2026-11-20"),
        ("2026-11-20T15:00:00", ["2026-11-21T10:00:00", "2026-11-22T12:00:00", "2026-11-23T07:59:59"],
         "2026-11-23T08:00:00", "2026-11-23"),
        ("2026-11-23T15:00:00", ["2026-11-24T08:00:01", "2026-11-24T11:00:00", "2026-11-25T07:59:59"],
         "2026-11-25T08:00:01", "2026-11-25"),
        ("2025-10-20T15:00:00", ["2025-10-21T07:59:59"], "2025-10-21T08:00:00", "2025-10-21"),
        ("2025-10-21T14:00:00", ["2025-10-22T10:00:00", "2025-10-23T07:59:59"], "2025-10-23T08:00:00", "2025-10-23"),
        ("2026-11-06T15:00:00", ["2026-11-07T10:00:00"], "2026-11-08T08:00:00", "2026-11-08"),
    ],
    ids=["midnight", "weekend", "holiday", "to Muhurat", "from Muhurat", "Muhurat of unknown hours"],
)  # fmt: skip
@pytest.mark.parametrize("official", [10_170, None])
async def test_a_day_rolls_at_eight_of_the_next_trading_day(house, last, nights, opens, day, official):
    house.clock.advance((ms(last) - house.clock.wall_ms()) / 1000)
    system = await house.start()
    await system.steps((0.25, {A: price(10_100)}), (0.25, {A: {field.CURRENT_PRICE: 10_150}}))
    yesterday, epoch = system.day, system.board.epoch
    assert yesterday == last[:10]
    for night in nights:
        await system.until(night)
        assert (system.day, system.board.epoch) == (yesterday, epoch)
        assert system.quote()["current_price"] == 10_150
    if official:
        house.universe = universe(yesterday, a=official)
    rev = system.board.rev
    await system.until(opens)
    assert system.day == day
    assert system.board.epoch != epoch
    assert system.board.rev > rev
    assert (await system.bus.snapshot()).planned
    assert_unopened(system, official or 10_150)
    limits = (system.quote()["lower_circuit"], system.quote()["upper_circuit"])
    assert limits == ((8_140, 12_200) if official else (8_120, 12_180))


async def test_the_first_trade_of_the_day_brings_price_and_change(house):
    house.clock.advance(-86400 * 3)
    system = await house.start()
    await system.steps((0.25, {A: price(10_100)}))
    await system.until("2026-11-23T08:00:00")
    await system.until("2026-11-23T09:05:00")
    assert_unopened(system, 10_100)
    await system.until("2026-11-23T09:15:01", a=10_300)
    assert (system.quote()["current_price"], system.quote()["change"]) == (10_300, 200)


async def test_what_a_source_still_says_of_the_day_before_does_not_enter_the_new_one(house):
    system = await house.start()
    await system.steps((0.25, {A: price(10_100)}))
    await system.until("2026-11-25T08:00:00")
    await system.steps((1.0, {A: {-1: ms("2026-11-23T15:29:59"), **price(10_200)}}))
    assert_unopened(system, 10_100)


@pytest.mark.parametrize("cleanly", [True, False], ids=["stopped", "killed"])
async def test_a_restart_at_eleven_of_the_same_day_goes_on_with_it(house, cleanly):
    system = await house.start()
    await system.steps(*TRADES)
    if cleanly:
        system.journal.close()
    house.clock.advance(3600)
    again = await house.start()
    assert picture(again.board) == picture(system.board)
    await again.steps((0.25, {}))
    assert again.quote()["state"] == "quiet"


async def test_a_restart_at_eleven_of_another_day_begins_that_day_as_planned(house):
    system = await house.start()
    await system.steps(*TRADES)
    system.journal.close()
    last = system.board.position
    house.clock.advance((ms("2026-11-25T11:00:00") - house.clock.wall_ms()) / 1000)
    again = await house.start()
    snapshot = await again.bus.snapshot()
    assert (again.day, snapshot.planned, snapshot.epoch == last.epoch) == ("2026-11-25", True, False)
    assert snapshot.rev > last.rev
    assert_unopened(again, 10_150)


async def test_an_official_day_that_was_slept_through_gives_the_previous_close(house):
    house.clock.advance((ms("2026-11-18T15:00:00") - house.clock.wall_ms()) / 1000)
    system = await house.start()
    await system.steps(*TRADES)
    house.clock.advance((ms("2026-11-23T11:00:00") - house.clock.wall_ms()) / 1000)
    house.universe = universe("2026-11-20", a=10_700)
    assert_unopened(await house.start(), 10_700)


async def test_an_official_day_from_before_is_no_better_than_what_was_seen(house):
    house.universe = universe("2026-11-20", a=10_000)
    system = await house.start()
    await system.steps(*TRADES)
    await system.until("2026-11-25T08:00:00")
    assert_unopened(system, 10_150)


# -- virtual clocks ---------------------------------------------------------------------------------------------------------


async def test_at_sixty_times_the_speed_a_day_has_all_its_phases_and_its_roll(house):
    house.speed = 60.0
    system = await house.start()
    await system.steps((0.25, {A: price(10_100)}))
    epoch = system.board.epoch
    statuses: list[str] = []
    states: list[field.Value] = []
    for _ in range(4 * 6 * 60 + 40):  # six hours and ten minutes, in steps of 15 seconds
        await system.steps((0.25, {}))
        if (status := system.board.facts["market"]["status"]) not in statuses[-1:]:
            statuses.append(status)
        if (state := system.quote()["state"]) not in states[-1:]:
            states.append(state)
    assert statuses == ["open", "closing_auction", "post_close", "closed"]
    assert states == ["live", "quiet", "closed"]
    assert system.board.epoch == epoch
    await system.steps((16 * 60.0, {}))
    assert ist(system.market.now_ms()).hour == 8
    assert system.day == "2026-11-23", "the day after is a holiday"
    await system.steps((24 * 60.0, {}))
    assert system.day == "2026-11-25"
    assert_unopened(system, 10_100)


@pytest.mark.parametrize(
    ("last", "opens"),
    [
        ("2026-11-19T15:59:00", "2026-11-20T09:14:50"),
        ("2026-11-20T15:59:00", "2026-11-23T09:14:50"),
        ("2026-11-23T15:59:00", "2026-11-25T09:14:50"),
        ("2025-10-20T15:59:00", "2025-10-21T13:44:50"),
        ("2025-10-21T15:04:00", "2025-10-23T09:14:50"),
        ("2026-11-06T15:59:00", "2026-11-09T09:14:50"),
    ],
    ids=["night", "weekend", "holiday", "to Muhurat", "from Muhurat", "past Muhurat of unknown hours"],
)
async def test_an_endless_virtual_clock_goes_on_to_the_next_session(house, last, opens):
    house.clock.advance((ms(last) - house.clock.wall_ms()) / 1000)
    house.speed, house.endless = 1.0, True
    system = await house.start()
    await system.steps((0.25, {A: {field.CURRENT_PRICE: 10_100}}))
    epoch = system.board.epoch
    await system.steps((300.0, {}))
    assert system.board.epoch == epoch, "the afterglow"
    await system.steps((120.0, {}))
    assert ist(system.market.now_ms()) == moment(opens)
    assert (system.day, (await system.bus.snapshot()).planned) == (opens[:10], True)
    assert system.board.epoch != epoch
    assert_unopened(system, 10_100)
    await system.steps((11.0, {A: price(10_200)}))
    assert (system.quote()["change"], system.quote()["state"]) == (100, "live")
    again = await house.start()
    assert picture(again.board) == picture(system.board)
    assert again.market.now_ms() <= system.market.now_ms()


# -- asked at once ----------------------------------------------------------------------------------------------------------


async def test_an_import_that_is_wanted_at_once_begins_a_planned_epoch_within_a_second(house):
    system = await house.start()
    await system.steps(*TRADES)
    epoch, rev, held = system.board.epoch, system.board.rev, system.quote()
    scrips = dict(house.universe.instruments)
    scrips["600003"] = Instrument(symbol="600003", id="NEW", name="NEW LTD.")
    house.universe = replace_scrips(house.universe, scrips)
    await system.steps((1.0, {}), (1.0, {}))
    assert system.board.epoch == epoch, "nobody asked"
    house.asked.append(True)
    await system.steps((1.0, {}))
    snapshot = await system.bus.snapshot()
    assert snapshot.planned
    assert snapshot.epoch != epoch
    assert snapshot.rev > rev
    assert [each.symbol for each in snapshot.instruments][-1] == "600003"
    assert {name: held[name] for name in ("current_price", "change", "volume")}.items() <= system.quote().items()
    await system.steps((1.0, {"600003": price(500)}), (1.0, {}))
    assert system.board.epoch == snapshot.epoch, "once"
    assert picture((again := await house.start()).board) == picture(system.board)
    assert again.quote("600003")["current_price"] == 500


async def test_a_scrip_that_is_new_in_mid_day_has_its_previous_close_at_once(house):
    system = await house.start()
    await system.steps(*TRADES)
    held = system.quote()
    new = Instrument(symbol="600003", id="NEW", name="NEW LTD.", band=10)
    house.universe = replace_scrips(house.universe, {**house.universe.instruments, "600003": new})
    house.universe = msgspec.structs.replace(house.universe, closes={**house.universe.closes, A: 1, "600003": 500})
    house.asked.append(True)
    await system.steps((1.0, {}))
    quote = system.quote("600003")
    assert [quote[name] for name in ("previous_close", "lower_circuit", "upper_circuit")] == [500, 450, 550]
    assert system.quote()["previous_close"] == held["previous_close"], "what the exchange began its day with stands"


async def test_a_market_that_is_made_up_begins_its_day_anew_with_what_was_imported(house):
    system = await house.start()
    given: list[Universe] = []
    system.line.trade = given.append
    await system.steps(*TRADES)
    new = Instrument(symbol="600003", id="NEW", name="NEW LTD.")
    yesterday = datetime.date.fromisoformat(system.day) - datetime.timedelta(1)
    house.universe = msgspec.structs.replace(
        replace_scrips(house.universe, {**house.universe.instruments, "600003": new}),
        closes={A: 20_000, "600003": 500},
        date=yesterday,
    )
    other = system.quote(B)["previous_close"]
    house.asked.append(True)
    await system.steps((1.0, {}))
    quote = system.quote()
    assert quote["previous_close"] == 20_000
    assert not {"current_price", "volume", "change", "high"} & quote.keys()
    assert [universe.closes for universe in given] == [{A: 20_000, "600003": 500, B: other}]
    await system.steps((0.25, {A: price(20_100)}))
    assert system.quote()["change"] == 100


async def test_a_market_that_is_made_up_takes_an_import_at_the_day_roll_with_the_boards_closes(house):
    system = await house.start()
    given: list[Universe] = []
    system.line.trade = given.append
    await system.until("2026-11-23T15:00:00", a=10_300)
    await system.until("2026-11-25T08:00:00")
    assert given == [], "nothing was imported"
    new = Instrument(symbol="600003", id="NEW", name="NEW LTD.")
    house.universe = replace_scrips(house.universe, {**house.universe.instruments, "600003": new})
    closes = {symbol: system.quote(symbol)["previous_close"] for symbol in (A, B)}
    await system.until("2026-11-26T08:00:00")
    assert [universe.closes[symbol] for universe in given for symbol in (A, B)] == list(closes.values())
    await system.until("2026-11-27T08:00:00")
    assert len(given) == 1


# -- bus to clients ---------------------------------------------------------------------------------------------------------


class Listener:
    """An audience, as a gateway is one: what it was told must be all that changed."""

    def __init__(self) -> None:
        self.replica = Board()
        self.restarts: list[bool] = []
        self.seen: dict[tuple[str, str, int], list[field.Value]] = {}
        self.newest: dict[str, int] = {}

    def restart(self, *, planned: bool) -> None:
        self.restarts.append(planned)
        self.hear(range(len(self.replica.order)), None)

    def linked(self, link: str) -> None:
        assert link == "ok"

    def interest(self) -> frozenset[str]:
        return frozenset()

    def hear(self, slots: Iterable[int], message: Message | None) -> None:
        for row in map(self.replica.order.__getitem__, slots):
            assert row.rev >= self.newest.get(row.symbol, 0), "never back"
            self.newest[row.symbol] = row.rev
            known = self.seen.setdefault((self.replica.epoch, row.symbol, row.rev), row.image().values)
            assert known == row.image().values, "the same revision has the same values"


async def test_every_audience_ends_with_the_writers_board_through_rolls_and_imports(house):
    system = await house.start()
    early, late = Listener(), Listener()
    following = [asyncio.create_task(relay(system.bus, early.replica, early))]
    await system.steps(*TRADES)
    following.append(asyncio.create_task(relay(system.bus, late.replica, late)))
    await system.steps(*TRADES)
    house.asked.append(True)
    await system.steps((1.0, {A: price(10_250)}), *TRADES)
    await system.until("2026-11-25T08:00:00")
    await system.until("2026-11-25T09:15:01", a=10_300, b=19_950)
    await system.steps((0.25, {A: {field.CURRENT_PRICE: 10_350}}))
    for _ in range(5):
        await asyncio.sleep(0)
    for each in (early, late):
        assert picture(each.replica) == picture(system.board)
        assert each.restarts == [True, True, True]
    await system.bus.close()
    await asyncio.gather(*following)


async def test_an_audience_too_slow_for_the_log_takes_the_snapshot_and_ends_equal(house):
    system = await house.start()
    system.bus = system.line.bus = MemoryBus(log=4)
    await system.bus.begin(system.board.snapshot(system.market.now_ms()))
    slow = Listener()
    following = asyncio.create_task(relay(system.bus, slow.replica, slow))
    await system.steps(*TRADES)
    now = system.market.now_ms()
    system.feed.steps = [(now + 10 * n, [Tick(A, now + 10 * n, {field.VOLUME: 20_000 + n})]) for n in range(1, 41)]
    await ingest(system.line)  # without giving way to anyone
    for _ in range(5):
        await asyncio.sleep(0)
    assert slow.restarts == [False]
    assert picture(slow.replica) == picture(system.board)
    await system.bus.close()
    await following
