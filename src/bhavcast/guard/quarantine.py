"""Where ticks wait that were not believed: a bounded list, for a person to look at and perhaps to release."""

from collections import Counter, deque
from typing import Any, Final

import msgspec

from bhavcast.domain.errors import BadRequest
from bhavcast.domain.tick import Source, Tick

CAPACITY: Final = 1_000  # entries kept; the oldest go first (A)
SHOWN: Final = 20  # newest entries told to everyone (A)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One tick in quarantine: which rule kept it, and why. `at` is market time in milliseconds."""

    id: int
    at: int
    source: Source
    rule: str
    reason: str
    tick: Tick


class Quarantine:
    """Keep the last ticks that a rule objected to, and count them all."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._entries: dict[int, Entry] = {}
        self._newest: deque[int] = deque(maxlen=SHOWN)
        self._last_id = 0
        self.counts: Counter[str] = Counter()
        self.released = 0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, source: Source, tick: Tick, *, rule: str, reason: str, at: int) -> Entry:
        """Keep a tick. Ids rise with market time, so one noted before a restart never names another tick after it."""
        self._last_id = max(self._last_id + 1, at)
        entry = Entry(id=self._last_id, at=at, source=source, rule=rule, reason=reason, tick=tick)
        self._entries[entry.id] = entry
        self._newest.append(entry.id)
        self.counts[rule] += 1
        if len(self._entries) > self._capacity:
            del self._entries[next(iter(self._entries))]
        return entry

    def entries(self) -> list[Entry]:
        """Return what is kept, oldest first."""
        return list(self._entries.values())

    def get(self, entry_id: int) -> Entry:
        """Return one entry; raise BadRequest if it is not, or no longer, here."""
        entry = self._entries.get(entry_id)
        if entry is None:
            raise BadRequest(f"expected the id of a tick in quarantine, got {entry_id}", field="id")
        return entry

    def release(self, entry_id: int) -> Entry:
        """Hand out one entry and forget it; raise BadRequest if it is not, or no longer, here."""
        entry = self.get(entry_id)
        del self._entries[entry_id]
        self.released += 1
        return entry

    def clear(self) -> None:
        """Forget all entries and begin to count anew, as at a day roll. Ids go on."""
        self._entries.clear()
        self._newest.clear()
        self.counts.clear()
        self.released = 0

    def facts(self) -> dict[str, Any]:
        """Return what everyone may know: counters, and the newest entries in words."""
        newest = [self._entries[entry_id] for entry_id in reversed(self._newest) if entry_id in self._entries]
        return {
            "held": len(self._entries),
            "total": self.counts.total(),
            "released": self.released,
            "rules": dict(sorted(self.counts.items())),
            "newest": [
                {
                    "id": entry.id,
                    "at": entry.at,
                    "source": entry.source.name,
                    "symbol": entry.tick.symbol,
                    "rule": entry.rule,
                    "reason": entry.reason,
                }
                for entry in newest
            ],
        }
