"""How long a client of another protocol may stay: counted while it is here, asked again whether its key still holds."""

from collections.abc import Callable

from bhavcast.access.doorkeeper import Visitor
from bhavcast.gateway import close_codes
from bhavcast.gateway.gateway import Gateway


class Stay:
    """A visitor's stay, from the first moment to `end`."""

    def __init__(self, gateway: Gateway, visitor: Visitor, close: Callable[[int, str], None]) -> None:
        self._door = gateway.door
        self._visitor = visitor
        self._close = close
        self._here = True
        self._door.enter(visitor)

    def check(self, now: float) -> None:
        """Close the connection of one whose key no longer holds."""
        if not self._here:
            return
        found = self._door.again(self._visitor, now)
        if isinstance(found, Visitor):
            self._visitor = found
            return
        code = close_codes.of_leaving(found)
        self._close(code.code, code.reason)

    def end(self) -> None:
        """Count the visitor no more; idempotent."""
        if self._here:
            self._here = False
            self._door.leave(self._visitor)
