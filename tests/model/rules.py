"""The clauses that make resume exact, each of which can be broken to see whether it is needed.

The model reads a clause as `if rules.x`. `Rules()` keeps all of them. `broken("x")` keeps all but one, and the suite
demands that some schedule then fails: a clause whose loss nobody notices is either superfluous or not modelled.
"""

from dataclasses import dataclass, field, fields, replace
from typing import Any


def _clause(broken: str) -> Any:
    return field(default=True, metadata={"broken": broken})


@dataclass(frozen=True, slots=True)
class Rules:
    """Switch each clause on (the default) or off; the text says what a system without it does."""

    # values
    replica_keeps_cleared: bool = _clause("a gateway forgets the revision at which a field lost its value")
    hash_keeps_cleared: bool = _clause("the snapshot hash deletes a cleared field instead of keeping its revision")
    checkpoint_keeps_cleared: bool = _clause("the journal's checkpoint leaves cleared fields out")
    epoch_stamps_anew: bool = _clause("a new epoch keeps the revisions the rows had in the old one")
    # frames
    hb_waits_for_sync: bool = _clause("hb moves the position in the middle of a snapshot")
    hb_carries_cursor: bool = _clause("hb carries the board's position, whatever this client was sent")
    u_waits_for_sync: bool = _clause("u moves the position in the middle of a snapshot")
    sync_carries_start: bool = _clause("sync carries the board's position at its end, not at its first piece")
    pending_before_snap: bool = _clause("new symbols are snapped before the pending delta is flushed")
    flush_carries_start: bool = _clause("a sliced flush carries the board's position of the moment of sending")
    flush_skips_newer: bool = _clause("a flush also serves a client that is already past its start")
    fragments_need_previous: bool = _clause("a client behind the class's previous flush gets the shared fragments")
    full_keeps_cursor: bool = _clause("a flush skipped because the client is full counts as sent")
    reset_on_epoch: bool = _clause("a new epoch reaches connected clients as a mere delta")
    # client
    drops_older: bool = _clause("the client merges a row older than the one it holds")
    snap_replaces: bool = _clause("the client merges snap rows instead of replacing")
    snap_names_absent: bool = _clause("a snap says nothing about symbols the board has no row for")
    ignores_unsubscribed: bool = _clause("the client accepts a symbol between its unsub and the ack")
    fields_drop_position: bool = _clause("the position survives a change of fields")
    stale_sync_ignored: bool = _clause("a sync sent before the change of fields restores the position")
    resume_names_held: bool = _clause("resume names symbols whose snapshot was never completed")
    resumed_moves_nothing: bool = _clause("`resumed` moves the position before its u has come")
    resume_carries_seen: bool = _clause("resume tells the position only, not the newest revision seen past it")
    # gateway and resume
    ahead_waits: bool = _clause("resume does not wait when the reader is ahead of the replica")
    ahead_ignores_epoch: bool = _clause("a reader of another epoch is never taken to be ahead")
    canary_since_arrival: bool = _clause("a canary older than the waiting reader proves that history is lost")
    hole_means_snapshot: bool = _clause("a reader of the stream accepts a hole")
    foreign_means_snapshot: bool = _clause("a reader of the stream takes a foreign epoch for more of its own")
    lower_head_waits: bool = _clause("a replica goes back to a lower head")
    pos_in_hash: bool = _clause("the hash and `_pos` are read in two commands")
    # bus and writer
    token_checked: bool = _clause("the script does not compare the token")
    pos_checked: bool = _clause("the script does not compare `_pos`")
    first_replaces_hash: bool = _clause("the first message of an epoch is merged into the hash")
    republish_at_once: bool = _clause("what is newer than `_pos` is republished in two calls")
    republishes_all_newer: bool = _clause("after a refusal or an unclear failure only the last change is sent again")
    journal_before_bus: bool = _clause("the bus gets a batch before the journal")
    power_cut_ends_epoch: bool = _clause("the epoch continues after a power cut")
    write_error_ends_epoch: bool = _clause("the epoch continues although the journal missed a batch")
    run_id_checked: bool = _clause("the epoch continues on a Redis that restarted")
    takeover_ends_epoch: bool = _clause("the epoch continues although another directory wrote since")
    first_rev_from_clock: bool = _clause("an epoch's first revision ignores the clock")


CLAUSES: dict[str, str] = {f.name: f.metadata["broken"] for f in fields(Rules)}


def broken(clause: str) -> Rules:
    """Return the rules without one clause."""
    return replace(Rules(), **{clause: False})
