"""The main path from feed to bus: days, restarts and recoveries, with a scripted feed and a clock that is told to move."""

import datetime
from itertools import pairwise

import msgspec
import pytest

from bhavcast.board.board import Board
from bhavcast.domain import field
from bhavcast.domain.calendar import Calendar, ist
from bhavcast.domain.change import Message, Snapshot
from bhavcast.domain.field import DAY_FIELDS
from bhavcast.domain.instrument import CANARY_SYMBOL
from bhavcast.domain.span import SPANS, Span
from bhavcast.domain.tick import Tick
from bhavcast.domain.universe import Universe
from bhavcast.flow import curtain
from tests.scripted_line import RELIANCE, TCS, UNIVERSE, Line, moment

MONDAY, TUESDAY = "2026-11-16", "2026-11-17"
TRADE: field.Values = {field.CURRENT_PRICE: 151000, field.OPEN: 151000, field.VOLUME: 10, field.BID_PRICE: 150900}


async def traded(folder, **options) -> Line:
    """Return a line that has seen a trade of RELIANCE on a Monday."""
    line = await Line(folder, f"{MONDAY} 09:14:50", **options).start()
    await line.play((f"{MONDAY} 09:15:05", [("500325", TRADE)]))
    return line


def assert_new_day(line: Line, symbol: str, previous_close: int) -> None:
    row = line.board.rows[symbol]
    told = {field.FIELDS[number].name: row[number] for number in DAY_FIELDS if row[number] is not None}
    assert told == {}, "the day's fields are empty"
    assert row[field.PREVIOUS_CLOSE] == previous_close


# -- days ---------------------------------------------------------------------------------------------------------------


async def test_the_first_day_begins_with_the_closes_that_are_known_and_no_price(tmp_path):
    line = await Line(tmp_path, f"{MONDAY} 09:14:50").start()
    assert_new_day(line, "500325", 150000)
    assert line.value("500325", field.LOWER_CIRCUIT) == 135000
    assert line.value("500325", field.UPPER_CIRCUIT) == 165000
    await line.play((f"{MONDAY} 09:15:05", [("500325", TRADE)]))
    assert line.value("500325", field.CURRENT_PRICE) == 151000
    assert line.value("500325", field.CHANGE) == 1000


async def test_midnight_is_no_end_of_day_and_eight_in_the_morning_is(tmp_path):
    line = await traded(tmp_path)
    epoch = line.board.epoch
    line.go_to(moment(f"{MONDAY} 23:59:59"))
    await line.wait(f"{TUESDAY} 00:00:01")
    line.go_to(moment(f"{TUESDAY} 07:59:59"))
    await line.wait(f"{TUESDAY} 07:59:59")
    assert line.board.epoch == epoch
    assert line.value("500325", field.CURRENT_PRICE) == 151000
    before = line.board.rev
    await line.wait(f"{TUESDAY} 08:00:00")
    assert line.board.epoch != epoch
    assert line.board.rev > before
    assert line.board.facts["day"] == TUESDAY
    assert_new_day(line, "500325", 151000)
    assert_new_day(line, "532540", 300000)
    assert (await line.bus.snapshot()).planned


async def test_the_official_close_is_the_next_days_previous_close_and_not_the_last_trade(tmp_path):
    line = await traded(tmp_path)
    await line.play((f"{MONDAY} 15:45:00", [("500325", {field.CLOSE_PRICE: 150500})]))
    assert line.value("500325", field.CHANGE) == 500, "against the official close once it is there"
    line.go_to(moment(f"{TUESDAY} 08:00:01"))
    await line.say(moment(f"{TUESDAY} 08:00:01"), [])
    assert_new_day(line, "500325", 150500)


async def test_a_close_that_was_imported_for_the_day_that_ends_wins_over_what_the_feed_said(tmp_path):
    line = await traded(tmp_path)
    date = datetime.date.fromisoformat(MONDAY)
    line.universe = msgspec.structs.replace(UNIVERSE, closes={"500325": 150700}, date=date)
    await line.say(moment(f"{TUESDAY} 08:00:01"), [])
    assert_new_day(line, "500325", 150700)
    assert_new_day(line, "532540", 300000)


