"""Who may come in: by a key, by a session's cookie, or as a reader without either where that is allowed.

Everyone who is let in is a `Visitor`. The same question has the same answer in front of every way in: REST, both of its
paths, event streams and the WebSocket's handshake and its `auth` message.
"""

import ipaddress
import math
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from typing import Final, Literal, NamedTuple

import structlog

from bhavcast.access.allowance import Account, Allowance
from bhavcast.access.keyring import Keyring
from bhavcast.access.sessions import COOKIE, Session, Sessions
from bhavcast.domain.access import ANONYMOUS, PREFIX, Key, Principal, Role, may
from bhavcast.domain.errors import (
    BadCsrfToken,
    BadRequest,
    BhavcastError,
    Forbidden,
    KeyExpired,
    KeyRevoked,
    NoKey,
    RateLimited,
    TooManyStreams,
    Unauthenticated,
)
from bhavcast.telemetry.clock import Clock

log = structlog.get_logger()

# Names in lower case, as ASGI has them.
Headers = Iterable[tuple[bytes, bytes]]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
AnonymousRead = Literal["loopback", "any", "never"]

# What was found of a visitor is believed for so long, or until the keys change.
BELIEVED_S: Final = 30.0
MOST_ADDRESSES: Final = 16_384
UNKNOWN: Final = "unknown"
LOOPBACK: Final[tuple[Network, ...]] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


class Whence(NamedTuple):
    """Where a request came from: the client's address, and whether it came by TLS.

    `direct`: nothing speaks of a proxy between. `proxied`: there is one, and it is trusted.
    """

    address: str
    direct: bool = True
    secure: bool = False
    proxied: bool = False


class Visitor(NamedTuple):
    """Who was let in, and what is counted of them. `session`: whose cookie let them in, None where none did.

    It stands until `until` (monotonic) as long as the keyring's `generation` is the same.
    """

    principal: Principal
    account: Account
    whence: Whence
    until: float
    generation: int
    session: Session | None = None

    @property
    def csrf(self) -> str | None:
        """What has to come along with a change; None where nothing has to."""
        return None if self.session is None else self.session.csrf


