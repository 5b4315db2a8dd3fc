"""A gateway in a process of its own goes by the market time that arrives with the messages."""

from bhavcast.board.board import Board
from bhavcast.bus.port import Link
from bhavcast.domain.change import Message
from bhavcast.domain.field import LAST_TRADE_TIME
from bhavcast.domain.instrument import CANARY_SYMBOL
from bhavcast.flow import Audience
from bhavcast.telemetry.clock import MarketClock


class Timekeeper:
    """Implements flow.Audience: sets the clock by what is heard, and passes it on to `audience`.

    A snapshot carries the time as the canary's last trade, which is at most a second old; a message carries its own.
    """

    def __init__(self, audience: Audience, replica: Board, market: MarketClock) -> None:
        self._audience = audience
        self._replica = replica
        self._market = market
        self._anew = False  # whether the next time that is told counts although it is an earlier one

    def restart(self, *, planned: bool) -> None:
        """Take the time of the new epoch, even if it is an earlier one: its market may have begun anew.

        Its first board may tell none, for a day that has just begun has no trades, and no canary; then a message does.
        """
        self._anew = True
        self._set(self._of_canary())
        self._audience.restart(planned=planned)

    def hear(self, slots: list[int], message: Message | None) -> None:
        """Take the time of a message, or of the snapshot that was caught up with."""
        self._set(self._of_canary() if message is None else message.published)
        self._audience.hear(slots, message)

    def linked(self, link: Link) -> None:
        """Pass it on."""
        self._audience.linked(link)

    def interest(self) -> frozenset[str]:
        """Pass it back."""
        return self._audience.interest()

    def _of_canary(self) -> int | None:
        canary = self._replica.rows.get(CANARY_SYMBOL)
        beat = None if canary is None else canary[LAST_TRADE_TIME]
        return beat if isinstance(beat, int) else None

    def _set(self, at_ms: int | None) -> None:
        clock = self._replica.facts.get("clock")
        if clock is not None and at_ms is not None:
            self._market.follow(at_ms, virtual=clock["virtual"], speed=clock["speed"], anew=self._anew)
            self._anew = False