async def test_a_close_of_years_ago_does_not(tmp_path):
    old = msgspec.structs.replace(UNIVERSE, date=datetime.date(2021, 5, 7))
    line = await traded(tmp_path, universe=old)
    await line.say(moment(f"{TUESDAY} 08:00:01"), [])
    assert_new_day(line, "500325", 151000)


async def test_the_ranges_of_days_that_are_over_are_known_from_the_roll_on_and_after_a_restart(tmp_path):
    line = await traded(tmp_path)
    await line.play((f"{MONDAY} 10:00:00", [("500325", {field.HIGH: 152000, field.LOW: 150500})]))
    assert line.board.facts[SPANS] == {}
    await line.say(moment(f"{TUESDAY} 08:00:01"), [])
    monday = Span(datetime.date.fromisoformat(MONDAY).toordinal(), 1, 152000, 150500)
    assert line.board.facts[SPANS] == {"500325": [monday] * 3}
    line.journal.close()
    again = await Line(tmp_path, f"{TUESDAY} 09:00:00").start()
    assert again.board.epoch == line.board.epoch
    assert again.board.facts[SPANS] == {"500325": [list(monday)] * 3}


async def test_a_folder_that_takes_no_ranges_does_not_end_the_day(tmp_path):
    line = await traded(tmp_path)
    (tmp_path / "days").write_text("in the way")
    await line.play((f"{MONDAY} 10:00:00", [("500325", {field.HIGH: 152000, field.LOW: 150500})]))
    await line.say(moment(f"{TUESDAY} 08:00:01"), [])
    assert line.board.facts["day"] == TUESDAY
    assert line.board.facts[SPANS] == {}


async def test_a_holiday_and_a_weekend_show_the_day_before(tmp_path):
    # Tuesday, 24 November 2026, is a holiday.
    line = await Line(tmp_path, "2026-11-20 09:14:50").start()
    await line.play(("2026-11-20 09:15:05", [("500325", TRADE)]))
    friday = line.board.epoch
    for quiet in ("2026-11-21 12:00:00", "2026-11-22 12:00:00", "2026-11-23 07:59:59"):
        await line.say(moment(quiet), [])
        assert line.board.epoch == friday
    await line.play(("2026-11-23 10:00:00", [("500325", {**TRADE, field.CURRENT_PRICE: 152000})]))
    monday = line.board.epoch
    assert monday != friday
    await line.say(moment("2026-11-24 12:00:00"), [])
    assert line.board.epoch == monday, "nothing begins on a holiday"
    assert line.value("500325", field.CURRENT_PRICE) == 152000
    await line.say(moment("2026-11-25 08:00:00"), [])
    assert_new_day(line, "500325", 152000)


async def test_a_muhurat_session_is_a_day_of_its_own(tmp_path):
    line = await Line(tmp_path, "2025-10-20 09:14:50").start()
    await line.play(("2025-10-20 09:15:05", [("500325", TRADE)]))
    await line.say(moment("2025-10-21 09:00:00"), [])
    assert line.board.facts["day"] == "2025-10-21"
    assert_new_day(line, "500325", 151000)
    await line.play(("2025-10-21 14:00:00", [("500325", {**TRADE, field.CURRENT_PRICE: 151100})]))
    assert line.value("500325", field.PHASE) == "continuous"
    await line.say(moment("2025-10-22 12:00:00"), [])
    assert line.value("500325", field.CURRENT_PRICE) == 151100, "the holiday after it shows it"
    await line.say(moment("2025-10-23 08:00:00"), [])
    assert_new_day(line, "500325", 151100)


async def test_what_was_said_of_the_day_before_does_not_fill_the_new_one(tmp_path):
    line = await traded(tmp_path)
    late = Tick("500325", moment(f"{MONDAY} 15:59:59"), {field.VOLUME: 99, field.CURRENT_PRICE: 151900})
    await line.say(moment(f"{TUESDAY} 08:00:01"), [late])
    assert_new_day(line, "500325", 151000)


async def test_a_clock_sixty_times_as_fast_passes_through_days_alike(tmp_path):
    line = await traded(tmp_path, speed=60.0)
    await line.wait(f"{TUESDAY} 08:01:00", each_ms=15_000)
    assert_new_day(line, "500325", 151000)
    assert line.value("500325", field.PHASE) == "closed"
    await line.play((f"{TUESDAY} 09:15:10", [("500325", {**TRADE, field.CURRENT_PRICE: 151500})]))
    assert line.value("500325", field.STATE) == "live"


