"""The port that every source implements."""

from collections.abc import AsyncIterator
from typing import Protocol

from bhavcast.domain.instrument import Instrument
from bhavcast.domain.tick import Batch, FeedState, Source


class Feed(Protocol):
    """A source of ticks.

    `batches` yields at least every 250 ms of real time, an empty batch where nothing came, so that whoever consumes it
    keeps its own appointments without a second timer. It ends when the source has nothing more to give, and raises
    FeedFailed when it broke. `state` tells transport life apart from data life.
    """

    source: Source

    @property
    def state(self) -> FeedState:
        """Whether the source is talking to us, and if not, whether it should."""

    def instruments(self) -> list[Instrument]:
        """Return what the source itself knows of scrips that no master names; often nothing."""

    def batches(self) -> AsyncIterator[Batch]:
        """Yield batches, in the order in which they came."""

    async def close(self) -> None:
        """Stop and free what is held; idempotent."""
