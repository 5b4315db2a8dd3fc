"""Why a stream is closed: 4000 to 4499, come again; 4500 to 4999, do not until something is changed."""

from typing import Any, Final, NamedTuple

from bhavcast.domain.errors import BhavcastError, KeyExpired, KeyRevoked


class CloseCode(NamedTuple):
    """A number, its name in the documentation, and the reason as it is sent (at most 123 bytes)."""

    code: int
    name: str
    reason: str

    @property
    def reconnect(self) -> bool:
        """Whether the client should come again by itself."""
        return self.code < 4500

    def why(self, retry_ms: int | None) -> str:
        """Return the reason as the close frame has it: when to come again, where that is known."""
        return self.reason if retry_ms is None else f"{self.name}: retry_ms={retry_ms}"

    def told(self, retry_ms: int | None) -> dict[str, Any]:
        """Return it as a message of `/ws`, which everyone reads; not everyone shows a close code."""
        when = {} if retry_ms is None else {"retry_ms": retry_ms}
        return {"t": "error", "code": self.name, "message": self.reason, **when, "temporary": self.reconnect}


DRAINING: Final = CloseCode(4001, "draining", "the service is shutting down; reconnect after retry_ms")
KEY_EXPIRED: Final = CloseCode(4005, "key_expired", "the key has expired; reconnect with another")
SLOW: Final = CloseCode(4008, "slow", "nothing was read for 10 s")
POSITION_LOST: Final = CloseCode(4010, "position_lost", "this gateway is behind your position and did not catch up")
TOO_MANY_REQUESTS: Final = CloseCode(4013, "too_many_requests", "more messages or streams than one client may have")
BAD_AUTH: Final = CloseCode(4500, "bad_auth", "the key opens nothing, or none came in time")
FORBIDDEN: Final = CloseCode(4501, "forbidden", "the key comes first; nothing is answered without it")
PROTOCOL_ERROR: Final = CloseCode(4503, "protocol_error", "too many malformed messages")
TOO_MANY_SUBSCRIPTIONS: Final = CloseCode(4504, "too_many_subscriptions", "more symbols than one connection may hold")

CLOSE_CODES: Final = (
    DRAINING,
    KEY_EXPIRED,
    SLOW,
    POSITION_LOST,
    TOO_MANY_REQUESTS,
    BAD_AUTH,
    FORBIDDEN,
    PROTOCOL_ERROR,
    TOO_MANY_SUBSCRIPTIONS,
)


def of_leaving(why: BhavcastError) -> CloseCode:
    """Return the code for a stream whose key holds no longer: of one that ran out there may be a newer."""
    return KEY_EXPIRED if isinstance(why, KeyExpired) and not isinstance(why, KeyRevoked) else BAD_AUTH
