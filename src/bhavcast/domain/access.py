"""Who may do what: roles, keys as they are kept, and who stands behind a request."""

import hashlib
import secrets
from typing import Final, Literal, get_args

import msgspec

Role = Literal["viewer", "operator", "admin"]
KeyState = Literal["active", "expired", "revoked"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)  # each may do what those before it may
# A text to look for where secrets must not be; what follows are 256 random bits.
PREFIX: Final = "bhk_"
MAX_KEY: Final = 256  # characters; a longer text is no key of ours
MAX_NAME: Final = 64


def may(role: Role, needed: Role) -> bool:
    """Tell whether a role is enough where another is needed."""
    return ROLES.index(role) >= ROLES.index(needed)


def new_key() -> str:
    """Return the text of a new key: whoever has it is who it was made for."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(text: str) -> str:
    """Return what is kept of a key. It has 256 random bits, so there is nothing to guess: no salt, no slow hash."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Key(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One key as it is kept: everything but the key. Times are Unix milliseconds; revoked ones stay, to be told of."""

    id: str
    name: str
    role: Role
    sha256: str
    created: int
    expires: int | None = None
    revoked: int | None = None

    def state(self, now_ms: int) -> KeyState:
        """Tell whether it opens anything."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and now_ms >= self.expires else "active"

    @property
    def principal(self) -> "Principal":
        """Return whom it was made for."""
        return Principal(self.id, self.name, self.role, self.expires)


class Principal(msgspec.Struct, frozen=True):
    """Who stands behind a request. `expires`: when their key does, in Unix milliseconds."""

    key_id: str
    name: str
    role: Role
    expires: int | None = None

    @property
    def anonymous(self) -> bool:
        """Whether they showed no key."""
        return not self.key_id


ANONYMOUS: Final = Principal("", "anonymous", "viewer")
