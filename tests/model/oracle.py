"""What must never be seen, whoever looks."""

from collections.abc import Mapping

from tests.model.board import Pos, Quote, Shape, Value


class Violation(AssertionError):
    """An invariant of the rules does not hold."""


class Oracle:
    """Remember what observers saw, and compare."""

    def __init__(self, loss_allowed: bool) -> None:
        self.loss_allowed = loss_allowed
        self.saw: dict[tuple[str, str, int], dict[str, Value]] = {}

    def observe(self, who: str, epoch: str, symbol: str, rev: int, values: Mapping[str, Value]) -> None:
        """Invariant 2: whoever saw the same (epoch, symbol, rev) saw equal values."""
        known = self.saw.setdefault((epoch, symbol, rev), {})
        for name, value in values.items():
            if known.setdefault(name, value) != value:
                raise Violation(f"{who} saw {symbol}.{name}={value} at {epoch}:{rev}, another saw {known[name]}")

    def lost(self, who: str) -> None:
        """History may be declared lost only where a clock ran ahead before."""
        if not self.loss_allowed:
            raise Violation(f"{who} declared history lost that was not")


class Witness:
    """What one reader was ever shown: invariants 3 and 4 for positions and rows."""

    def __init__(self, who: str, oracle: Oracle) -> None:
        self.who, self.oracle = who, oracle
        self.top = 0
        self.best: dict[str, int] = {}

    def starts_over(self, lost: bool) -> None:
        """Forget after a declared loss; where a clock ran ahead, epochs may overlap and any reset may be one."""
        if lost or self.oracle.loss_allowed:
            self.top, self.best = 0, {}

    def moved(self, pos: Pos) -> None:
        if pos.rev < self.top:
            raise Violation(f"{self.who}: position {pos.epoch}:{pos.rev} after {self.top}")
        self.top = pos.rev

    def held(self, epoch: str, symbol: str, row: Quote, shape: Shape) -> None:
        """Take note of a row as it is held now, cleared fields as None."""
        if row.rev < self.best.get(symbol, 0):
            raise Violation(f"{self.who}: {symbol} went back to {row.rev} after {self.best[symbol]}")
        self.best[symbol] = row.rev
        self.oracle.observe(self.who, epoch, symbol, row.rev, {f: row.values.get(f) for f in shape})
