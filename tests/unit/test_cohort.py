"""Clients of one shape and pace: who gets what in a flush, and what happens between its slices."""

import json

import pytest

from bhavcast.board.board import Board
from bhavcast.board.encode import Encoder
from bhavcast.domain import field
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.shape import Shape
from bhavcast.domain.tick import Source, Tick
from bhavcast.hub.hub import PIECE, SLOW_AFTER_S, Hub
from bhavcast.hub.outbox import Outbox

EPOCH = "20261123T0345Z-9f1c03ab77de5a20"
SOURCE = Source(name="script", mode="sim", grade="tick")


class Wire:
    """Implements hub.port.Sink."""

    wire = -1

    def __init__(self) -> None:
        self.full = False
        self.unsent = 0
        self.frames: list[bytes] = []
        self.closed: int | None = None

    def send(self, *parts: bytes, pos: str | None = None) -> None:
        self.frames.append(b"".join(parts))

    def buffered(self) -> int:
        return self.unsent

    def close(self, code: int, reason: str) -> None:
        self.closed = code

    def read(self) -> list[dict]:
        messages = [json.loads(each) for each in self.frames]
        self.frames.clear()
        return messages


class Place:
    """A board, its hub, and clients of one cohort."""

    def __init__(self, scrips: int = 5) -> None:
        self.board = Board(EPOCH, 100, 1)
        self.board.add(Instrument(symbol=f"{500000 + n}", id=f"ID{n}", name=f"Scrip {n}") for n in range(scrips))
        self.hub = Hub(self.board, Encoder)
        self.hub.slice = 1
        self.now = 0.0

    def client(self, *slots: int) -> tuple[Outbox, Wire]:
        wire = Wire()
        outbox = self.hub.join(wire, Shape((field.VOLUME,)), 10, self.now)
        if slots:
            self.hub.add(outbox, frozenset(slots), 1, self.now)
            list(self.flush())  # from here on it is in step with the others
            wire.frames.clear()
        return outbox, wire

    def tick(self, slot: int, volume: int) -> None:
        symbol = self.board.order[slot].symbol
        self.board.apply(SOURCE, [Tick(symbol, volume, {field.VOLUME: volume})])
        self.board.seal(0)
        self.hub.notice([slot])

    @property
    def cohort(self):
        (cohort,) = self.hub.cohorts
        return cohort

    def flush(self):
        return self.cohort.flush(self.now)


@pytest.fixture
def place():
    return Place()


def volumes(message: dict) -> dict[str, int]:
    return {row["symbol"]: row["volume"] for row in message["q"]}


def test_each_gets_what_it_subscribed_and_nobody_an_empty_frame(place):
    (_, one), (_, two), (_, other) = place.client(0, 1), place.client(1), place.client(2)
    place.tick(0, 5)
    place.tick(1, 6)
    list(place.flush())
    assert [volumes(each) for each in one.read()] == [{"500000": 5, "500001": 6}]
    assert [volumes(each) for each in two.read()] == [{"500001": 6}]
    assert other.read() == []


def test_a_flush_has_the_position_and_the_values_of_its_start(place):
    wires = [place.client(0)[1] for _ in range(3)]
    place.tick(0, 5)
    pos = f"{EPOCH}:{place.board.rev}"
    flush = place.flush()
    next(flush)
    place.tick(0, 6)
    list(flush)
    assert [[(each["pos"], volumes(each)) for each in wire.read()] for wire in wires] == [[(pos, {"500000": 5})]] * 3
    list(place.flush())
    assert [volumes(each) for each in wires[0].read()] == [{"500000": 6}]


def test_many_changes_between_two_flushes_are_one(place):
    _, wire = place.client(0)
    for volume in range(1, 50):
        place.tick(0, volume)
    list(place.flush())
    assert [volumes(each) for each in wire.read()] == [{"500000": 49}]


def test_a_full_wire_is_passed_over_and_its_next_frame_covers_more(place):
    (_, full), (_, other) = place.client(0, 1), place.client(0, 1)
    full.full = True
    for volume in (5, 6):
        place.tick(0, volume)
        list(place.flush())
    place.tick(1, 7)
    list(place.flush())
    assert full.read() == []
    assert len(other.read()) == 3
    full.full = False
    list(place.flush())
    (update,) = full.read()
    assert volumes(update) == {"500000": 6, "500001": 7}
    assert update["pos"] == f"{EPOCH}:{place.board.rev}"
    assert not place.cohort.due


