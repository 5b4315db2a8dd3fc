"""Sessions: a browser cannot put a header on a WebSocket or an EventSource, so it exchanges its key for a cookie.

The cookie is a random text that means something only to this process, and only as long as the key behind it stands.
"""

import secrets
from typing import Final, NamedTuple

from bhavcast.domain.access import Key, digest
from bhavcast.telemetry.clock import Clock

COOKIE: Final = "bhavcast_session"
LIFE_S: Final = 12 * 3600  # A: a trading day, from before the pre-open to after the last report
MOST: Final = 4096
MOST_PER_KEY: Final = 64


class Session(NamedTuple):
    """One browser. `csrf` has to come as a header with whatever changes something; `until` is monotonic."""

    id: str
    key_id: str
    csrf: str
    until: float


class Sessions:
    """Every open session, by the digest of its cookie; the oldest go when there are too many."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, key: Key) -> tuple[str, Session]:
        """Open a session for the holder of a key; return the cookie's text and the session."""
        now = self._clock.monotonic()
        self._sweep(now)
        own = [each for each, session in self._open.items() if session.key_id == key.id]
        for each in own[: max(0, len(own) - MOST_PER_KEY + 1)]:
            del self._open[each]
        while len(self._open) >= MOST:
            del self._open[next(iter(self._open))]
        cookie = secrets.token_urlsafe(32)
        own_id = digest(cookie)
        session = self._open[own_id] = Session(own_id, key.id, secrets.token_urlsafe(16), now + LIFE_S)
        return cookie, session

    def find(self, cookie: str) -> Session | None:
        """Return the session of a cookie, None where it is over or never was."""
        session = self._open.get(digest(cookie))
        return session if session is not None and self.stands(session) else None

    def stands(self, session: Session) -> bool:
        """Tell whether a session is neither ended nor over."""
        return session.id in self._open and self._clock.monotonic() < session.until

    def end(self, cookie: str) -> None:
        """End a session: its cookie, wherever it was copied to, opens nothing any more."""
        self._open.pop(digest(cookie), None)

    def _sweep(self, now: float) -> None:
        self._open = {each: session for each, session in self._open.items() if session.until > now}
