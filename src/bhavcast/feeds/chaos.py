"""Chaos on demand: a feed that misbehaves by a seed, wrapped around any feed that does not.

The same seed over the same batches misbehaves the same way: chance is drawn per batch and tick, and a stall is measured
in the batches' own market time, so that nothing depends on when it runs.

    stall=1%:3s,duplicate=0.5%,reorder=1%,drop=1%,bad_tick=0.1%
"""

import difflib
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec

from bhavcast.domain import field
from bhavcast.domain.errors import BadConfig
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.tick import Batch, FeedState, Source, Tick
from bhavcast.feeds.port import Feed

REORDER_MS: Final = (
    2_000  # ms of market time after which a held-back tick comes without waiting for the next of its scrip
)
FUTURE_MS: Final = 3_600_000  # ms by which a bad stamp is ahead
STALL_MS: Final = 3_000  # ms of a stall that does not say how long

_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)%", re.ASCII)
_SPAN = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)(ms|s)", re.ASCII)


class Chaos(msgspec.Struct, frozen=True, kw_only=True):
    """How often what goes wrong, as shares from 0 to 1.

    stall: of batches with which the feed falls silent for `stall_ms` of market time; what came meanwhile follows at once.
    duplicate: of ticks that come twice. reorder: of ticks that come after the next one of their scrip. drop: of ticks
    that never come. bad_tick: of ticks of which one thing is wrong.
    """

    stall: float = 0.0
    stall_ms: int = STALL_MS
    duplicate: float = 0.0
    reorder: float = 0.0
    drop: float = 0.0
    bad_tick: float = 0.0

    @classmethod
    def parse(cls, text: str) -> "Chaos":
        """Read `stall=1%:3s,duplicate=0.5%,reorder=1%,drop=1%,bad_tick=0.1%`, each part at most once.

        Raises:
            BadConfig: names the part that is wrong, what was expected, and what came.
        """
        known: dict[str, float | int] = {}
        for part in text.split(","):
            name, _, setting = part.strip().partition("=")
            if name not in _SHARES:
                near = difflib.get_close_matches(name, _SHARES, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise _bad(f"expected one of {', '.join(_SHARES)}, got {name[:40]!r}{hint}")
            if name in known:
                raise _bad(f"expected {name} once, got it again as {part.strip()[:40]!r}")
            share, colon, span = setting.partition(":")
            known[name] = _share(name, share)
            if colon and name != "stall":
                raise _bad(f"{name}: expected a share such as 1%, got {setting[:40]!r}")
            if colon:
                known["stall_ms"] = _span_ms(name, span)
        return msgspec.convert(known, cls)


_SHARES: Final = ("stall", "duplicate", "reorder", "drop", "bad_tick")


def _bad(detail: str) -> BadConfig:
    return BadConfig(detail, field="chaos")


def _share(name: str, text: str) -> float:
    match = _SHARE.fullmatch(text)
    if match is None or float(match[1]) > 100:
        raise _bad(f"{name}: expected a share from 0% to 100%, got {text[:40]!r}")
    return float(match[1]) / 100


def _span_ms(name: str, text: str) -> int:
    match = _SPAN.fullmatch(text)
    if match is None or float(match[1]) == 0:
        raise _bad(f"{name}: expected a time such as 3s or 500ms after the colon, got {text[:40]!r}")
    return round(float(match[1]) * (1_000 if match[2] == "s" else 1))


class ChaosFeed:
    """A feed through which another one comes, stalled, doubled, shuffled, thinned and bent.

    Args:
        feed: the well-behaved one.
        chaos: what goes wrong, and how often.
        seed: the same one over the same batches does the same again.
        tick_of: the tick size of a symbol, so that a price can be put off it; 1 where it is not known.
    """

    def __init__(
        self, feed: Feed, chaos: Chaos, *, seed: int, tick_of: Callable[[str], int] = lambda symbol: 1
    ) -> None:
        self.source: Source = feed.source
        self.counts: Counter[str] = Counter()
        self._feed = feed
        self._chaos = chaos
        self._random = random.Random(seed)
        self._tick_of = tick_of
        self._stalled_until: int | None = None
        self._held: list[Tick] = []
        # Ticks that wait for the next one of their scrip, and the time after which they wait no longer.
        self._waiting: dict[str, tuple[int, Tick]] = {}
        self._priced: set[str] = set()

    @property
    def state(self) -> FeedState:
        """What the wrapped feed says; a stall is for others to find out."""
        return self._feed.state

    def instruments(self) -> list[Instrument]:
        """Return what the wrapped feed knows."""
        return self._feed.instruments()

    async def batches(self) -> AsyncIterator[Batch]:
        """Yield a batch for each of the wrapped feed's; empty ones in a stall, and a last one with what was held."""
        received = 0
        async for batch in self._feed.batches():
            received = batch.received
            yield self._through(batch)
        rest = self._held + [tick for _, tick in self._waiting.values()]
        self._held, self._waiting = [], {}
        if rest:
            yield Batch(self.source, received, rest)

    async def close(self) -> None:
        """Close the wrapped feed."""
        await self._feed.close()

    def _through(self, batch: Batch) -> Batch:
        now = batch.received
        if self._stalled_until is None and self._chaos.stall and self._random.random() < self._chaos.stall:
            self._stalled_until = now + self._chaos.stall_ms
            self.counts["stall"] += 1
        if self._stalled_until is not None:
            if now < self._stalled_until:
                self._held += batch.ticks
                return Batch(batch.source, now, [])
            self._stalled_until = None
        ticks = self._held + batch.ticks
        self._held = []
        said: list[Tick] = []
        for tick in ticks:
            self._say(tick, now, said)
        for symbol, (until, tick) in list(self._waiting.items()):
            if until <= now:
                del self._waiting[symbol]
                said.append(tick)
        return Batch(batch.source, now, said)

    def _say(self, tick: Tick, now: int, said: list[Tick]) -> None:
        chaos, chance, symbol = self._chaos, self._random.random, tick.symbol
        if chance() < chaos.drop:
            self.counts["drop"] += 1
            return
        if chance() < chaos.bad_tick:
            tick = self._bent(tick)
        elif field.CURRENT_PRICE in tick.values:
            self._priced.add(symbol)
        if chance() < chaos.reorder and symbol not in self._waiting:
            self._waiting[symbol] = (now + REORDER_MS, tick)
            self.counts["reorder"] += 1
            return
        said.append(tick)
        if symbol in self._waiting:
            said.append(self._waiting.pop(symbol)[1])
        if chance() < chaos.duplicate:
            self.counts["duplicate"] += 1
            said.append(tick)

    def _bent(self, tick: Tick) -> Tick:
        """Return the tick with one thing wrong that a guard must see, out of the wrongs that this tick has room for."""
        first = self._random.randrange(len(_WRONGS))
        for wrong in (*_WRONGS[first:], *_WRONGS[:first]):
            bent = wrong(tick, self._tick_of(tick.symbol), tick.symbol in self._priced)
            if bent is not None:
                self.counts["bad_tick"] += 1
                self.counts[wrong.__name__.strip("_")] += 1
                return bent
        return tick


def _price(tick: Tick, which: int) -> int:
    value = tick.values.get(which)
    return value if isinstance(value, int) else 0


def _swapped(tick: Tick, above: int, below: int) -> Tick | None:
    high, low = _price(tick, above), _price(tick, below)
    return Tick(tick.symbol, tick.time, tick.values | {above: low, below: high}) if high > low > 0 else None


def _tenfold(tick: Tick, step: int, priced: bool) -> Tick | None:
    # Only after a good price of the scrip: the day's very first one has nothing that it could contradict.
    price = _price(tick, field.CURRENT_PRICE)
    return Tick(tick.symbol, tick.time, tick.values | {field.CURRENT_PRICE: price * 10}) if priced and price else None


def _negative(tick: Tick, step: int, priced: bool) -> Tick | None:
    price = _price(tick, field.CURRENT_PRICE)
    return Tick(tick.symbol, tick.time, tick.values | {field.CURRENT_PRICE: -price}) if price else None


def _off_tick(tick: Tick, step: int, priced: bool) -> Tick | None:
    price = _price(tick, field.CURRENT_PRICE)
    off = tick.values | {field.CURRENT_PRICE: price + 1}
    return Tick(tick.symbol, tick.time, off) if price and step > 1 else None


def _crossed(tick: Tick, step: int, priced: bool) -> Tick | None:
    return _swapped(tick, field.ASK_PRICE, field.BID_PRICE)


def _inverted(tick: Tick, step: int, priced: bool) -> Tick | None:
    return _swapped(tick, field.HIGH, field.LOW)


def _future(tick: Tick, step: int, priced: bool) -> Tick | None:
    return Tick(tick.symbol, tick.time + FUTURE_MS, tick.values)


_WRONGS: Final = (_tenfold, _negative, _off_tick, _crossed, _inverted, _future)
