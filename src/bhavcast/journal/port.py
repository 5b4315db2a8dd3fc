"""The port of the record that survives the process."""

from typing import Protocol

from bhavcast.domain.change import Message, Snapshot
from bhavcast.journal.reader import Recovery


class Journal(Protocol):
    """Append what happened, before anyone hears of it.

    A disk that fails raises nothing: the journal says so in `failing`, and the feed goes on. `begin` and `checkpoint` may
    run in another thread while nothing else is written; `sync` and `close` come whenever they like.
    """

    run_id: str  # of the bus's server, for the record of each opening
    lost: int  # messages that could not be written
    synced_rev: int  # the newest revision that survives a power cut

    @property
    def failing(self) -> str | None:
        """Why records are being lost, or None."""

    @property
    def size(self) -> int:
        """Bytes of this epoch's record."""

    @property
    def tail(self) -> int:
        """Bytes written since the last checkpoint."""

    def begin(self, snapshot: Snapshot) -> None:
        """Open an epoch: an fsynced `open` record with the boot id, and a checkpoint of everything."""

    def resume(self, recovery: Recovery) -> None:
        """Go on in the epoch that was recovered: cut the torn tail and write a checkpoint."""

    def append(self, message: Message, encoded: bytes | None = None) -> None:
        """Write one message; survives SIGKILL at once, a power cut after the next fsync.

        `encoded` is what `domain.change.encode` made of it, where the caller needs that for the bus too.
        """

    def checkpoint(self, snapshot: Snapshot) -> None:
        """Write all rows with their field revisions, so that recovery reads only the tail after it."""

    def sync(self) -> None:
        """Make everything written survive a power cut."""

    def close(self) -> None:
        """Sync and close; idempotent."""