class Doorkeeper:
    """Implements every rule of who may come in; `docs/explanation/threat-model.md` says why they are so."""

    def __init__(
        self,
        keyring: Keyring,
        clock: Clock,
        *,
        allowance: Allowance | None = None,
        trusted_proxies: Iterable[Network] = (),
        internal_networks: Iterable[Network] = LOOPBACK,
        anonymous_read: AnonymousRead = "loopback",
        sessions: Sessions | None = None,
    ) -> None:
        self.keyring = keyring
        self._clock = clock
        self._allowance = allowance or Allowance()
        self._proxies = tuple(trusted_proxies)
        self._internal = tuple(internal_networks)
        self._anonymous_read = anonymous_read
        self.sessions = Sessions(clock) if sessions is None else sessions
        self._keys: dict[str, Account] = {}
        self._addresses: dict[str, Account] = {}
        self.failures: dict[str, int] = {"no_key": 0, "wrong_key": 0, "key_expired": 0, "limited": 0}

    @property
    def burst(self) -> int:
        """Return how many requests one key or address may make at once."""
        return self._allowance.requests_burst

    def counted(self) -> dict[str, int]:
        """Return of how many keys and addresses requests and streams are counted."""
        return {"key": len(self._keys), "address": len(self._addresses)}

    # -- letting in -------------------------------------------------------------------------------------------------

    def whence(self, headers: Headers, peer: str, *, secure: bool = False) -> Whence:
        """Tell where a request came from. Only what a trusted proxy says of its client counts."""
        said: dict[bytes, list[str]] = {}
        for name, value in headers:
            if name == b"forwarded" or name.startswith(b"x-forwarded-"):
                said.setdefault(name, []).append(value.decode("latin-1"))
        peer = plain_address(peer)
        if not said:
            return Whence(peer, True, secure)
        if not _within(peer, self._proxies):
            return Whence(peer, False, secure)
        chain = [each.strip() for each in ",".join(said.get(b"x-forwarded-for", [])).split(",") if each.strip()]
        # Each proxy adds to the right whom it heard; the first from there that is no proxy of ours is the client.
        client = next((each for each in reversed(chain) if not _within(each, self._proxies)), None)
        protocols = said.get(b"x-forwarded-proto", [])
        return Whence(
            plain_address(client or (chain[0] if chain else peer)),
            False,
            protocols[-1].rpartition(",")[2].strip().lower() == "https" if protocols else secure,
            True,
        )

    def house_of(self, peer: str) -> str | None:
        """Return what the connections of an address are counted under; None where they say nothing of whose they are.

        Behind a trusted proxy is everybody, and whoever is on this machine needs no connections to harm it.
        """
        peer = plain_address(peer)
        return None if _within(peer, (*LOOPBACK, *self._proxies)) else _neighbourhood(peer)

    def admit(self, headers: Headers, peer: str, *, secure: bool = False, internal: bool = False) -> Visitor:
        """Return who comes with these headers from this address; count and log who must not.

        `internal`: what is asked for may be read without a key from the internal networks.

        Raises:
            NoKey, Unauthenticated, KeyExpired: they are not let in.
            RateLimited: they were refused so often that they have to wait before they are even told why.
            BadRequest: more than one key came.
        """
        found = self.look(headers, peer, secure=secure, internal=internal)
        if isinstance(found, Visitor):
            return found
        raise self._refused(found, self.whence(headers, peer))

    def look(
        self, headers: Headers, peer: str, *, secure: bool = False, internal: bool = False
    ) -> Visitor | BhavcastError:
        """Return who comes, or why they are not let in; count nothing."""
        headers = list(headers)
        whence = self.whence(headers, peer, secure=secure)
        try:
            text = _key_of(headers)
        except BhavcastError as error:
            return error
        if text is not None:
            return self._by_key(text, whence)
        session = self._session(headers)
        key = None if session is None else self.keyring.get(session.key_id)
        if session is not None and key is not None and self._refuses(key) is None:
            return self._visitor(key, whence, session)
        if self._is_free(whence) or (internal and whence.direct and _within(whence.address, self._internal)):
            return self.stranger(whence)
        return NoKey("expected a key: Authorization: Bearer, X-API-Key, or the cookie of POST /api/session")

    def by_key(self, text: str, whence: Whence) -> Visitor:
        """Return who comes with this key, as in a stream's `auth` message; raise as `admit` does."""
        found = self._by_key(text, whence)
        if isinstance(found, Visitor):
            return found
        raise self._refused(found, whence)

    def stranger(self, whence: Whence) -> Visitor:
        """Return a visitor of whom nothing is known but the address, for what everyone may read."""
        until = self._clock.monotonic() + BELIEVED_S
        return Visitor(ANONYMOUS, self._account(whence.address), whence, until, self.keyring.generation)

    def again(self, visitor: Visitor, now: float) -> Visitor | BhavcastError:
        """Return a visitor who stays, or why they may not: their key or session is over, or a key is needed by now.

        Costs nothing but a comparison for as long as they are believed; `now` is monotonic.
        """
        if now < visitor.until and visitor.generation == self.keyring.generation:
            return visitor
        if visitor.principal.anonymous:
            if self._is_free(visitor.whence):
                return visitor._replace(until=now + BELIEVED_S, generation=self.keyring.generation)
            return NoKey("expected a key: one is needed by now")
        key = self.keyring.get(visitor.principal.key_id)
        if key is None:
            return Unauthenticated("expected a key of this service")
        if visitor.session is not None and not self.sessions.stands(visitor.session):
            return NoKey("expected a session that is not over")
        return self._refuses(key) or self._visitor(key, visitor.whence, visitor.session)

    # -- what they may do -------------------------------------------------------------------------------------------

    def take(self, visitor: Visitor) -> BhavcastError | None:
        """Count a request; return why it is one too many."""
        bucket = visitor.account.bucket
        if bucket.take(self._clock.monotonic()):
            return None
        whose = "address" if visitor.principal.anonymous else "key"
        return RateLimited(
            f"expected at most {bucket.rate:g} requests a second of one {whose}", retry_after=bucket.wait()
        )

    def check_role(self, visitor: Visitor, needed: Role) -> BhavcastError | None:
        """Return why a visitor may not do what needs a role. Nobody without a key may do more than read."""
        principal = visitor.principal
        if principal.anonymous and needed != "viewer":
            return NoKey(f"expected a key whose role is {needed}")
        if not may(principal.role, needed):
            return Forbidden(f"expected a key whose role is {needed}, got {principal.role}")
        return None

    def check_csrf(self, visitor: Visitor, token: str | None) -> BhavcastError | None:
        """Return why a change is refused that came by cookie."""
        if visitor.csrf is None or token == visitor.csrf:
            return None
        return BadCsrfToken("expected X-CSRF-Token with what the answer of /api/session said", field="X-CSRF-Token")

    def full(self, visitor: Visitor) -> BhavcastError | None:
        """Return why a further stream of a visitor is one too many."""
        anonymous = visitor.principal.anonymous
        most = self._allowance.streams_per_address if anonymous else self._allowance.streams_per_key
        if visitor.account.streams < most:
            return None
        whose = "address" if anonymous else "key"
        return TooManyStreams(f"expected at most {most} streams of one {whose}", retry_after=10)

    def enter(self, visitor: Visitor) -> None:
        """Count a stream that opens; each has to `leave`."""
        visitor.account.streams += 1

    def leave(self, visitor: Visitor) -> None:
        """Count a stream that has ended."""
        visitor.account.streams -= 1

    # -- sessions ---------------------------------------------------------------------------------------------------

    def begin_session(self, visitor: Visitor) -> tuple[str, Session]:
        """Open a session for who came with a key; return the cookie's text and the session."""
        key = self.keyring.get(visitor.principal.key_id)
        if key is None:
            raise NoKey("expected a key to exchange")
        return self.sessions.begin(key)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _by_key(self, text: str, whence: Whence) -> Visitor | BhavcastError:
        key = self.keyring.find(text)
        if key is None:
            return Unauthenticated("expected a key of this service, got another")
        return self._refuses(key) or self._visitor(key, whence)

    def _refuses(self, key: Key) -> BhavcastError | None:
        state = key.state(self._clock.wall_ms())
        if state == "active":
            return None
        kind = KeyRevoked if state == "revoked" else KeyExpired
        return kind(f"expected a key that is active, got one that is {state}")

    def _visitor(self, key: Key, whence: Whence, session: Session | None = None) -> Visitor:
        now = self._clock.monotonic()
        left = math.inf if key.expires is None else (key.expires - self._clock.wall_ms()) / 1000
        until = now + min(BELIEVED_S, left)
        if session is not None:
            until = min(until, session.until)
        account = self._keys.get(key.id)
        if account is None:
            account = self._keys[key.id] = Account(self._allowance, now)
        return Visitor(key.principal, account, whence, until, self.keyring.generation, session)

    def _is_free(self, whence: Whence) -> bool:
        """Tell whether who shows no key may read from there."""
        if self._anonymous_read == "loopback":
            return self.keyring.empty and whence.direct and _within(whence.address, LOOPBACK)
        return self._anonymous_read == "any"

    def _session(self, headers: Headers) -> Session | None:
        cookie = cookie_of(headers)
        return None if cookie is None else self.sessions.find(cookie)

    def _account(self, address: str) -> Account:
        address = _neighbourhood(address)
        account = self._addresses.pop(address, None)
        if account is None:
            account = Account(self._allowance, self._clock.monotonic())
            if len(self._addresses) >= MOST_ADDRESSES:
                # Whoever was here longest ago and has no stream open; those with one are bounded by the streams.
                idle = next((each for each, other in self._addresses.items() if not other.streams), None)
                if idle is not None:
                    del self._addresses[idle]
        self._addresses[address] = account
        return account

    def _refused(self, error: BhavcastError, whence: Whence) -> BhavcastError:
        """Count and log who was not let in; who was refused too often is told to wait instead.

        Who has a good key is never kept out by what others tried from the same address.
        """
        if not isinstance(error, Unauthenticated):
            return error
        if isinstance(error, NoKey):
            self.failures["no_key"] += 1
            return error
        reason = "key_expired" if isinstance(error, KeyExpired) else "wrong_key"
        failures = self._account(whence.address).failures
        if not failures.take(self._clock.monotonic()):
            self.failures["limited"] += 1
            return RateLimited("expected fewer attempts with keys that are none", retry_after=failures.wait())
        self.failures[reason] += 1
        log.warning("not let in", reason=reason, address=whence.address)
        return error


