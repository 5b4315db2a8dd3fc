"""The messages a client may send on `/ws`, and how they are read. See docs/reference/websocket.md for transcripts."""

from typing import Final, get_args

import msgspec

from bhavcast.domain.errors import BadRequest
from bhavcast.gateway.decode_errors import explain

JSON: Final = "bhavcast.v1.json"
MSGPACK: Final = "bhavcast.v1.msgpack"
# A client may ask for any rate; it gets the nearest of these that is not above.
RATES: Final = (0.2, 0.5, 1.0, 2.0, 4.0, 5.0, 10.0, 20.0)
EVERY_BATCH: Final = 0.0
MAX_HZ: Final = 50.0
MIN_HEARTBEAT_MS: Final = 250
MAX_HEARTBEAT_MS: Final = 60_000
MAX_ID: Final = 2**53
MAX_REV: Final = 2**63 - 1


class _Message(msgspec.Struct, frozen=True, tag_field="t", tag=str.lower, forbid_unknown_fields=True, kw_only=True):
    id: int | None = None


class Auth(_Message, frozen=True):
    """Show a key, where one is needed and none came with the handshake."""

    key: str


class _Showing(_Message, frozen=True, kw_only=True):
    """What may be said of what a connection shows and how often, each with any message that has it."""

    hz: float | None = None
    fields: list[str] | str | None = None
    depth: int | None = None
    stamps: bool | None = None


class Sub(_Showing, frozen=True):
    """Subscribe more symbols. `seen`: the newest revision the client ever held, where it has lost its position."""

    symbols: list[str] | str
    seen: int | None = None


class Unsub(_Message, frozen=True):
    """Subscribe fewer."""

    symbols: list[str] | str


class Set(_Showing, frozen=True):
    """Replace the list, or what the connection shows and how often."""

    symbols: list[str] | str | None = None
    heartbeat_ms: int | None = None


class List(_Message, frozen=True):
    """Ask what is subscribed."""


class Resume(_Showing, frozen=True):
    """Go on from a position with what was held there.

    `seen`: the newest revision the client ever held, which may be past the position. `more`: this message does not name
    all of the symbols; another `resume` follows, and the last one is answered.
    """

    pos: str
    symbols: list[str] | str
    seen: int | None = None
    more: bool = False


class _Numbered(msgspec.Struct):
    id: int | None = None


Message = Auth | Sub | Unsub | Set | List | Resume
Showing = Sub | Set | Resume
KINDS: Final = tuple(each.__name__.lower() for each in get_args(Message))  # what `t` may say
_json = msgspec.json.Decoder(Message)
_msgpack = msgspec.msgpack.Decoder(Message)
_numbered_json = msgspec.json.Decoder(_Numbered)
_numbered_msgpack = msgspec.msgpack.Decoder(_Numbered)
# What the decoders can say to arbitrary bytes; unhashable keys and impossible times of MessagePack included.
_UNREADABLE: Final = (msgspec.DecodeError, ValueError, TypeError, OverflowError, RecursionError)


def read(payload: bytes | str, *, binary: bool) -> Message:
    """Read one message; raise BadRequest naming the field that is wrong, what was expected and what came."""
    try:
        message: Message = _msgpack.decode(payload) if binary else _json.decode(payload)  # type: ignore[arg-type]  # text is JSON
    except msgspec.ValidationError as error:
        raise explain(str(error), known=KINDS) from error
    except _UNREADABLE as error:
        encoding = "MessagePack" if binary else "JSON"
        raise BadRequest(f"expected one {encoding} object, got something else: {error}") from error
    return message


def message_id(payload: bytes | str, *, binary: bool) -> int | None:
    """Fish the id out of a message that is wrong otherwise, so that the client knows which one was refused."""
    try:
        return (_numbered_msgpack.decode(payload) if binary else _numbered_json.decode(payload)).id  # type: ignore[arg-type]  # text is JSON
    except _UNREADABLE:
        return None


def seen(rev: int | None) -> int:
    """Check the newest revision a client says it has seen; 0 where it says none."""
    if rev is not None and not 0 <= rev <= MAX_REV:
        raise BadRequest(f"expected a revision, 0 to 2^63 - 1, got {rev}", field="seen")
    return rev or 0


def rate(hz: float) -> float:
    """Return the rate a client gets for the one it asks for; 0 is every batch."""
    if not 0 <= hz <= MAX_HZ:
        raise BadRequest(f"expected a number from 0 (every batch) to {MAX_HZ:g}, got {hz}", field="hz")
    if hz == EVERY_BATCH:
        return EVERY_BATCH
    return max((each for each in RATES if each <= hz), default=RATES[0])


def heartbeat(ms: int) -> int:
    """Check a heartbeat period."""
    if not MIN_HEARTBEAT_MS <= ms <= MAX_HEARTBEAT_MS:
        raise BadRequest(f"expected {MIN_HEARTBEAT_MS} to {MAX_HEARTBEAT_MS}, got {ms}", field="heartbeat_ms")
    return ms
