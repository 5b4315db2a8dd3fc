"""What a client holds, and what every frame does to it; no socket, no clock.

The rules are those of docs/explanation/state.md, "Positions". In short: a position says that everything subscribed is
complete to it; only `sync`, `u` and `hb` move it; a `snap` row replaces the held row; null deletes a field; a row older
than the held one is dropped; what was unsubscribed is ignored, also where the service has not heard of it yet.

Use: give every received frame to `receive`, and send whatever `outgoing` returns after each call of any method.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from bhavcast.client import frames
from bhavcast.client.errors import BadFrame
from bhavcast.client.events import (
    Dropped,
    Event,
    Hello,
    Notice,
    Quote,
    Reset,
    Resumed,
    Synced,
    Trouble,
    Update,
)
from bhavcast.domain.errors import BadRequest
from bhavcast.domain.position import Position

SYMBOLS_PER_MESSAGE: Final = 500
HEARTBEAT_MS: Final = 5000
DEFAULT_HZ: Final = 10.0


class Disorder(BadFrame):
    """A frame goes back behind the position, so frames came in another order than they were sent: begin anew."""


class State:
    """One client's subscriptions, quotes and position, over any number of connections."""

    def __init__(
        self, *, fields: str | list[str] = "full", depth: int = 0, hz: float = DEFAULT_HZ, binary: bool = False
    ) -> None:
        self.binary = binary
        self.fields, self.depth, self.hz = fields, depth, hz
        self.heartbeat_ms = HEARTBEAT_MS
        self.quotes: dict[str, Quote] = {}
        self.position: Position | None = None
        self.greeted = False
        # The newest revision ever held, which may be past the position: a gateway below it makes us wait, not go back.
        self._seen = 0
        # What is subscribed as the service calls it (codes, "group:A", "*"), and what it has not answered yet.
        self._items: dict[str, None] = {}
        self._wide: set[str] = set()  # those of the items that stand for more than one symbol
        self._asked: dict[str, None] = {}
        self._sent: dict[int, list[str]] = {}  # what was asked, by the id of its message, until that is answered
        self._codes: dict[str, str] = {}  # what the service calls what was asked by another name
        # Of the items: complete to the position; and by the id of their message, those whose `sync` is still to come.
        self._held: set[str] = set()
        self._coming: dict[int, list[str]] = {}
        self._coming_again: set[str] = set()  # after a reset, under no id
        self._leaving: dict[int, set[str]] = {}  # between unsub and its ack
        self._ignored: set[str] = set()  # all of `_leaving`
        self._unconfirmed: set[str] = set()  # rows of an older position, that come again or are gone
        self._reshaping: dict[int, tuple[str | list[str], int]] = {}  # what was shown before, until that is answered
        self._resume_id = 0
        self._resuming = False
        self._last_id = 0
        self._most = SYMBOLS_PER_MESSAGE
        self._outgoing: list[frames.Frame] = []

    # -- what the user wants ----------------------------------------------------------------------------------------

    @property
    def subscribed(self) -> list[str]:
        """What is asked for, as the service calls it where it has answered."""
        return [*self._items, *(text for text in self._asked if text not in self._items)]

    @property
    def complete(self) -> bool:
        """Whether everything that is subscribed is held, complete to the position."""
        return self.position is not None and not self._asked and self._held == self._items.keys()

    def subscribe(self, symbols: Iterable[str]) -> None:
        """Ask for more: codes, ids, ISINs, `IDX:SENSEX`, `IDX:SENSEX/members`, `group:A` or `*`."""
        new = [text for text in dict.fromkeys(symbols) if text not in self._items and text not in self._asked]
        self._asked.update(dict.fromkeys(new))
        if self.greeted:
            self._sub(new)

    def unsubscribe(self, symbols: Iterable[str]) -> None:
        """Ask for fewer; their quotes are gone at once. A scrip goes with any of its names, also of several asked for."""
        gone = {self._code(text) for text in symbols}
        self._codes = {text: item for text, item in self._codes.items() if item not in gone}
        known = self._wide.union(text for text in self._asked if _is_wide(text))
        for text in gone:
            self._asked.pop(text, None)
        wide = known - gone
        again = sorted(wide)
        for text in again:
            self._asked.pop(text, None)
        if self.greeted and gone:
            # Whether a group that stays has a symbol that goes cannot be told from here: the group comes anew.
            self._unsub([*sorted(gone), *again])
        if known:
            self._forget(wide)
            self._forget(self.quotes.keys() - self._items.keys())
        self._forget(gone)
        self.subscribe(again)

    def show(self, *, fields: str | list[str] | None = None, depth: int | None = None, hz: float | None = None) -> None:
        """Change what quotes show, or how often they come; a change of what they show sends them all anew."""
        before = (self.fields, self.depth)
        self.fields = self.fields if fields is None else fields
        self.depth = self.depth if depth is None else depth
        self.hz = self.hz if hz is None else hz
        reshaped = (self.fields, self.depth) != before
        if not self.greeted:
            if reshaped:
                self._drop_position()
            return
        self._show()
        if reshaped:
            # Until the answer everything comes as before, and the position is good for that.
            self._reshaping[self._last_id] = before

    def _sub(self, texts: list[str], *, seen: int = 0) -> None:
        # Each group in a message of its own, so that it is clear which rows came with it.
        narrow = [text for text in texts if not _is_wide(text)]
        pieces = [narrow[start : start + self._most] for start in range(0, len(narrow), self._most)]
        for piece in [*pieces, *([text] for text in texts if _is_wide(text))]:
            self._send({"t": "sub", "symbols": piece, **({"seen": seen} if seen else {})})
            self._sent[self._last_id] = piece
            seen = 0  # once is enough: they are answered in order

    def _unsub(self, texts: list[str]) -> None:
        for start in range(0, len(texts), self._most):
            piece = texts[start : start + self._most]
            self._send({"t": "unsub", "symbols": piece})
            self._leaving[self._last_id] = set(piece)
        self._ignored.update(texts)

    def _show(self) -> None:
        self._send({"t": "set", "fields": self.fields, "depth": self.depth, "hz": self.hz})

    def _send(self, message: dict[str, Any]) -> None:
        self._last_id += 1
        self._outgoing.append(frames.write({"t": message.pop("t"), "id": self._last_id, **message}, binary=self.binary))

    def outgoing(self) -> list[frames.Frame]:
        """Return what is to be sent now, once."""
        sent, self._outgoing = self._outgoing, []
        return sent

    def _code(self, text: str) -> str:
        """Return what the service calls a symbol, as far as its answers and the quotes tell."""
        if text in self._items:
            return text
        if text in self._codes:
            return self._codes[text]
        upper = text.upper()
        for symbol, quote in self.quotes.items():
            if upper in (symbol, str(quote.get("id", "")).upper(), quote.get("isin")):
                return symbol
        return text

    def _forget(self, items: Iterable[str]) -> None:
        gone = set(items)
        for item in gone:
            self._items.pop(item, None)
            self.quotes.pop(item, None)
        self._wide -= gone
        self._held -= gone
        self._coming_again -= gone
        self._unconfirmed -= gone
        for coming in self._coming.values():
            coming[:] = [item for item in coming if item not in gone]

    # -- connections ------------------------------------------------------------------------------------------------

    def disconnected(self) -> None:
        """Note that the connection is gone: what is held stays, and what was under way is asked for again."""
        self.greeted = False
        if self._reshaping:
            self._drop_position()
        for under_way in (self._sent, self._coming, self._coming_again, self._leaving, self._ignored, self._reshaping):
            under_way.clear()
        self._outgoing.clear()
        self._resuming = False

    def begin_anew(self) -> None:
        """Trust nothing that is held: the next connection asks for everything."""
        self._drop_position()

    def _greet(self, message: dict[str, Any]) -> Iterator[Event]:
        self.greeted = True
        limits = message.get("limits")
        most = limits.get("symbols_per_message") if isinstance(limits, dict) else None
        self._most = most if isinstance(most, int) and most > 0 else SYMBOLS_PER_MESSAGE
        beat = message.get("heartbeat_ms")
        self.heartbeat_ms = beat if isinstance(beat, int) and beat > 0 else HEARTBEAT_MS
        yield Hello(message=message)
        self._show()
        resumable = self._resumable()
        if not resumable:
            self._drop_position()
        again = [item for item in self._items if item not in resumable]
        if self._wide.isdisjoint(again):
            self._unconfirmed.update(again)
        else:
            self._unconfirmed = self.quotes.keys() - resumable.keys()
        # The service's answer says what they are called now.
        self._asked = dict.fromkeys([*again, *self._asked])
        self._items = resumable
        self._wide -= set(again)
        self._held = set(resumable)
        if resumable:
            self._resume(list(resumable))
        self._sub(list(self._asked), seen=0 if resumable else self._seen)

    def _resume(self, items: list[str]) -> None:
        for start in range(0, len(items), self._most):
            rest = {"more": True} if start + self._most < len(items) else {"seen": self._seen}
            self._send({"t": "resume", "pos": str(self.position), "symbols": items[start : start + self._most], **rest})
        self._resume_id, self._resuming = self._last_id, True
        self._coming[self._last_id] = items

    def _resumable(self) -> dict[str, None]:
        """Return what may be resumed: what is held."""
        if self.position is None:
            return {}
        held = [item for item in self._items if item in self._held]
        if not self._wide <= set(held):  # then whose a row is could not be told
            held = [item for item in held if item not in self._wide]
        return dict.fromkeys(held)

    # -- what the service says --------------------------------------------------------------------------------------

    def receive(self, frame: frames.Frame) -> list[Event]:
        """Take in one frame and return what happened.

        Raises:
            BadFrame: it is not a message of the protocol. What was held stands.
            Disorder: frames came out of order. What is held cannot be trusted.
        """
        return list(self._handle(frames.read(frame)))

    def _handle(self, message: dict[str, Any]) -> Iterator[Event]:
        kind = message.get("t")
        if not self.greeted and kind not in ("hello", "error"):
            raise BadFrame(f"expected hello first, got {str(kind)[:40]!r}")
        match kind:
            case "u":
                position = self._position(message)
                yield from self._rows(message, whole=False)
                self._move(position)
            case "snap":
                yield from self._rows(message, whole=True)
            case "hb":
                self._move(self._position(message))
                yield Notice(kind="hb", message=message)
            case "sync":
                yield from self._sync(message)
            case "ack":
                yield from self._ack(message)
            case "resumed":
                yield from self._resumed(message)
            case "reset":
                yield from self._reset(message)
            case "hello" if not self.greeted:
                yield from self._greet(message)
            case "status":
                yield from self._status(message)
            case "error":
                yield from self._error(message)
            case "market" | "feed" | "lag" | "rate":
                yield Notice(kind=kind, message=message)
            case "hello":
                raise BadFrame("expected one hello, got another")
            case str():
                return  # a newer service may say more than this client knows
            case _:
                raise BadFrame("expected a message with its type t")

    def _rows(self, message: dict[str, Any], *, whole: bool) -> Iterator[Event]:
        rows = message.get("q")
        if not isinstance(rows, list):
            raise BadFrame("expected the quotes as a list q")
        for row in rows:
            if not isinstance(row, dict) or not isinstance(row.get("symbol"), str) or type(row.get("rev")) is not int:
                raise BadFrame(f"expected a quote with symbol and rev, got {str(row)[:60]}")
        for row in rows:
            symbol = row["symbol"]
            if self._wants(symbol):
                event = self._replace(symbol, row) if whole else self._merge(symbol, row)
                if event is not None:
                    yield event

    def _wants(self, symbol: str) -> bool:
        return (symbol in self._items or bool(self._wide)) and symbol not in self._ignored

    def _replace(self, symbol: str, row: dict[str, Any]) -> Event:
        self._unconfirmed.discard(symbol)
        self._seen = max(self._seen, row["rev"])
        self.quotes[symbol] = row
        return Update(symbol=symbol, quote=row, changes=row, whole=True)

    def _merge(self, symbol: str, row: dict[str, Any]) -> Event | None:
        held = self.quotes.get(symbol)
        if held is None:  # its quote was let go of, and comes again as a whole
            return None
        if row["rev"] < held["rev"] or symbol in self._unconfirmed:
            return None
        self._seen = max(self._seen, row["rev"])
        merged = {**held, **row}
        for name, value in row.items():
            if value is None:
                del merged[name]
        sides = row.get("depth")
        if isinstance(sides, dict):
            both = {**held.get("depth", {}), **sides}
            merged["depth"] = {side: levels for side, levels in both.items() if levels is not None}
        self.quotes[symbol] = merged
        return Update(symbol=symbol, quote=merged, changes=row)

    def _position(self, message: dict[str, Any]) -> Position | None:
        text = message.get("pos")
        if text is None:
            return None
        try:
            position = Position.parse(text) if isinstance(text, str) else None
        except BadRequest as error:
            raise BadFrame(error.detail) from error
        if position is None:
            raise BadFrame(f"expected pos as text, got {str(text)[:40]!r}")
        held = self.position
        if held is not None and (position.epoch != held.epoch or position.rev < held.rev):
            raise Disorder(f"{position} came after {held}")
        return position

    def _move(self, position: Position | None) -> None:
        """Move the position, if the frame carries one and there is one to move."""
        if position is not None and self.position is not None:
            self.position = position
            self._seen = max(self._seen, position.rev)

    def _sync(self, message: dict[str, Any]) -> Iterator[Event]:
        position = self._position(message)
        if position is None:
            raise BadFrame("expected a sync with pos")
        number = _id(message)
        if number is None:
            covered, self._coming_again = self._coming_again, set()
        else:
            # Commands are answered in order; a snapshot that a change of fields overtook is part of that one's.
            covered = {item for each in list(self._coming) if each <= number for item in self._coming.pop(each)}
        anew, self.position = self.position is None, position
        self._held |= covered & self._items.keys()
        self._drop_unconfirmed(covered)
        # Begun anew: what was seen before counts no more, it may have been lost.
        rows = [row["rev"] for row in self.quotes.values()] if anew else [self._seen]
        self._seen = max([position.rev, *rows])
        count = message.get("count")
        yield Synced(position=position, count=count if isinstance(count, int) else 0)

    def _drop_unconfirmed(self, covered: set[str]) -> None:
        """Let go of rows that should have come again by now, and did not."""
        gone = set(self._unconfirmed) if self.complete and not self._coming else self._unconfirmed & covered
        for symbol in gone:
            self.quotes.pop(symbol, None)
        self._unconfirmed -= gone

    def _drop_position(self) -> None:
        self.position = None
        self._held = set()
        self._unconfirmed = set(self.quotes)

    def _ack(self, message: dict[str, Any]) -> Iterator[Event]:
        number = _id(message)
        if number is None:
            raise BadFrame("expected an ack with the id of what it answers")
        ok = _texts(message, "ok")
        if number in self._leaving:
            wide = any(map(_is_wide, self._leaving[number]))
            self._left(number)
            self._forget(item for item in ok if item not in self._asked)
            if wide and not self._wide:  # what came with it until now
                self._forget(self.quotes.keys() - self._items.keys())
        elif number in self._reshaping:
            del self._reshaping[number]
            self._drop_position()
            self._coming = {number: list(self._items)}
        elif number in self._sent:
            ok = self._answered(number, ok, _refused_symbols(message))
            self._coming[number] = ok
            self._items.update(dict.fromkeys(ok))
            self._wide.update(item for item in ok if _is_wide(item))
            yield from self._refused(message)

    def _answered(self, number: int, ok: list[str], bad: set[str]) -> list[str]:
        """Take note of the answer to a `sub`; return what is subscribed by it and has not been unsubscribed since."""
        texts = self._sent.pop(number)
        again = {text for each in self._sent.values() for text in each}
        for text in texts:
            if text not in again:
                self._asked.pop(text, None)
        good = [text for text in texts if text[:64] not in bad]
        if len(good) == len(ok):  # else two names are of one scrip, and the quotes tell
            self._codes.update((text, item) for text, item in zip(good, ok, strict=True) if text != item)
        left = self._ignored.union(item for text, item in zip(good, ok, strict=False) if text in self._ignored)
        return [item for item in ok if item not in left]

    def _left(self, number: int) -> None:
        del self._leaving[number]
        self._ignored = set().union(*self._leaving.values())

    def _refused(self, message: dict[str, Any]) -> Iterator[Event]:
        bad = message.get("bad", [])
        for each in bad if isinstance(bad, list) else []:
            if isinstance(each, dict) and isinstance(each.get("symbol"), str):
                self._forget({each["symbol"]})
                yield Dropped(
                    symbol=each["symbol"], code=str(each.get("code", "")), message=str(each.get("message", ""))
                )

    def _resumed(self, message: dict[str, Any]) -> Iterator[Event]:
        number = _id(message)
        if number is None or number != self._resume_id:
            raise BadFrame("expected a resumed with the id of the resume")
        self._resuming = False
        recovered = message.get("recovered") is True
        if recovered:
            self._coming.pop(number, None)
        else:
            self._drop_position()
        yield from self._refused(message)
        changed = message.get("changed")
        yield Resumed(recovered=recovered, changed=changed if isinstance(changed, int) else 0)

    def _reset(self, message: dict[str, Any]) -> Iterator[Event]:
        self._drop_position()
        # A resume that is not answered yet was not heard before the reset: what it names comes under its id.
        asked = self._coming.pop(self._resume_id, []) if self._resuming else []
        self._coming = {self._resume_id: asked} if asked else {}
        self._coming_again = self._items.keys() - set(asked)
        yield Reset(epoch=str(message.get("epoch", "")))

    def _status(self, message: dict[str, Any]) -> Iterator[Event]:
        symbol = message.get("symbol")
        if isinstance(symbol, str) and message.get("state") == "unknown_symbol":
            self._forget({symbol})
            yield Dropped(symbol=symbol, code="unknown_symbol", message="it does not exist in the new epoch")
        else:
            yield Notice(kind="status", message=message)

    def _error(self, message: dict[str, Any]) -> Iterator[Event]:
        number = _id(message)
        code, text = str(message.get("code", "")), str(message.get("message", ""))
        if number in self._leaving:
            self._left(number)
        elif number in self._reshaping:
            self.fields, self.depth = self._reshaping.pop(number)
        elif number in self._sent:
            for symbol in self._sent.pop(number):
                self._asked.pop(symbol, None)
                yield Dropped(symbol=symbol, code=code, message=text)
        elif number == self._resume_id and number in self._coming:
            self._resuming = False
            texts = self._coming.pop(number)
            self._drop_position()
            self._asked.update(dict.fromkeys(texts))
            self._sub(texts)
        retry = message.get("retry_ms")
        yield Trouble(
            code=code,
            message=text,
            temporary=message.get("temporary") is True,
            retry_ms=retry if isinstance(retry, int) else None,
        )


def _refused_symbols(message: dict[str, Any]) -> set[str]:
    bad = message.get("bad", [])
    return {str(each.get("symbol")) for each in bad if isinstance(each, dict)} if isinstance(bad, list) else set()


def _is_wide(item: str) -> bool:
    """Whether an item stands for more than one symbol."""
    lower = item.lower()
    return item == "*" or lower.startswith("group:") or lower.endswith("/members")


def _id(message: dict[str, Any]) -> int | None:
    number = message.get("id")
    return number if type(number) is int else None


def _texts(message: dict[str, Any], name: str) -> list[str]:
    texts = message.get(name)
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise BadFrame(f"expected {name} as a list of texts")
    return texts