def test_a_client_told_by_a_frame_of_its_own_is_never_told_an_older_position(place):
    outbox, wire = place.client()
    place.tick(0, 5)
    place.hub.resume(outbox, frozenset({0}), 100, {"t": "resumed"}, place.now, everything=False)
    assert wire.read()[-1]["pos"] == f"{EPOCH}:{place.board.rev}"
    assert place.hub.position(outbox) == f"{EPOCH}:{place.board.rev}", "a heartbeat says this"


def test_a_flush_that_encoded_much_lets_others_use_the_loop_before_it_sends(place):
    clients = [place.client(0) for _ in range(3)]
    place.tick(0, 5)
    flush = place.flush()
    next(flush)
    assert [wire.frames for _, wire in clients] == [[], [], []]
    for outbox, _ in clients:
        assert place.cohort.reached(outbox) < place.board.rev
    list(flush)
    assert [[volumes(each) for each in wire.read()] for _, wire in clients] == [[{"500000": 5}]] * 3


def test_who_unsubscribes_between_two_slices_gets_no_row_of_what_it_left(place):
    clients = [place.client(0, 1) for _ in range(3)]
    for _ in range(20):
        place.client(4)  # so that few of the members are concerned
    place.tick(0, 5)
    place.tick(1, 6)
    flush = place.flush()
    next(flush)  # rows were encoded
    next(flush)  # one was sent
    for outbox, wire in clients:
        if not wire.frames:
            place.hub.narrow(outbox, frozenset({1}))
    list(flush)
    assert sorted(len(volumes(each)) for _, wire in clients for each in wire.read()) == [1, 1, 2]


def test_who_moves_to_another_pace_between_two_slices_misses_nothing(place):
    clients = [place.client(0) for _ in range(3)]
    place.tick(0, 5)
    cohort = place.cohort
    flush = cohort.flush(place.now)
    next(flush)
    for outbox, _ in clients:
        place.hub.move(outbox, 1)
    list(flush)
    for each in list(place.hub.cohorts):
        list(each.flush(place.now))
    assert [[volumes(each) for each in wire.read()] for _, wire in clients] == [[{"500000": 5}]] * 3


def test_who_leaves_between_two_slices_gets_nothing_more(place):
    clients = [place.client(0) for _ in range(3)]
    place.tick(0, 5)
    flush = place.flush()
    next(flush)  # rows were encoded
    next(flush)  # one was sent
    for outbox, _ in clients:
        place.hub.leave(outbox)
        place.hub.leave(outbox)
    list(flush)
    assert sum(len(wire.frames) for _, wire in clients) == 1
    assert not place.hub.cohorts


def test_a_new_epoch_ends_a_flush_in_the_middle(place):
    clients = [place.client(0) for _ in range(3)]
    place.tick(0, 5)
    flush = place.flush()
    next(flush)  # rows were encoded
    next(flush)  # one was sent
    place.board.begin("20261124T0345Z-0000000000000001", 0, 1)
    place.hub.reset()
    list(flush)
    assert sum(len(wire.frames) for _, wire in clients) == 1
    assert all(not outbox.slots for outbox, _ in clients)


def test_a_board_that_goes_back_within_its_epoch_ends_a_flush_in_the_middle(place):
    """The bus lost its tail, and with it a scrip that was added there."""
    before = place.board.snapshot(0)
    place.board.add([Instrument(symbol="600000", id="NEW", name="A new scrip")])
    place.hub.grow()
    clients = [place.client(5) for _ in range(3)]
    place.tick(5, 5)
    flush = place.flush()
    next(flush)  # rows were encoded
    next(flush)  # one was sent
    place.board.load(before)
    place.hub.reset()
    list(flush)
    assert sum(len(wire.frames) for _, wire in clients) == 1
    assert all(not outbox.slots for outbox, _ in clients)


def test_pending_changes_come_before_the_snapshot_of_new_symbols_and_none_until_its_end(place):
    place = Place(PIECE * 5)
    outbox, wire = place.client(0)
    place.tick(0, 5)
    place.hub.add(outbox, frozenset(range(1, PIECE * 5)), 2, place.now)
    place.tick(0, 6)
    place.tick(1, 7)
    list(place.flush())
    assert [each["t"] for each in wire.read()] == ["u", "snap"], "of much, one piece at a time"
    assert place.hub.position(outbox) is None
    place.hub.pump(outbox, place.now)
    *_, sync = wire.read()
    assert sync["t"] == "sync"
    assert sync["count"] == PIECE * 5 - 1
    list(place.flush())
    (update,) = wire.read()
    assert volumes(update) == {"500000": 6, "500001": 7}


