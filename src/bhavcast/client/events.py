"""What a client tells its user."""

from collections.abc import Mapping
from typing import Any

import msgspec

from bhavcast.domain.position import Position

Quote = Mapping[str, Any]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something happened on the stream."""


class Hello(Event, frozen=True):
    """The service greeted: `message` has its epoch, clock, limits, market and feeds."""

    message: dict[str, Any]


class Update(Event, frozen=True):
    """A quote is another now.

    `quote` is all that is known of the scrip, a value of its own that later updates leave alone; `changes` are the
    fields that are new, None for one that has no value any more; `whole` says that the quote came anew as a whole.
    """

    symbol: str
    quote: Quote
    changes: Quote
    whole: bool = False


class Synced(Event, frozen=True):
    """All that was subscribed is complete up to a position."""

    position: Position
    count: int


class Resumed(Event, frozen=True):
    """A reconnected stream went on; if not `recovered`, everything is sent anew."""

    recovered: bool
    changed: int


class Reset(Event, frozen=True):
    """A new epoch of the board began: everything is sent anew."""

    epoch: str


class Dropped(Event, frozen=True):
    """A symbol is not subscribed (any more): it was refused, or does not exist in the new epoch."""

    symbol: str
    code: str
    message: str = ""


class Trouble(Event, frozen=True):
    """The service could not do what it was asked."""

    code: str
    message: str
    temporary: bool
    retry_ms: int | None = None


class Notice(Event, frozen=True):
    """The service says how things are: `kind` is market, feed, status, lag, rate or hb."""

    kind: str
    message: dict[str, Any]


class Link(Event, frozen=True):
    """The connection is up, or down and tried again in `retry_seconds`."""

    up: bool
    reason: str = ""
    retry_seconds: float = 0.0
