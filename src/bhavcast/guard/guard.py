"""The guard: whether a tick is to be believed, before anyone else hears of it."""

from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from bhavcast.domain import field
from bhavcast.domain.errors import BadRequest
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.price import format_price
from bhavcast.domain.session import Phase
from bhavcast.domain.tick import Batch, Source, Tick
from bhavcast.guard.glance import glance
from bhavcast.guard.quarantine import Entry, Quarantine
from bhavcast.guard.rules import (
    CANARY,
    FUTURE_MS,
    RULES,
    UNKNOWN_SYMBOL,
    Correction,
    Finding,
    Memory,
    Rule,
    Sight,
    Suspicion,
    near,
    number,
)

CORRECTION_TIMES: Final = 3  # times a claim is heard before it is believed (K: our own rule)
CORRECTION_MS: Final = 2_000  # ms between the first and the last of them, at least (K: our own rule)
SIGHTING_MS: Final = 500  # ms after which a repetition counts again: a duplicated packet is one utterance (A)
SUSPEND_PERCENT: Final = 1  # per cent of a source's scrips above which a rule doubts itself (K: our own rule)
SUSPEND_SCRIPS: Final = 10  # scrips up to which it does not, however few the source has: random faults meet so many (A)
SUSPEND_WINDOW_MS: Final = 60_000  # ms within which they are counted (K: our own rule)
SUSPENDED_MS: Final = 600_000  # ms after which a suspended rule tries again (A)
LOGGED: Final = 20  # newest corrections and suspensions told to everyone (A)

# A polled source that says the same again says that it is still so; any other one merely repeats a packet.
_REPEATS_ON_PURPOSE: Final = ("polled", "eod")
# What could only do harm: the board cannot hold the one, and would find everything after the other late.
_NOT_RELEASED: Final = ("form", "future")


class _Watch:
    """All that is remembered of one source."""

    __slots__ = ("memories", "official", "rejected", "repeats", "suspended")

    def __init__(self, source: Source) -> None:
        self.memories: dict[str, Memory] = {}
        self.repeats = source.grade in _REPEATS_ON_PURPOSE
        # An official day is the exchange's own word, and the master may be of another year: a tick size or a band that
        # came later is not held against it.
        self.official = source.grade == "eod"
        # Per rule the scrips it rejects now: since when, until something of the scrip passes it.
        self.rejected: dict[str, dict[str, int]] = {}
        self.suspended: dict[str, int] = {}


class _Objection(NamedTuple):
    rule: Rule
    finding: Finding