def test_a_large_snapshot_goes_out_a_piece_at_a_time(place):
    place = Place(PIECE * 6)
    outbox, wire = place.client()
    place.hub.add(outbox, place.hub.everything.slots, 1, place.now, everything=True)
    sent = [len(wire.frames)]
    while place.hub.pumping:
        place.hub.pump(outbox, place.now)
        sent.append(len(wire.frames))
    assert sent[:2] == [1, 2]
    *snaps, sync = wire.read()
    assert [len(each["q"]) for each in snaps] == [PIECE] * 6
    assert sync["count"] == PIECE * 6


def test_who_lets_go_of_everything_while_it_is_shown_gets_a_sync_that_counts_what_was(place):
    place = Place(PIECE * 6)
    outbox, wire = place.client()
    place.hub.add(outbox, place.hub.everything.slots, 1, place.now, everything=True)
    place.hub.narrow(outbox, frozenset({0, PIECE * 6 - 1}))
    place.hub.pump(outbox, place.now)
    snap, rest, sync = wire.read()
    assert (len(snap["q"]), len(rest["q"]), sync["count"]) == (PIECE, 1, PIECE + 1)
    place.tick(0, 5)
    place.tick(1, 6)
    list(place.flush())
    (update,) = wire.read()
    assert volumes(update) == {"500000": 5}
    assert not place.cohort.everyone


def test_what_was_let_go_of_before_its_snapshot_began_is_not_shown(place):
    outbox, wire = place.client()
    wire.full = True
    place.hub.add(outbox, place.hub.everything.slots, 1, place.now, everything=True)
    place.hub.narrow(outbox, frozenset({3}))
    wire.full = False
    place.hub.pump(outbox, place.now)
    snap, sync = wire.read()
    assert ([row["symbol"] for row in snap["q"]], sync["count"]) == (["500003"], 1)
    assert outbox.slots == {3}


def test_all_who_follow_everything_hold_the_same_slots_and_a_new_scrip_is_among_them(place):
    clients = [place.client() for _ in range(2)]
    for outbox, _ in clients:
        place.hub.add(outbox, place.hub.everything.slots, 1, place.now, everything=True)
    list(place.flush())
    (new,) = place.board.add([Instrument(symbol="600000", id="NEW", name="A new scrip")])
    place.hub.grow()
    for outbox, wire in clients:
        wire.frames.clear()
        place.hub.admit(outbox, frozenset({new.slot}), place.now)
        assert outbox.slots is place.hub.everything.slots
    place.tick(new.slot, 5)
    list(place.flush())
    for _, wire in clients:
        assert [each["t"] for each in wire.read()] == ["snap", "sync", "u"]


def test_a_wire_that_stays_full_without_progress_is_closed_and_one_that_empties_slowly_is_not(place):
    (stuck, one), (slow, two) = place.client(0), place.client(0)
    one.full = two.full = True
    for second in range(30):
        one.unsent, two.unsent = 100_000, 100_000 - second
        closed = place.hub.sweep(float(second))
        assert slow not in closed
        if second > SLOW_AFTER_S:
            assert closed == [stuck]
            break
    assert (one.closed, two.closed) == (4008, None)


def test_a_wire_that_is_not_full_is_never_stuck(place):
    _, wire = place.client(0)
    for second in range(30):
        wire.unsent = 1000 + second
        assert place.hub.sweep(float(second)) == []


def test_who_was_passed_over_often_is_told_so_when_it_can_hear(place):
    _, wire = place.client(0)
    wire.full = True
    for volume in range(1, 8):
        place.tick(0, volume)
        list(place.flush())
        place.hub.sweep(place.now)
    wire.full = False
    list(place.flush())
    place.hub.sweep(place.now)
    assert [each["t"] for each in wire.read()] == ["u", "lag"]


def test_more_members_than_a_cohort_takes_are_another_which_flushes_by_itself(place):
    place.hub.room = 2
    (first, wire), (second, _), (third, other) = (place.client() for _ in range(3))
    assert place.hub.cohort(first) is place.hub.cohort(second) is not place.hub.cohort(third)
    for outbox in (first, second, third):
        place.hub.add(outbox, frozenset({0}), 1, place.now)
    for cohort in place.hub.cohorts:
        list(cohort.flush(place.now))
    wire.frames.clear(), other.frames.clear()
    place.tick(0, 5)
    list(place.hub.cohort(first).flush(place.now))
    place.tick(0, 6)
    list(place.hub.cohort(third).flush(place.now))
    assert [volumes(each) for each in wire.read()] == [{"500000": 5}]
    assert [volumes(each) for each in other.read()] == [{"500000": 6}]
    place.hub.leave(second)
    assert place.hub.cohort(place.client()[0]) is place.hub.cohort(first), "there is room again"
    place.hub.leave(third)
    assert place.hub.cohorts == [place.hub.cohort(first)]
