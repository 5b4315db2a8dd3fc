"""Indices, kept equal to their formula by adding what each trade changes."""

from bhavcast.domain import field
from bhavcast.domain.field import Values
from bhavcast.domain.index import IndexBasis
from bhavcast.domain.tick import Tick


class IndexState:
    """An index in its day. `cap` is what the members are worth at their last trades; `moved`: since the last tick."""

    __slots__ = ("basis", "cap", "close", "high", "last", "low", "moved", "open", "previous", "stated")

    def __init__(self, basis: IndexBasis) -> None:
        self.basis = basis
        self.new_day(0, 0)

    def new_day(self, cap: int, previous: int) -> None:
        """Begin with members worth `cap` at their previous closes; `previous` is the index's own."""
        self.cap = cap
        self.previous = previous
        self.open = self.high = self.low = self.last = self.close = 0
        self.moved = self.stated = False

    def restore(self, row: Values) -> None:
        """Go on from the figures of a board; `cap` has been brought up to date by the members."""
        known = {number: value for number, value in row.items() if isinstance(value, int)}
        self.previous = known.get(field.PREVIOUS_CLOSE, self.previous)
        self.open = known.get(field.OPEN, 0)
        self.high = known.get(field.HIGH, 0)
        self.low = known.get(field.LOW, 0)
        self.last = known.get(field.CURRENT_PRICE, 0)
        self.close = known.get(field.CLOSE_PRICE, 0)
        self.moved = bool(self.open)

    def moved_by(self, percent: int) -> bool:
        """Return whether the index is at least `percent` away from its previous close."""
        now = self.basis.value(self.cap)
        return bool(self.previous) and abs(now - self.previous) * 100 >= percent * self.previous

    def tick(self, now: int) -> Tick:
        """Return the index as it stands."""
        self.moved = False
        self.last = self.basis.value(self.cap)
        if not self.open:
            self.open = self.high = self.low = self.last
        self.high = max(self.high, self.last)
        self.low = min(self.low, self.last)
        return Tick(self.basis.symbol, now, self._values())

    def basis_tick(self, now: int) -> Tick:
        """Return the day's first statement."""
        self.stated = True
        return Tick(self.basis.symbol, now, {field.PREVIOUS_CLOSE: self.previous})

    def finish(self, now: int, cap: int) -> Tick:
        """Determine the close, from members worth `cap` at their closes."""
        self.close = self.basis.value(cap)
        return Tick(self.basis.symbol, now, {field.CLOSE_PRICE: self.close})

    def whole(self, now: int) -> Tick:
        """Return everything there is to say."""
        if self.moved or self.open:
            tick = self.tick(now)
            tick.values[field.PREVIOUS_CLOSE] = self.previous
            if self.close:
                tick.values[field.CLOSE_PRICE] = self.close
            return tick
        return self.basis_tick(now)

    def _values(self) -> Values:
        values: Values = {
            field.CURRENT_PRICE: self.last,
            field.OPEN: self.open,
            field.HIGH: self.high,
            field.LOW: self.low,
        }
        if not self.stated:
            self.stated = True
            values[field.PREVIOUS_CLOSE] = self.previous
        return values
