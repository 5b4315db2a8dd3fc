"""Who trades: the scrips and indices of a universe, each with a character."""

import math
from random import Random
from typing import Final, NamedTuple

from bhavcast.domain.price import nearest_tick
from bhavcast.domain.universe import Universe
from bhavcast.feeds.sim.indices import IndexState
from bhavcast.feeds.sim.returns import SESSION_MS
from bhavcast.feeds.sim.scrip import Scrip

# A: activity falls with the rank as in Zipf's law; the offset keeps the first few from taking everything.
RANK_OFFSET: Final = 15


class Character(NamedTuple):
    """How lively scrips of a kind are (A): a session's standard deviation of their own, market beta, usual spread."""

    rank: int
    sigma: float
    beta: tuple[float, float]
    spread_bps: float


MEMBER: Final = Character(0, 0.010, (0.8, 1.2), 3)
LIQUID: Final = Character(1, 0.014, (0.7, 1.2), 8)
ORDINARY: Final = Character(2, 0.020, (0.5, 1.0), 25)
THIN: Final = Character(3, 0.026, (0.3, 0.8), 60)
_BY_GROUP: Final = {"A": LIQUID, "B": ORDINARY, "E": ORDINARY}

# A: how far the year's high and low are from the last close, as parts of it.
YEAR_ABOVE: Final = (0.04, 0.60)
YEAR_BELOW: Final = (0.04, 0.45)


def indices_of(universe: Universe) -> list[IndexState]:
    """Return the indices that can be computed: those whose members all have a close."""
    closes = universe.closes
    return [IndexState(basis) for basis in universe.indices if all(closes.get(symbol) for symbol in basis.members)]


def scrips_of(universe: Universe, indices: list[IndexState], seed: int) -> tuple[list[Scrip], int]:
    """Return the active scrips that have a close, the most traded first, and the number of sectors."""
    chance = Random(f"{seed}:roster")
    sectors: dict[str, int] = {"": 0}
    worth = _worth(universe, indices)
    entries = []
    for symbol in sorted(universe.closes):
        instrument = universe.instruments.get(symbol)
        if instrument is None or instrument.is_index or instrument.status != "A" or universe.closes[symbol] <= 0:
            continue
        kind = MEMBER if symbol in worth else _BY_GROUP.get(instrument.group, THIN)
        sector = sectors.setdefault(instrument.sector, len(sectors))
        scrip = Scrip(instrument, sector)
        _characterise(scrip, kind, universe.closes[symbol], chance)
        entries.append(((kind.rank, -worth.get(symbol, 0), chance.random()), scrip))
    entries.sort(key=lambda entry: entry[0])
    scrips = [scrip for _, scrip in entries]
    for rank, scrip in enumerate(scrips):
        scrip.weight = 1 / (rank + RANK_OFFSET)
        scrip.indices = tuple(
            (index, shares) for index in indices if (shares := index.basis.members.get(scrip.symbol)) is not None
        )
    return scrips, len(sectors)


def _worth(universe: Universe, indices: list[IndexState]) -> dict[str, int]:
    worth: dict[str, int] = {}
    for index in indices:
        for symbol, shares in index.basis.members.items():
            worth[symbol] = max(worth.get(symbol, 0), shares * universe.closes[symbol])
    return worth


def _characterise(scrip: Scrip, kind: Character, close: int, chance: Random) -> None:
    scrip.sigma = kind.sigma * chance.uniform(0.8, 1.25) / math.sqrt(SESSION_MS)
    scrip.beta = chance.uniform(*kind.beta)
    scrip.spread_bps = kind.spread_bps * chance.uniform(0.7, 1.4)
    scrip.year_high = nearest_tick(int(close * (1 + chance.uniform(*YEAR_ABOVE))), scrip.tick)
    scrip.year_low = max(scrip.tick, nearest_tick(int(close * (1 - chance.uniform(*YEAR_BELOW))), scrip.tick))
