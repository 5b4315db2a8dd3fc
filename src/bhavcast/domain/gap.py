"""The ledger of gaps: what was missed, from when to when, and why. A plain list, so that it travels as a fact."""

from typing import Any, Final, Literal

LIMIT: Final = 1000
Kind = Literal["epoch", "feed", "journal"]
Ledger = list[dict[str, Any]]


def opened(ledger: Ledger, kind: Kind, source: str | None, at: int, rev: int, reason: str) -> Ledger:
    """Return the ledger with a gap that begins; the same one where such a gap is open already."""
    if _open(ledger, kind, source) is not None:
        return ledger
    gap = {
        "kind": kind, "source": source, "from": at, "to": None, "from_rev": rev, "to_rev": None, "reason": reason
    }  # fmt: skip
    return [*ledger, gap][-LIMIT:]


def closed(ledger: Ledger, kind: Kind, source: str | None, at: int, rev: int) -> Ledger:
    """Return the ledger with the gap ended that is open; the same one where none is."""
    number = _open(ledger, kind, source)
    if number is None:
        return ledger
    ended = ledger[number] | {"to": at, "to_rev": rev}
    return [*ledger[:number], ended, *ledger[number + 1 :]]


def _open(ledger: Ledger, kind: Kind, source: str | None) -> int | None:
    for number, gap in enumerate(ledger):
        if gap["to"] is None and gap["kind"] == kind and gap["source"] == source:
            return number
    return None
