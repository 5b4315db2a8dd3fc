"""Sessions: a browser cannot put a header on a WebSocket or an EventSource, so it exchanges its key for a cookie.

The cookie is a random text that means something only here, and only as long as the key behind it stands. Where several
gateways share a port they share their sessions too, for a browser's next request may come to any of them.
"""

import contextlib
import os
import secrets
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from bhavcast.domain.access import Key, digest
from bhavcast.domain.errors import Unavailable, UnknownFormat
from bhavcast.domain.format import SESSION
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


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    v: int
    boot_id: str
    key_id: str
    csrf: str
    until: float


class SessionFolder(MutableMapping[str, Session]):
    """Sessions by their ids, as files that all processes of this machine see at once.

    A file is named after the digest of the cookie, which opens nothing. It never changes, and is gone when the session
    ends; so what was read once needs only a look whether it is still there. Monotonic time is the same for all
    processes of one start of the machine, and for no other: what is of an earlier one is not there.
    """

    def __init__(self, folder: Path, boot_id: str) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self._folder = folder
        self._boot_id = boot_id
        self._read: dict[str, Session] = {}

    def __getitem__(self, own_id: str) -> Session:
        known = self._read.get(own_id)
        if known is not None and os.path.exists(self._folder / own_id):
            return known
        self._read.pop(own_id, None)
        try:
            kept = msgspec.json.decode((self._folder / own_id).read_bytes(), type=_Kept)
            SESSION.check(kept.v, own_id)
        except (OSError, msgspec.DecodeError, UnknownFormat):
            raise KeyError(own_id) from None
        if kept.boot_id != self._boot_id:
            raise KeyError(own_id)
        if len(self._read) >= MOST:
            self._read.clear()
        session = self._read[own_id] = Session(own_id, kept.key_id, kept.csrf, kept.until)
        return session

    def __setitem__(self, own_id: str, session: Session) -> None:
        kept = _Kept(
            v=SESSION.written, boot_id=self._boot_id, key_id=session.key_id, csrf=session.csrf, until=session.until
        )
        aside = self._folder / f".{own_id}"
        try:
            with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(msgspec.json.encode(kept))
            aside.replace(self._folder / own_id)
        except OSError as error:
            aside.unlink(missing_ok=True)
            raise Unavailable(f"a session cannot be kept: {error.strerror}") from error

    def __delitem__(self, own_id: str) -> None:
        self._read.pop(own_id, None)
        try:
            (self._folder / own_id).unlink()
        except FileNotFoundError:
            raise KeyError(own_id) from None

    def __iter__(self) -> Iterator[str]:
        return iter([name for name in os.listdir(self._folder) if not name.startswith(".")])

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Sessions:
    """Every open session, by the digest of its cookie; the oldest go when there are too many."""

    def __init__(self, clock: Clock, kept: MutableMapping[str, Session] | None = None) -> None:
        self._clock = clock
        self._open: MutableMapping[str, Session] = {} if kept is None else kept

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, key: Key) -> tuple[str, Session]:
        """Open a session for the holder of a key; return the cookie's text and the session.

        Raises:
            Unavailable: it cannot be kept.
        """
        now = self._clock.monotonic()
        left = sorted(self._sweep(now), key=lambda session: session.until)
        own = [session for session in left if session.key_id == key.id]
        gone = own[: max(0, len(own) - MOST_PER_KEY + 1)]
        others = [session for session in left if session not in gone]
        for session in [*gone, *others[: max(0, len(others) - MOST + 1)]]:
            self._open.pop(session.id, None)
        cookie = secrets.token_urlsafe(32)
        own_id = digest(cookie)
        session = self._open[own_id] = Session(own_id, key.id, secrets.token_urlsafe(16), now + LIFE_S)
        return cookie, session

    def find(self, cookie: str) -> Session | None:
        """Return the session of a cookie, None where it is over or never was."""
        session = self._open.get(digest(cookie))
        return session if session is not None and self._clock.monotonic() < session.until else None

    def stands(self, session: Session) -> bool:
        """Tell whether a session is neither ended nor over."""
        return self._clock.monotonic() < session.until and self._open.get(session.id) is not None

    def end(self, cookie: str) -> None:
        """End a session: its cookie, wherever it was copied to, opens nothing any more."""
        self._open.pop(digest(cookie), None)

    def _sweep(self, now: float) -> list[Session]:
        """Forget what is over, or cannot be read; return the others."""
        found: list[tuple[str, Any]] = [(own_id, self._open.get(own_id)) for own_id in list(self._open)]
        for own_id, session in found:
            if session is None or session.until <= now:
                self._forget(own_id)
        return [session for _, session in found if session is not None and session.until > now]

    def _forget(self, own_id: str) -> None:
        with contextlib.suppress(KeyError):  # another process was first
            del self._open[own_id]