async def test_an_endless_day_goes_on_to_the_next_session(tmp_path):
    line = await traded(tmp_path, endless=True)
    await line.say(moment(f"{MONDAY} 16:04:59"), [])
    assert line.board.facts["day"] == MONDAY
    await line.say(moment(f"{MONDAY} 16:05:01"), [])
    assert ist(line.market.now_ms()).isoformat(" ", "seconds") == f"{TUESDAY} 09:14:50+05:30"
    assert_new_day(line, "500325", 151000)


@pytest.mark.parametrize(
    ("day", "step", "expected"),
    [
        ("2026-11-16", 1, "2026-11-16 09:14:50"),
        ("2026-11-24", 1, "2026-11-25 09:14:50"),
        ("2025-10-21", 1, "2025-10-21 13:44:50"),
        ("2026-11-08", 1, "2026-11-09 09:14:50"),  # Muhurat whose hours nobody knows yet
        ("2026-11-08", -1, "2026-11-06 09:14:50"),
    ],
)
def test_the_curtain_rises_before_continuous_trading(day, step, expected):
    at = curtain(Calendar.builtin(), datetime.date.fromisoformat(day), step)
    assert at == moment(expected)


# -- appointments -------------------------------------------------------------------------------------------------------


async def test_the_canary_sings_once_a_second_and_every_message_has_its_revision(tmp_path):
    line = await traded(tmp_path)
    before = line.board.rev
    following = line.bus.follow(line.board.position)
    await line.wait(f"{MONDAY} 09:15:15")
    messages: list[Message] = []
    while not messages or messages[-1].to_rev < line.board.rev:
        messages.append(await anext(following))
    assert messages[0].from_rev == before + 1
    assert all(then.from_rev == now.to_rev + 1 for now, then in pairwise(messages))
    canaries = [change for each in messages for change in each.changes if change.symbol == CANARY_SYMBOL]
    assert 9 <= sum(field.LAST_TRADE_TIME in change.values for change in canaries) <= 11


async def test_a_scrip_falls_quiet_and_a_silent_feed_makes_it_stale(tmp_path):
    line = await traded(tmp_path)
    assert line.value("500325", field.STATE) == "live"
    await line.wait(f"{MONDAY} 09:16:20", each_ms=1000)
    assert line.value("500325", field.STATE) == "quiet"
    assert line.value("532540", field.STATE) == "no_data"
    line.feed.state = "stale"
    await line.wait(f"{MONDAY} 09:16:22", each_ms=250)
    assert line.value("500325", field.STATE) == "stale"
    line.feed.state = "live"
    await line.play((f"{MONDAY} 09:16:23", [("500325", {field.VOLUME: 20})]))
    assert line.value("500325", field.STATE) == "live"


# -- recovery -----------------------------------------------------------------------------------------------------------


async def test_after_a_kill_the_epoch_goes_on_with_the_very_same_board(tmp_path):
    line = await traded(tmp_path)
    await line.wait(f"{MONDAY} 09:15:40", each_ms=700)
    again = await Line(tmp_path, f"{MONDAY} 09:15:41").start()
    assert (again.board.epoch, again.board.rev) == (line.board.epoch, line.board.rev)
    assert again.state() == line.state()
    assert again.board.facts == line.board.facts
    following = again.bus.follow(line.board.position)
    await again.play((f"{MONDAY} 09:15:42", [("500325", {field.VOLUME: 30})]))
    assert (await anext(following)).from_rev == line.board.rev + 1


async def test_so_it_does_many_times_in_a_row_also_with_a_torn_tail(tmp_path):
    line = await traded(tmp_path)
    for second in range(10, 40, 5):
        journal = next(tmp_path.glob("*.journal"))
        with journal.open("ab") as file:
            file.write(b"\x03torn")
        again = await Line(tmp_path, f"{MONDAY} 09:15:{second}").start()
        assert again.state() == line.state()
        assert again.board.epoch == line.board.epoch
        assert again.board.token > line.board.token, "each writer has a token of its own"
        await again.play((f"{MONDAY} 09:15:{second + 1}", [("500325", {field.VOLUME: 100 + second})]))
        line = again


