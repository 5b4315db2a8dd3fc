"""In front of a stream: a client that came without a key where one is needed has ten seconds to show one as a message.

S {"t":"hello",…,"auth":"required"}       without what only readers are told
C {"t":"auth","id":1,"key":"…"}
S {"t":"ack","id":1,…}                    and from here on it is a session
"""

from collections.abc import Callable
from typing import Any, Final

from bhavcast.access.doorkeeper import Visitor
from bhavcast.board.board import Row
from bhavcast.domain.errors import BhavcastError, RateLimited
from bhavcast.domain.shape import Shape
from bhavcast.gateway import close_codes, problems, protocol
from bhavcast.gateway.close_codes import CloseCode
from bhavcast.gateway.gateway import Gateway
from bhavcast.gateway.session import DEFAULT_HZ, Session, hello
from bhavcast.hub import frame
from bhavcast.hub.port import Sink

AUTH_WITHIN_S: Final = 10.0


class Doorstep:
    """The conversation until the key has come, and after it what passes all on to the session.

    Args:
        stranger: whom nothing is known of but the address; the connection counts as theirs.
        let_in: is told of whoever came in, for the log.
    """

    def __init__(
        self,
        gateway: Gateway,
        sink: Sink,
        *,
        binary: bool,
        stranger: Visitor,
        let_in: Callable[[Visitor], None] = lambda _: None,
    ) -> None:
        self._gateway = gateway
        self._sink = sink
        self._binary = binary
        self._stranger = stranger
        self._let_in = let_in
        self._until = gateway.clock.monotonic() + AUTH_WITHIN_S
        self._session: Session | None = None
        self._here = True
        gateway.door.enter(stranger)
        gateway.members.add(self)
        self._tell({**hello(gateway, gateway.heartbeat_ms), "market": {}, "feeds": {}, "auth": "required"})

    def receive(self, payload: bytes | str) -> None:
        """Take a key and nothing else; one that is wrong, or anything before it, ends the connection."""
        if self._session is not None:
            self._session.receive(payload)
            return
        try:
            message = protocol.read(payload, binary=self._binary)
        except BhavcastError as error:
            self._refuse(close_codes.PROTOCOL_ERROR, error, protocol.message_id(payload, binary=self._binary))
            return
        if not isinstance(message, protocol.Auth):
            self.send_away(close_codes.FORBIDDEN)
            return
        try:
            visitor = self._admit(message.key)
        except RateLimited as error:
            self._refuse(close_codes.TOO_MANY_REQUESTS, error, message.id)
        except BhavcastError as error:
            self._refuse(close_codes.BAD_AUTH, error, message.id)
        else:
            self._come_in(visitor, message.id)

    def _admit(self, key: str) -> Visitor:
        door = self._gateway.door
        visitor = door.by_key(key, self._stranger.whence)
        if (refused := door.take(visitor) or door.full(visitor)) is not None:
            raise refused
        return visitor

    def _come_in(self, visitor: Visitor, message_id: int | None) -> None:
        self._leave()
        self._tell({"t": "ack", "id": message_id, "ok": [], "bad": [], "active": 0, "hz": DEFAULT_HZ})
        self._session = Session(self._gateway, self._sink, binary=self._binary, visitor=visitor, greet=False)
        self._let_in(visitor)

    def close(self) -> None:
        """Forget the client: its connection is gone."""
        self._leave()
        if self._session is not None:
            self._session.close()

    def _leave(self) -> None:
        if self._here:
            self._here = False
            self._gateway.door.leave(self._stranger)
            self._gateway.members.discard(self)

    # -- the gateway speaks -----------------------------------------------------------------------------------------

    def restart(self) -> None:
        """Hold nothing that could begin anew."""

    def admit(self, rows: list[Row]) -> None:
        """Follow nothing."""

    def note(self, slots: list[int]) -> None:
        """Follow nothing."""

    def beat(self, now: float) -> None:
        """End the connection when the time for the key is over."""
        if now >= self._until:
            self.send_away(close_codes.BAD_AUTH)

    def send_away(self, code: CloseCode, retry_ms: int | None = None) -> None:
        """Say goodbye and why, and when to come again."""
        self._tell(code.told(retry_ms))
        self._sink.close(code.code, code.why(retry_ms))

    def _refuse(self, code: CloseCode, error: BhavcastError, message_id: int | None) -> None:
        self._tell({"t": "error", "id": message_id, **problems.brief(error), "temporary": error.temporary})
        self._sink.close(code.code, code.reason)

    def _tell(self, message: dict[str, Any]) -> None:
        self._sink.send(frame.encode(message, Shape(binary=self._binary)))
