"""The quarantine: bounded, counted, and honest about ids."""

import pytest

from bhavcast.domain.errors import BadRequest
from bhavcast.domain.tick import Source, Tick
from bhavcast.guard.quarantine import SHOWN, Entry, Quarantine

FEED = Source("feed", "real", "tick")


def add(quarantine: Quarantine, at: int = 1_000, rule: str = "positive") -> Entry:
    return quarantine.add(FEED, Tick("500325", at, {0: -1}), rule=rule, reason="expected more, got less", at=at)


def test_an_entry_keeps_the_tick_the_rule_and_the_reason():
    quarantine = Quarantine()
    entry = add(quarantine)
    assert quarantine.get(entry.id) == entry
    assert (entry.rule, entry.reason, entry.source.name) == ("positive", "expected more, got less", "feed")


def test_ids_rise_with_market_time_and_are_never_used_twice():
    quarantine = Quarantine()
    assert [add(quarantine, at).id for at in (1_000, 1_000, 1_000, 5_000, 4_000)] == [1_000, 1_001, 1_002, 5_000, 5_001]
    quarantine.clear()
    assert add(quarantine, 2_000).id == 5_002


def test_the_oldest_entries_go_when_it_is_full_and_the_counts_stay():
    quarantine = Quarantine(capacity=3)
    ids = [add(quarantine).id for _ in range(5)]
    assert [entry.id for entry in quarantine.entries()] == ids[2:]
    assert quarantine.counts == {"positive": 5}
    with pytest.raises(BadRequest, match=f"got {ids[0]}"):
        quarantine.get(ids[0])


def test_a_released_entry_is_gone_and_counted():
    quarantine = Quarantine()
    entry = add(quarantine)
    assert quarantine.release(entry.id) == entry
    assert (len(quarantine), quarantine.released) == (0, 1)
    with pytest.raises(BadRequest):
        quarantine.release(entry.id)


def test_the_facts_count_by_rule_and_show_the_newest_first():
    quarantine = Quarantine()
    for at in range(1_000, 1_000 + 2 * SHOWN):
        add(quarantine, at, "positive" if at % 2 else "range")
    facts = quarantine.facts()
    assert (facts["held"], facts["total"], facts["rules"]) == (
        2 * SHOWN,
        2 * SHOWN,
        {"positive": SHOWN, "range": SHOWN},
    )
    assert [entry["id"] for entry in facts["newest"]] == list(range(999 + 2 * SHOWN, 999 + SHOWN, -1))
    quarantine.clear()
    assert quarantine.facts() == {"held": 0, "total": 0, "released": 0, "rules": {}, "newest": []}
