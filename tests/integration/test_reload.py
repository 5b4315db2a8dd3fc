"""An import with --now: the running ingest reads its reference data anew and begins a planned epoch, losing nothing."""

import msgspec
import pytest

from bhavcast.app.build import Parts, build
from bhavcast.app.config import Config
from bhavcast.app.reference import RELOAD, ask_reload, import_file, is_running
from bhavcast.domain import field
from bhavcast.domain.tick import Batch, Source, Tick
from bhavcast.flow import begin, recover, roll
from bhavcast.telemetry.clock import ManualClock
from tests.reference_files import master_file, scrip

SIM = Source(name="sim", mode="sim", grade="tick")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def parts(tmp_path, clock):
    config = Config(data=tmp_path / "var", scrips=30)
    imported(config, scrip(600001), scrip(600002))
    parts = build(config, clock)
    await recover(parts.line, parts.recovery, parts.token)
    yield parts
    parts.journal.close()
    parts.lease.release()


def imported(config: Config, *rows: dict[str, str]) -> None:
    path = config.data / "master.csv"
    config.data.mkdir(exist_ok=True)
    path.write_bytes(master_file(*rows))
    import_file(config, "master", path)


async def a_second_later(parts: Parts, clock: ManualClock) -> None:
    clock.advance(1.1)
    await roll(parts.line)


async def test_without_a_request_the_epoch_goes_on_whatever_was_imported(parts, clock):
    epoch = parts.line.board.epoch
    imported(parts.config, scrip(600001, TckrSymb="RENAMED"), scrip(600002))
    await a_second_later(parts, clock)
    assert parts.line.board.epoch == epoch
    assert parts.line.board.rows["600001"].instrument.id == "EXAMPLE"


async def test_a_request_begins_one_planned_epoch_with_the_new_names_and_the_old_prices(parts, clock):
    line = parts.line
    ticks = [Tick("600001", line.market.now_ms(), {field.CURRENT_PRICE: 10_000})]
    await line.say(changes=line.board.apply(SIM, Batch(SIM, 0, ticks).ticks))
    before = line.board.position
    imported(parts.config, scrip(600001, TckrSymb="RENAMED"), scrip(600002), scrip(600003))
    (parts.config.data / RELOAD).touch()
    await a_second_later(parts, clock)
    board = line.board
    assert board.epoch != before.epoch
    assert board.rev > before.rev
    assert board.rows["600001"].instrument.id == "RENAMED"
    assert board.rows["600001"].values[field.CURRENT_PRICE] == 10_000
    assert "600003" in board.rows
    assert (await parts.bus.snapshot()).planned
    assert not (parts.config.data / RELOAD).exists()
    epoch = board.epoch
    await a_second_later(parts, clock)
    assert board.epoch == epoch


async def test_a_new_scrip_gets_its_previous_close_and_the_others_keep_theirs(parts, clock):
    board = parts.line.board
    universe = parts.line.reload()
    example = universe.instruments["600001"]
    kept = board.rows["600001"].values[field.PREVIOUS_CLOSE]
    later = type(universe)(
        instruments={**universe.instruments, "600009": msgspec.structs.replace(example, symbol="600009", id="NINE")},
        closes={"600001": 777, "600009": 12_345},
        indices=universe.indices,
    )
    await begin(parts.line, planned=True, reason="import", universe=later)
    assert board.rows["600009"].values[field.PREVIOUS_CLOSE] == 12_345
    assert board.rows["600001"].values[field.PREVIOUS_CLOSE] == kept


async def test_a_scrip_with_prices_keeps_its_scale_until_the_next_day(parts, clock):
    board, universe = parts.line.board, parts.line.reload()
    coarse = universe.instruments["600001"]
    fine = msgspec.structs.replace(coarse, scale=4)
    await begin(
        parts.line,
        planned=True,
        reason="import",
        universe=type(universe)(instruments={"600001": fine}, closes={}, indices=[]),
    )
    assert board.rows["600001"].instrument.scale == coarse.scale


def test_a_request_that_nobody_takes_up_is_said_to_be_unanswered(tmp_path):
    assert not is_running(tmp_path)
    assert not ask_reload(tmp_path, patience_s=0.1)


async def test_a_folder_is_known_to_be_in_use(parts):
    assert is_running(parts.config.data)