def cookie_of(headers: Headers) -> str | None:
    """Return the text of our cookie."""
    for name, value in headers:
        if name == b"cookie":
            try:
                found = SimpleCookie(value.decode("latin-1")).get(COOKIE)
            except CookieError:
                continue
            if found is not None:
                return found.value
    return None


def plain_address(text: str) -> str:
    """Return an address in its shortest form; `unknown` for what is none."""
    try:
        address = ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return UNKNOWN
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _key_of(headers: Headers) -> str | None:
    """Return the key that came as a header. Another scheme of Authorization may be a proxy's, and says nothing here."""
    bearers, keys = [], []
    for name, value in headers:
        if name == b"authorization":
            scheme, _, rest = value.decode("latin-1").strip().partition(" ")
            if scheme.lower() == "bearer":
                bearers.append(rest.strip())
            elif scheme.lower() == "token" and (key := rest.strip().rpartition(":")[2]).startswith(PREFIX):
                bearers.append(key)  # as programs for the Kite API send it: api_key:access_token
        elif name == b"x-api-key":
            keys.append(value.decode("latin-1").strip())
    found = [*bearers, *keys]
    if len(found) > 1:
        raise BadRequest("expected one key, got several", field="Authorization" if bearers else "X-API-Key")
    return found[0] if found else None


def _within(address: str, networks: Iterable[Network]) -> bool:
    try:
        one = ipaddress.ip_address(plain_address(address))
    except ValueError:
        return False
    return any(one in network for network in networks)


def _neighbourhood(address: str) -> str:
    """Return what counts as one address: of IPv6 the /64, whose addresses belong to one house."""
    return address if ":" not in address else str(ipaddress.ip_network(f"{address}/64", strict=False))