class Guard:
    """Pass on the ticks that can be believed, in order; quarantine the others with a reason.

    Args:
        instrument_of: the scrip of a symbol (a provisional one counts), or None.
        phase_of: the phase of a scrip at a time (market time, ms).
        close_of: the previous close of a symbol, for sources that do not give one; None where there is none.
        quarantine: where rejected ticks wait.
    """

    def __init__(
        self,
        instrument_of: Callable[[str], Instrument | None],
        phase_of: Callable[[Instrument, int], Phase],
        close_of: Callable[[str], int | None] = lambda symbol: None,
        quarantine: Quarantine | None = None,
    ) -> None:
        self._instrument_of = instrument_of
        self._phase_of = phase_of
        self._close_of = close_of
        self.quarantine = Quarantine() if quarantine is None else quarantine
        self._watches: dict[str, _Watch] = {}
        self._corrections: deque[dict[str, Any]] = deque(maxlen=LOGGED)
        self._suspensions: deque[dict[str, Any]] = deque(maxlen=LOGGED)
        self._told: dict[str, Any] = {}
        self._news = True
        self.checked = 0
        self.late = 0
        self.duplicates = 0
        self.corrected = 0

    def check(self, batch: Batch) -> list[Tick]:
        """Return the ticks of a batch that are believed, in order; the batch's own list when all are."""
        watch = self._watches.get(batch.source.name)
        if watch is None:
            watch = self._watches[batch.source.name] = _Watch(batch.source)
        memory_of = watch.memories.get
        ticks = batch.ticks
        horizon = batch.received + FUTURE_MS
        rejected: list[int] = []
        for place, tick in enumerate(ticks):
            memory = memory_of(tick.symbol)
            try:
                plain = memory is not None and glance(tick, memory, horizon)
            except (TypeError, ValueError):
                plain = False  # a value of the wrong type or shape: the rule "form" will say so
            if memory is not None and plain:
                if memory.suspicions is not None:
                    self._clear(watch, tick, memory, ())
            elif not self._judge(watch, batch, tick, memory):
                rejected.append(place)
        self.checked += len(ticks)
        if not rejected:
            return ticks
        unwanted = set(rejected)
        return [tick for place, tick in enumerate(ticks) if place not in unwanted]

    def release(self, entry_id: int) -> Entry:
        """Hand out a quarantined tick after all, and believe its source from there on; the caller applies it.

        Raises:
            BadRequest: it is not in quarantine, could only do harm, its scrip is still unknown, or a newer tick of the
                scrip has been believed meanwhile.
        """
        entry = self.quarantine.get(entry_id)
        tick = entry.tick
        if entry.rule in _NOT_RELEASED:
            raise BadRequest(f"expected a tick that can be believed, but {entry.reason}", field="id")
        watch = self._watches.setdefault(entry.source.name, _Watch(entry.source))
        memory = watch.memories.get(tick.symbol) or self._begin(watch, tick, entry.at)
        if memory is None:
            raise BadRequest(f"expected a tick of a known scrip, got one of {tick.symbol}", field="id")
        if tick.time < memory.time:
            raise BadRequest(
                f"expected the newest word on {tick.symbol}, but a newer one has been believed", field="id"
            )
        memory.remember(tick)
        self._clear(watch, tick, memory, ())
        self._news = True
        return self.quarantine.release(entry_id)

    def roll(self) -> None:
        """Forget everything, as at the day roll: another day compares with nothing of this one."""
        self._watches.clear()
        self.quarantine.clear()
        self._corrections.clear()
        self._suspensions.clear()
        self._news = True
        self.late = self.duplicates = self.corrected = 0

    def facts(self) -> dict[str, Any]:
        """Return what changed since the last call, by name of fact: `quarantine` and `guard`; {} if nothing did."""
        if not self._news:
            return {}
        self._news = False
        present = {
            "quarantine": self.quarantine.facts(),
            "guard": {"corrections": list(self._corrections), "suspensions": list(self._suspensions)},
        }
        fresh = {name: fact for name, fact in present.items() if self._told.get(name) != fact}
        self._told.update(fresh)
        return fresh

    # The close look, for the few that a glance did not settle.

    def _judge(self, watch: _Watch, batch: Batch, tick: Tick, memory: Memory | None) -> bool:
        if tick.symbol == CANARY:
            return True
        if memory is None or memory.until <= tick.time <= batch.received + FUTURE_MS:
            memory = self._begin(watch, tick, batch.received)
            if memory is None:
                reason = f"expected a scrip of the master or a provisional one, got {tick.symbol[:40]!r}"
                self._quarantine(batch, tick, UNKNOWN_SYMBOL, reason)
                return False
        if tick.time < memory.time or (tick.time == memory.time and self._older(tick, memory)):
            self.late += 1
            return False
        if tick.time == memory.time and tick.values == memory.values:
            self.duplicates += 1
            return watch.repeats
        sight = Sight(tick, tick.values, memory.instrument, memory, batch.received)
        objections = self._objections(watch, sight)
        doubted = [each for each in objections if not self._believed(watch, sight, each)]
        if not (objections and objections[0].rule.name == "form"):
            self._clear(watch, tick, memory, tuple(each.rule.name for each in objections))
        if doubted:
            self._reject(watch, batch, tick, memory, doubted[0])
            return False
        memory.remember(tick)
        return True

    def _begin(self, watch: _Watch, tick: Tick, received: int) -> Memory | None:
        instrument = self._instrument_of(tick.symbol)
        if instrument is None:
            return None
        if watch.official:
            instrument = msgspec.structs.replace(instrument, tick=1, band=None)
        memory = Memory(instrument, min(tick.time, received), self._close_of(tick.symbol))
        watch.memories[tick.symbol] = memory
        return memory

    @staticmethod
    def _older(tick: Tick, memory: Memory) -> bool:
        """Whether a tick with the stamp of the last one was said before it: sources' stamps can be coarse."""
        volume = number(tick.values, field.VOLUME)
        return volume is not None and volume < memory.volume

    def _objections(self, watch: _Watch, sight: Sight) -> list[_Objection]:
        objections = []
        kind, at = sight.instrument.kind, sight.tick.time
        for rule in RULES:
            if kind not in rule.kinds:
                continue
            finding = rule.check(sight)
            if finding is None or (rule.continuous and self._phase_of(sight.instrument, at) != "continuous"):
                continue
            if watch.suspended.get(rule.name, 0) > sight.received:
                continue
            objections.append(_Objection(rule, finding))
            if rule.name == "form":
                break  # the other rules count on well-formed values
        return objections

    def _believed(self, watch: _Watch, sight: Sight, objection: _Objection) -> bool:
        """Count one more claim against a rule; whether it was heard often and long enough, or elsewhere too."""
        rule, finding = objection
        memory, now = sight.memory, sight.received
        suspicions = memory.suspicions = memory.suspicions or {}
        before = suspicions.get(rule.name)
        if before is None or not _agrees(rule, before.field, before.came, finding, memory.step):
            claim = Suspicion(finding.field, finding.came, 1, now, now)
        elif now - before.heard >= SIGHTING_MS:
            claim = Suspicion(finding.field, finding.came, before.times + 1, before.since, now)
        else:
            claim = before._replace(came=finding.came)
        suspicions[rule.name] = claim
        if rule.correction is Correction.NEVER:
            return False
        if claim.times >= CORRECTION_TIMES and now - claim.since >= CORRECTION_MS:
            why = f"heard {claim.times} times in {(now - claim.since) / 1000:.1f} s"
        elif (other := self._second_source(watch, sight, objection)) is not None:
            why = f"{other} says so too"
        else:
            return False
        if sight.tick.symbol in watch.rejected.get(rule.name, {}) or before is None:
            self._log_correction(sight, objection, why)
        watch.rejected.get(rule.name, {}).pop(sight.tick.symbol, None)
        return True

    def _second_source(self, watch: _Watch, sight: Sight, objection: _Objection) -> str | None:
        rule, finding = objection
        for name, other in self._watches.items():
            memory = other.memories.get(sight.tick.symbol)
            if other is watch or memory is None or memory.until != sight.memory.until:
                continue
            suspicion = (memory.suspicions or {}).get(rule.name)
            said = number(memory.values, finding.field)
            if (suspicion is not None and _agrees(rule, suspicion.field, suspicion.came, finding, memory.step)) or (
                said is not None and _agrees(rule, finding.field, said, finding, memory.step)
            ):
                return name
        return None

    def _clear(self, watch: _Watch, tick: Tick, memory: Memory, objecting: tuple[str, ...]) -> None:
        """Drop the suspicions that a tick contradicts: it speaks of the field, and the rule finds nothing wrong."""
        if memory.suspicions is None:
            return
        for name, suspicion in list(memory.suspicions.items()):
            spoken_of = suspicion.field in tick.values or suspicion.field == field.TIMESTAMP
            if name not in objecting and spoken_of:
                del memory.suspicions[name]
                watch.rejected.get(name, {}).pop(tick.symbol, None)
        if not memory.suspicions:
            memory.suspicions = None

    def _reject(self, watch: _Watch, batch: Batch, tick: Tick, memory: Memory, objection: _Objection) -> None:
        rule, finding = objection
        reason = rule.reason.format(
            field=field.FIELDS[finding.field].name,
            expected=finding.expected,
            came=_written(finding, memory.instrument),
        )
        self._quarantine(batch, tick, rule.name, reason)
        scrips = watch.rejected.setdefault(rule.name, {})
        scrips.pop(tick.symbol, None)
        scrips[tick.symbol] = batch.received
        enough = max(SUSPEND_SCRIPS, len(watch.memories) * SUSPEND_PERCENT // 100)
        if len(scrips) > enough:
            for symbol, at in list(scrips.items()):
                if batch.received - at <= SUSPEND_WINDOW_MS:
                    break
                del scrips[symbol]
        if len(scrips) > enough:
            self._suspend(watch, batch, rule.name, len(scrips))

    def _suspend(self, watch: _Watch, batch: Batch, rule: str, scrips: int) -> None:
        until = batch.received + SUSPENDED_MS
        watch.suspended[rule] = until
        del watch.rejected[rule]
        self._suspensions.append(
            {
                "rule": rule,
                "source": batch.source.name,
                "at": batch.received,
                "until": until,
                "scrips": scrips,
                "of": len(watch.memories),
            }
        )
        self._news = True

    def _quarantine(self, batch: Batch, tick: Tick, rule: str, reason: str) -> None:
        self.quarantine.add(batch.source, tick, rule=rule, reason=reason, at=batch.received)
        self._news = True

    def _log_correction(self, sight: Sight, objection: _Objection, why: str) -> None:
        rule, finding = objection
        self.corrected += 1
        self._corrections.append(
            {
                "at": sight.received,
                "symbol": sight.tick.symbol,
                "rule": rule.name,
                "field": field.FIELDS[finding.field].name,
                "value": _written(finding, sight.instrument),
                "expected": finding.expected,
                "why": why,
            }
        )
        self._news = True


def _agrees(rule: Rule, which: int, came: int, finding: Finding, step: int) -> bool:
    """Whether an earlier claim and this one say the same."""
    match rule.correction:
        case Correction.SAME:
            return which == finding.field and came == finding.came
        case Correction.NEAR:
            return near(finding.came, came, step)
        case Correction.RISING:
            return which == finding.field and finding.came >= came
        case Correction.ANY:
            return True
        case Correction.NEVER:
            return False


def _written(finding: Finding, instrument: Instrument) -> str:
    kind = field.FIELDS[finding.field].kind
    if kind in (field.Kind.PRICE, field.Kind.LADDER):
        return format_price(finding.came, instrument.scale)
    if kind is field.Kind.MONEY:
        return format_price(finding.came)
    return str(finding.came)