async def test_another_boot_is_another_epoch_with_the_same_values(tmp_path):
    line = await traded(tmp_path)
    again = await Line(tmp_path, f"{MONDAY} 09:15:41", boot_id="another").start()
    assert again.board.epoch != line.board.epoch
    assert again.board.rev > line.board.rev
    assert all(again.state()[symbol][1] == values for symbol, (_, values, _) in line.state().items())
    assert all(row.rev == again.board.rev for row in again.board.order if row.rev), "no row looks older than it was"
    assert not (await again.bus.snapshot()).planned


async def test_a_redefined_scrip_begins_a_planned_epoch_and_keeps_its_price_in_its_new_scale(tmp_path):
    line = await traded(tmp_path)
    finer = msgspec.structs.replace(RELIANCE, scale=4, name="RELIANCE (new)")
    universe = Universe({"500325": finer, "532540": TCS}, UNIVERSE.closes, [])
    again = await Line(tmp_path, f"{MONDAY} 09:15:41", universe=universe).start()
    assert again.board.epoch != line.board.epoch
    assert (await again.bus.snapshot()).planned
    row = again.board.rows["500325"]
    assert row[field.CURRENT_PRICE] == 15100000
    assert row.divisor == 10_000
    coarse = msgspec.structs.replace(finer, scale=2)
    back = await Line(tmp_path, f"{MONDAY} 09:15:42", universe=Universe({"500325": coarse}, {}, [])).start()
    assert back.value("500325", field.CURRENT_PRICE) == 151000


async def test_a_restart_at_eleven_goes_on_and_the_next_morning_begins_a_day(tmp_path):
    line = await traded(tmp_path)
    again = await Line(tmp_path, f"{MONDAY} 11:00:00").start()
    assert again.board.epoch == line.board.epoch
    assert again.value("500325", field.VOLUME) == 10
    morning = await Line(tmp_path, f"{TUESDAY} 11:00:00").start()
    assert morning.board.epoch != line.board.epoch
    assert_new_day(morning, "500325", 151000)
    assert (await morning.bus.snapshot()).planned, "nothing was lost"


@pytest.mark.parametrize("place", [0.3, 0.6, 0.9])
async def test_a_damaged_journal_is_an_honest_new_epoch_from_what_is_whole(tmp_path, place):
    line = await traded(tmp_path)
    for number in range(60):
        await line.play((f"{MONDAY} 09:16:{number:02}", [("500325", {field.VOLUME: 100 + number})]))
    journal = next(tmp_path.glob("*.journal"))
    content = bytearray(journal.read_bytes())
    content[int(len(content) * place)] ^= 0xFF
    journal.write_bytes(content)
    again = await Line(tmp_path, f"{MONDAY} 09:18:00").start()
    if place < 0.5:  # before the last checkpoint, which is whole: nothing of it is needed
        assert (again.board.epoch, again.state()) == (line.board.epoch, line.state())
        return
    assert again.board.epoch != line.board.epoch
    assert not (await again.bus.snapshot()).planned
    volume = again.value("500325", field.VOLUME)
    assert isinstance(volume, int)
    assert 10 <= volume < 159, "what stands before the damage"


async def test_a_lost_tail_never_makes_a_revision_go_back(tmp_path):
    line = await traded(tmp_path)
    journal = next(tmp_path.glob("*.journal"))
    whole = journal.read_bytes()
    await line.play((f"{MONDAY} 09:15:20", [("500325", {field.VOLUME: 77})]))
    seen = line.board.rows["500325"].rev
    journal.write_bytes(whole)  # as after a power cut
    again = await Line(tmp_path, f"{MONDAY} 09:15:21", boot_id="another").start()
    assert again.value("500325", field.VOLUME) == 10
    assert again.board.rows["500325"].rev > seen


async def test_the_snapshot_of_the_bus_is_the_board_at_every_moment(tmp_path):
    line = await traded(tmp_path)
    for second in range(10, 30):
        await line.play((f"{MONDAY} 09:15:{second}", [("500325", {field.VOLUME: second}), ("532540", TRADE)]))
        copy = Board()
        snapshot: Snapshot = await line.bus.snapshot()
        copy.load(snapshot)
        held = {row.symbol: (row.rev, list(row), row.revs) for row in copy.order}
        assert held == line.state()
