"""What must never be seen, and what was."""

from collections.abc import Mapping
from typing import Any

from bhavcast.domain.position import Position


class Oracle:
    """Hears from every observer what it was shown, and keeps what contradicts the invariants."""

    def __init__(self) -> None:
        self.violations: list[str] = []
        self.observed = 0
        self._saw: dict[tuple[str, str, int], dict[str, Any]] = {}
        self._names: dict[tuple[str, str, int, str], frozenset[str]] = {}

    def object(self, what: str) -> None:
        """Keep a violation; the first are enough."""
        if len(self.violations) < 50:
            self.violations.append(what)

    def saw(self, who: str, epoch: str, quote: Mapping[str, Any], shape: str, depth: int) -> None:
        """Compare a quote with what anyone else was shown at the same revision."""
        self.observed += 1
        key = epoch, quote["symbol"], quote["rev"]
        known = self._saw.setdefault(key, {})
        for name, value in quote.items():
            name_here = f"depth {depth}" if name == "depth" else name
            if known.setdefault(name_here, value) != value:
                self.object(f"{who} saw {name} {value} of {key}, another {known[name_here]}")
        names = frozenset(quote)
        if (other := self._names.setdefault((*key, f"{shape}/{depth}"), names)) != names:
            self.object(f"{who} saw {key} as {shape} with {sorted(names ^ other)} more or less than another")

    def went_back(self, who: str, what: str, before: int, after: int) -> None:
        """Say that something that never goes back did."""
        self.object(f"{who}: {what} went back from {before} to {after}")

    def at_rest(self, who: str, held: Mapping[str, Any] | None, board: Mapping[str, Any], at: Position | None) -> None:
        """Compare what an observer holds of a scrip, once all is quiet, with the board."""
        if held is None:
            self.object(f"{who} at {at} holds nothing of {board['symbol']}")
        elif dict(held) != dict(board):
            wrong = {
                name: (held.get(name), board.get(name))
                for name in held.keys() | board.keys()
                if held.get(name) != board.get(name)
            }
            self.object(f"{who} at {at} holds of {board['symbol']} other than the board: {wrong}")
