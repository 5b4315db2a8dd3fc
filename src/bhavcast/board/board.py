"""The board: the last state of every scrip, with the revision at which each field last changed.

Pure: it never waits and never asks for the time. Ingest writes it (`apply`, `put`, `roll`), gateways keep replicas of it
(`follow`). Everything a reader needs to catch up from any position is in the field revisions; see
docs/explanation/state.md.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from bhavcast.domain import field
from bhavcast.domain.change import Change, Message, Packed, RowImage, Snapshot, refuse_redefinition
from bhavcast.domain.errors import BadRecord, BusHole
from bhavcast.domain.field import Held, Values
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.position import Position
from bhavcast.domain.price import percent_hundredths, rescale
from bhavcast.domain.tick import Source, Tick

try:
    from bhavcast.board._sheet import Cells, Sheet
except ImportError:  # the wheel was built without a C compiler
    from bhavcast.board.sheet import Cells, Sheet  # type: ignore[assignment]  # the same, in Python

LIVE: Final = "live"
NO_DATA: Final = "no_data"
# A fact: the scrips that were added within the epoch, with the revision after which they were there.
LISTED: Final = "listed"


class Row(Cells):
    """One scrip: its instrument, its values by field number, and the revision of each."""

    __slots__ = ("divisor", "hidden", "instrument", "symbol", "tick_state")

    def __init__(self, instrument: Instrument, sheet: Sheet) -> None:
        super().__init__(sheet, instrument.symbol, instrument.scale)
        self.instrument = instrument
        self.symbol = instrument.symbol
        self.divisor = instrument.divisor
        self.hidden = instrument.hidden  # shown only to whoever asks for it by name
        # What a tick makes of STATE: `live` while ticks are due, else what the phase says. Kept by the staleness sweep.
        self.tick_state = LIVE

    @property
    def has_data(self) -> bool:
        """Whether a source has ever spoken of this scrip."""
        return self[field.TIMESTAMP] is not None

    def price(self, number: int) -> int | None:
        """Return the value of a field that is a price, if there is one."""
        value = self[number]
        return value if isinstance(value, int) else None

    def redefine(self, instrument: Instrument) -> None:
        """Get another description. Where that changes the scale, prices are rescaled; one that does not fit is gone."""
        if instrument.scale != self.instrument.scale:
            for each in field.FIELDS:
                self[each.number] = _rescaled(self[each.number], each.kind, self.instrument, instrument)
        self.instrument, self.divisor, self.scale = instrument, instrument.divisor, instrument.scale

    def image(self) -> RowImage:
        """Return a copy that can be stored or sent."""
        values = [field.ladder(held) if isinstance(held, bytes) else held for held in self]
        return RowImage(self.symbol, self.rev, values, list(self.revs))

    def take(self, image: RowImage) -> None:
        """Become what an image shows. One with fewer fields is of an older format: those never had a value."""
        self.load(image.rev, image.values, image.revs)


class Board:
    """All rows at one position."""

    def __init__(self, epoch: str = "", rev: int = 0, token: int = 0) -> None:
        self.epoch = epoch
        self.rev = rev
        self.token = token
        self.sheet = Sheet(field.COUNT)
        self.rows: dict[str, Row] = {}
        self.order: list[Row] = []
        self.facts: dict[str, Any] = {}
        self._sealed = rev

    @property
    def position(self) -> Position:
        """How far this board has come."""
        return Position(self.epoch, self.rev)

    # -- what both the writer and the replicas do -------------------------------------------------------------------

    def add(self, instruments: Iterable[Instrument]) -> list[Row]:
        """Give each new instrument a row; an instrument that has one gets its new description. Return the new rows."""
        added = []
        for instrument in instruments:
            row = self.rows.get(instrument.symbol)
            if row is None:
                row = Row(instrument, self.sheet)
                self.rows[row.symbol] = row
                self.order.append(row)
                added.append(row)
            else:
                row.redefine(instrument)
        return added

    def _described(self, symbol: str) -> Instrument | None:
        row = self.rows.get(symbol)
        return None if row is None else row.instrument

    def load(self, snapshot: Snapshot) -> None:
        """Become what a snapshot describes, whatever this board was before."""
        self.__init__(snapshot.epoch, snapshot.rev, snapshot.token)  # type: ignore[misc]  # start anew, by the one rule
        self.add(snapshot.instruments)
        for image in snapshot.rows:
            self.rows[image.symbol].take(image)
        self.facts = dict(snapshot.facts)

    def catch_up(self, snapshot: Snapshot) -> list[int]:
        """Take over a later snapshot of the same epoch, rows keeping their slots; return those of the rows it changed."""
        self.add(snapshot.instruments)
        changed = []
        for image in snapshot.rows:
            row = self.rows[image.symbol]
            if image.rev > row.rev:
                row.take(image)
                changed.append(row.slot)
        self.facts.update(snapshot.facts)
        self.rev = self._sealed = max(self.rev, snapshot.rev)
        return changed

    def snapshot(self, market: int, *, planned: bool = False) -> Snapshot:
        """Return everything at this position; `market` is the market time."""
        return Snapshot(
            epoch=self.epoch,
            rev=self.rev,
            token=self.token,
            market=market,
            planned=planned,
            rows=[row.image() for row in self.order if row.rev],
            facts=dict(self.facts),
            instruments=[row.instrument for row in self.order],
        )

    # -- the replica ------------------------------------------------------------------------------------------------

    def follow(self, message: Message) -> list[int]:
        """Take over one message of the bus; return the slots of the rows it changed.

        Raises:
            BusHole: it is not the next one. Nothing of it was taken over.
            BadRecord: it redefines a scrip, or speaks of what there is not. Nothing of it was taken over.
        """
        if message.epoch != self.epoch or message.from_rev != self.rev + 1:
            raise BusHole(
                f"expected revision {self.rev + 1} of epoch {self.epoch}, got {message.from_rev} of {message.epoch}"
            )
        changed = None
        if isinstance(message.changes, Packed):  # in C these are not made into objects on the way
            changed = self.sheet.take(message.changes.encoded)
        if changed is None:
            changed = self._take(message)
        if message.facts:
            self.facts.update(message.facts)
        self.rev = self._sealed = message.to_rev
        return changed

    def _take(self, message: Message) -> list[int]:
        refuse_redefinition(message.instruments, self._described)
        new = {instrument.symbol for instrument in message.instruments}
        for change in message.changes:
            if change.symbol not in self.rows and change.symbol not in new:
                raise BadRecord(f"{change.symbol!r} is no scrip of the board")
            if not change.values.keys() <= field.NUMBERS:
                raise BadRecord(f"a field number of {change.symbol!r} is not in 0 to {field.COUNT - 1}")
        self.add(message.instruments)
        changed = [self.rows[change.symbol] for change in message.changes]
        for row, change in zip(changed, message.changes, strict=True):
            row.put(change.rev, change.values)
        return [row.slot for row in changed]

    # -- the writer -------------------------------------------------------------------------------------------------

    def apply(self, source: Source, ticks: list[Tick]) -> list[Change]:
        """Fold ticks into the rows; return what changed, each change at a revision of its own.

        A tick that says nothing new changes nothing, but for its time. Ticks of unknown symbols are the guard's to stop.
        """
        changes = []
        rows, rev = self.rows, self.rev
        name, mode, grade, period = source.name, source.mode, source.grade, source.period_ms
        for tick in ticks:
            row = rows[tick.symbol]
            changed = row.differing(tick.values)
            if row[field.TIMESTAMP] != tick.time:
                changed[field.TIMESTAMP] = tick.time
            if row[field.SOURCE] != name or row[field.MODE] != mode:
                changed[field.SOURCE], changed[field.MODE] = name, mode
                changed[field.GRADE], changed[field.PERIOD_MS] = grade, period
            if row[field.STATE] != row.tick_state:
                changed[field.STATE] = row.tick_state
            if not changed:
                continue
            derive(row, changed)
            rev += 1
            row.put(rev, changed)
            changes.append(Change(row.symbol, rev, changed))
        self.rev = rev
        return changes

    def put(self, row: Row, values: Values) -> Change | None:
        """Set fields of one row for a reason other than a tick; return the change, if it is one."""
        changed = row.differing(values)
        if not changed:
            return None
        derive(row, changed)
        self.rev += 1
        row.put(self.rev, changed)
        return Change(row.symbol, self.rev, changed)

    def seal(
        self,
        published: int,
        *,
        received: int = 0,
        changes: list[Change] | None = None,
        facts: dict[str, Any] | None = None,
        instruments: list[Instrument] | None = None,
    ) -> Message:
        """Make the message that carries everything since the last one; a message without changes takes a revision.

        Raises:
            BadRecord: one of `instruments` is known and described otherwise: only a new epoch can do that.
        """
        if instruments:
            refuse_redefinition(instruments, self._described)
            new = self.add(instruments)
            listed = {**self.facts.get(LISTED, {}), **{row.symbol: self.rev + 1 for row in new}}
            facts = {**(facts or {}), LISTED: listed}
        if facts:
            self.facts.update(facts)
        if self.rev == self._sealed:
            self.rev += 1
        message = Message(
            epoch=self.epoch,
            token=self.token,
            from_rev=self._sealed + 1,
            to_rev=self.rev,
            published=published,
            received=received,
            changes=changes or [],
            facts=facts or {},
            instruments=instruments or [],
        )
        self._sealed = self.rev
        return message

    def begin(self, epoch: str, first_rev: int, token: int) -> None:
        """Begin a new epoch with the values as they are; its first revision is above every known one.

        The rows are stamped with it. A row that kept its revision could be older than what a reader has seen of it in
        the epoch before, whose tail may be lost.
        """
        self.epoch, self.token = epoch, token
        self.facts.pop(LISTED, None)
        self.rev = self._sealed = max(self.rev + 1, first_rev)
        for row in self.order:
            if row.rev:
                row.stamp(self.rev)

    def roll(self, opening: Callable[[Row], Values]) -> None:
        """Begin a new day: empty the day's fields, and set what `opening` says of each row (previous close, limits).

        Called right after `begin`: every row that changes does so at the epoch's first revision.
        """
        for row in self.order:
            self._state(row, dict.fromkeys(field.DAY_FIELDS) | opening(row))

    def complete(self, opening: Callable[[Row], Values]) -> None:
        """Set what `opening` says of the rows that came in mid-day, and have no previous close yet; after `begin` too."""
        for row in self.order:
            if row[field.PREVIOUS_CLOSE] is None:
                self._state(row, opening(row))

    def _state(self, row: Row, said: Values) -> None:
        changed = row.differing(said)
        if changed:
            derive(row, changed)
            row.put(self.rev, changed)


def _rescaled(value: Held, kind: field.Kind, old: Instrument, new: Instrument) -> Held:
    try:
        if kind is field.Kind.PRICE and isinstance(value, int):
            return rescale(value, old.scale, new.scale)
        if kind is field.Kind.LADDER and (ladder := field.ladder(value)) is not None:
            return tuple((rescale(price, old.scale, new.scale), *rest) for price, *rest in ladder)  # type: ignore[misc]  # levels stay levels
    except ValueError:
        return None
    return value


def derive(held: Row, changed: Values) -> None:
    """Add to `changed` what follows from it: the change against the previous close, absolute and in per cent."""
    if not (field.CURRENT_PRICE in changed or field.CLOSE_PRICE in changed or field.PREVIOUS_CLOSE in changed):
        return
    last = changed.get(field.CLOSE_PRICE, held[field.CLOSE_PRICE])
    if last is None:
        last = changed.get(field.CURRENT_PRICE, held[field.CURRENT_PRICE])
    previous = changed.get(field.PREVIOUS_CLOSE, held[field.PREVIOUS_CLOSE])
    move: int | None = None
    percent: int | None = None
    if isinstance(last, int) and isinstance(previous, int):
        move = last - previous
        percent = percent_hundredths(move, previous)
    if held[field.CHANGE] != move:
        changed[field.CHANGE] = move
    if held[field.PERCENT_CHANGE] != percent:
        changed[field.PERCENT_CHANGE] = percent
