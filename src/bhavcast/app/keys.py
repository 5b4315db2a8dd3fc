"""What `bhavcast keys` does to the keys of a data folder, and how a running system hears of it."""

import asyncio
import datetime
import getpass
import re
import secrets
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from bhavcast.access.audit import AuditLog
from bhavcast.access.keyfile import KeyFile
from bhavcast.access.keyring import Keyring
from bhavcast.app.config import Config
from bhavcast.domain.access import MAX_NAME, ROLES, Key, Role, digest, new_key
from bhavcast.domain.calendar import IST
from bhavcast.domain.errors import BadFile, BadRequest
from bhavcast.telemetry.clock import Clock, SystemClock

log = structlog.get_logger()

LOOK_S: Final = 0.5
_SPAN: Final = re.compile(r"(\d{1,6})(s|m|h|d)", re.ASCII)
_UNIT_MS: Final = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*", re.ASCII)


class Made(NamedTuple):
    """A new key: what is kept of it, and its text, which is told this once."""

    key: Key
    text: str


class KeyDesk:
    """Changes the keys of one data folder; each change is on the audit log."""

    def __init__(self, config: Config, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._file = KeyFile(config.data)
        self._audit = AuditLog(config.data, self._clock)

    def held(self) -> list[Key]:
        """Return every key that was ever made, oldest first."""
        return self._file.read()

    def create(self, name: str, role: str, expires: str = "never") -> Made:
        """Make a key; raise BadRequest where name, role or expiry is impossible."""
        if role not in ROLES:
            raise BadRequest(f"expected a role, one of {', '.join(ROLES)}, got {role[:40]!r}", field="role")
        if not _NAME.fullmatch(name) or len(name) > MAX_NAME:
            raise BadRequest(
                f"expected a name of letters, digits and . _ @ - after a first letter or digit, at most {MAX_NAME}, got {name[:80]!r}",
                field="name",
            )
        if name.startswith("bhk_"):
            raise BadRequest("expected a name, got what looks like a key: those must never be arguments", field="name")
        text = new_key()
        with self._file.change() as keys:
            key = self._new(name, role, text, self._moment(expires))
            keys.append(key)
        self._note("keys.create", key)
        return Made(key, text)

    def revoke(self, which: str) -> Key:
        """Take a key away at once."""
        return self._replace("keys.revoke", which, revoked=self._clock.wall_ms())

    def expire(self, which: str, when: str) -> Key:
        """Say when a key ends, or that it does not."""
        return self._replace("keys.expire", which, expires=self._moment(when))

    def rotate(self, which: str, overlap: str) -> tuple[Made, Key]:
        """Make a new key of the same name and role; the old one ends after the overlap. Return both."""
        ends = self._moment(overlap)
        if ends is None:
            raise BadRequest("expected an end of the old key, got never", field="overlap")
        text = new_key()
        with self._file.change() as keys:
            place = self._find(keys, which)
            old = keys[place]
            life = None if old.expires is None else self._clock.wall_ms() + old.expires - old.created
            made = self._new(old.name, old.role, text, life)
            old = msgspec.structs.replace(old, expires=ends if old.expires is None else min(ends, old.expires))
            keys[place] = old
            keys.append(made)
        self._note("keys.rotate", made)
        return Made(made, text), old

    def _replace(self, what: str, which: str, **changes: int | None) -> Key:
        with self._file.change() as keys:
            place = self._find(keys, which)
            key = keys[place] = msgspec.structs.replace(keys[place], **changes)
        self._note(what, key)
        return key

    def _new(self, name: str, role: Role, text: str, expires: int | None) -> Key:
        now = self._clock.wall_ms()
        return Key(id=secrets.token_hex(4), name=name, role=role, sha256=digest(text), created=now, expires=expires)

    def _find(self, keys: list[Key], which: str) -> int:
        """Return the place of a key by its id, or by its name where one active key alone has it."""
        if which.startswith("bhk_"):
            raise BadRequest("expected the id or name of a key, got a key: those must never be arguments", field="key")
        for place, key in enumerate(keys):
            if key.id == which:
                if key.revoked is not None:
                    raise BadRequest(f"expected a key that is not revoked, got {which}", field="key")
                return place
        now = self._clock.wall_ms()
        named = [place for place, key in enumerate(keys) if key.name == which and key.state(now) == "active"]
        if len(named) != 1:
            found = f"{len(named)} active keys of that name; give an id" if named else "none"
            raise BadRequest(f"expected the id or name of an active key, got {which[:80]!r}: {found}", field="key")
        return named[0]

    def _moment(self, text: str) -> int | None:
        """Read `never`, a span from now such as 90d, or a date with or without a time; IST unless it says otherwise."""
        if text == "never":
            return None
        now = self._clock.wall_ms()
        if span := _SPAN.fullmatch(text):
            return now + int(span[1]) * _UNIT_MS[span[2]]
        try:
            moment = datetime.datetime.fromisoformat(text)
        except ValueError:
            raise BadRequest(
                f"expected never, a span such as 24h or 90d, or a date such as 2027-03-31, got {text[:40]!r}",
                field="when",
            ) from None
        at = int((moment if moment.tzinfo else moment.replace(tzinfo=IST)).timestamp() * 1000)
        if at < now:
            raise BadRequest(
                f"expected a time to come, got {text[:40]!r}; bhavcast keys revoke ends a key now", field="when"
            )
        return at

    def _note(self, what: str, key: Key) -> None:
        target = f"{key.name} ({key.id}, {key.role})"
        self._audit.record(
            who=_person(),
            role="owner of the data folder",
            what=what,
            target=target,
            where="command line",
            outcome="done",
        )


def _person() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"


def open_keyring(config: Config) -> Keyring:
    """Return the keys of a data folder; raise BadFile where they cannot be read."""
    file = KeyFile(config.data)
    if file.exposed:
        log.warning("the key file can be read by others of this machine", path=str(file.path), next="chmod 600")
    return Keyring(file.read())


class KeyWatch:
    """Keeps a keyring as the file is. Where that is gone or unusable, what was known stands: never more is open."""

    def __init__(self, config: Config, keyring: Keyring) -> None:
        self._file = KeyFile(config.data)
        self._keyring = keyring
        self._seen: object = None

    def look(self) -> None:
        """Take up what the file holds, if it is another than at the last look."""
        stamp = self._file.stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        if stamp is None:
            log.error("the key file is gone; the keys that were in it stand", path=str(self._file.path))
            return
        try:
            self._keyring.replace(self._file.read())
        except BadFile as error:
            log.error("the key file cannot be used; the keys before it stand", error=error.detail)
        else:
            log.info("keys", held=len(self._keyring))

    async def run(self) -> None:
        """Look twice a second."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)


def told(key: Key, clock: Clock | None = None) -> dict[str, Any]:
    """Return what may be told of a key: everything but what it is."""
    now = (clock or SystemClock()).wall_ms()
    return {
        "id": key.id,
        "name": key.name,
        "role": key.role,
        "state": key.state(now),
        "created": _iso(key.created),
        "expires": None if key.expires is None else _iso(key.expires),
        "revoked": None if key.revoked is None else _iso(key.revoked),
    }


def _iso(ms: int) -> str:
    return datetime.datetime.fromtimestamp(ms / 1000, IST).isoformat(timespec="seconds")
