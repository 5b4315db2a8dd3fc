"""`bhavcast watch`: a live table of quotes that says how old they are."""

import asyncio
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from cyclopts import Parameter

from bhavcast.cli.command import command
from bhavcast.cli.output import (
    Exit,
    JsonFlag,
    KeyFileFlag,
    UrlFlag,
    age,
    console,
    fail,
    fitting,
    json,
    key_headers,
    note,
    ruled,
    say,
    written,
)
from bhavcast.cli.usage import number

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bhavcast.client.events import Event, Quote, Update

_LIT_S = 0.7  # a changed cell stays lit for so long
_REDRAW_S = 0.1
_HEAD_LINES = 4  # title, names, rule, and the line of the cursor
_FIELDS = {
    "id": "id",
    "price": "current_price",
    "change": "change",
    "%": "percent_change",
    "volume": "volume",
    "bid": "bid_price",
    "ask": "ask_price",
    "state": "state",
    "phase": "phase",
}
_COLUMNS = ("symbol", *_FIELDS, "age")
_NUMBERS = ("price", "change", "%", "volume", "bid", "ask", "age")
_SPARE = ("bid", "ask", "phase", "volume", "change", "id")


class MarketTime:
    """The market's time between two messages that tell it."""

    def __init__(self) -> None:
        self._ms, self._speed, self._at = 0.0, 1.0, 0.0

    def learn(self, message: Mapping[str, Any]) -> None:
        """Take what a hello or a heartbeat says."""
        clock = message.get("clock")
        if isinstance(clock, dict) and isinstance(clock.get("speed"), int | float):
            self._speed = clock["speed"]
        if isinstance(message.get("now"), int):
            self._ms, self._at = message["now"], time.monotonic()

    @property
    def ms(self) -> float:
        """Now, in milliseconds since the Unix epoch; 0 while nobody has told."""
        return self._ms + (time.monotonic() - self._at) * 1000 * self._speed if self._ms else 0.0

    def age_seconds(self, quote: Mapping[str, Any]) -> float | None:
        """Return how old a quote is, None where that cannot be known."""
        stamp = quote.get("timestamp")
        if not self._ms or not isinstance(stamp, str):
            return None
        return max(0.0, self.ms / 1000 - datetime.fromisoformat(stamp).timestamp())


class Shown(Protocol):
    """Where updates go."""

    def update(self, update: "Update") -> None:
        """Show a changed quote."""

    def link(self, up: bool, why: str) -> None:
        """Show that the link is up or down."""

    def market(self, message: Mapping[str, Any]) -> None:
        """Show the phase of the market."""

    def draw(self) -> None:
        """Show what only time has changed."""


class Lines:
    """One line for each update: JSON, or columns."""

    def __init__(self, clock: MarketTime, *, as_json: bool) -> None:
        self._clock = clock
        self._json = as_json

    def update(self, update: "Update") -> None:
        """Print a line."""
        quote = update.quote
        seconds = self._clock.age_seconds(quote)
        if self._json:
            age_ms = None if seconds is None else round(seconds * 1000)
            json(
                {
                    "symbol": update.symbol,
                    "age_ms": age_ms,
                    "whole": update.whole,
                    "changes": update.changes,
                    "quote": quote,
                }
            )
            return
        cells = [update.symbol, *(written(quote.get(field)) for field in _FIELDS.values()), age(seconds)]
        say("  ".join(cell or "-" for cell in cells))
        sys.stdout.flush()

    def link(self, up: bool, why: str) -> None:
        """Say it beside the answer."""
        note("link up" if up else f"link down: {why}")

    def market(self, message: Mapping[str, Any]) -> None:
        """Leave it out: every quote has its phase."""

    def draw(self) -> None:
        """Leave lines as they are."""


class Live:
    """A table that stays in its place."""

    def __init__(self, clock: MarketTime, quotes: Mapping[str, "Quote"]) -> None:
        from rich.live import Live as Place

        self._clock = clock
        self._quotes = quotes
        self._lit: dict[tuple[str, str], tuple[float, str]] = {}
        self._link, self._status = "connecting", ""
        self._width, self._gone = 0, set[int]()
        self.place = Place(console=console(), auto_refresh=False, transient=False)

    def update(self, update: "Update") -> None:
        """Light the changed cells, green for up and red for down."""
        if update.whole:
            return
        style = "reverse"
        if isinstance(change := update.quote.get("change"), int | float) and "current_price" in update.changes:
            style = "black on green" if change >= 0 else "white on red"
        until = time.monotonic() + _LIT_S
        for field in update.changes:
            self._lit[update.symbol, field] = (until, style)

    def link(self, up: bool, why: str) -> None:
        """Remember it for the title."""
        self._link = "live" if up else f"link down, trying again: {why}"

    def market(self, message: Mapping[str, Any]) -> None:
        """Remember it for the title."""
        self._status = str(message.get("status", ""))

    def draw(self) -> None:
        """Draw the table as it is now."""
        self.place.update(self._table(), refresh=True)

    def _table(self) -> "RenderableType":
        from rich.text import Text

        size = self.place.console.size
        shown = list(islice(self._quotes.items(), max(1, size.height - _HEAD_LINES)))
        fields = [*_FIELDS.values()]
        cells = [
            [
                symbol,
                *(written(quote.get(field), thousands=",") for field in fields),
                age(self._clock.age_seconds(quote)),
            ]
            for symbol, quote in shown
        ]
        kept = self._kept(cells, size.width)
        more = f"the first {len(shown)} of {len(self._quotes):,}" if len(shown) < len(self._quotes) else ""
        title = " · ".join(filter(None, (self._link, self._status, more)))
        drawn = ruled([_COLUMNS[at] for at in kept], _NUMBERS, title)
        now = time.monotonic()
        for (symbol, quote), row in zip(shown, cells, strict=True):
            styles = ["", *(self._style(symbol, field, now) for field in fields), ""]
            drawn.add_row(
                *(Text(row[at], style=styles[at]) for at in kept), style="dim" if quote.get("state") == "stale" else ""
            )
        return drawn

    def _kept(self, cells: list[list[str]], width: int) -> list[int]:
        """Return the columns to draw: one that gave way stays away, or it would come and go with every digit."""
        if width != self._width:
            self._width, self._gone = width, set()
        kept = fitting(_COLUMNS, cells, width, _SPARE)
        self._gone |= set(range(len(_COLUMNS))) - set(kept)
        return [at for at in kept if at not in self._gone]

    def _style(self, symbol: str, field: str, now: float) -> str:
        until, style = self._lit.get((symbol, field), (0.0, ""))
        return style if now < until else ""


def watch(
    *symbols: str,
    url: UrlFlag = "http://127.0.0.1:5000",
    hz: Annotated[float, number(0, 50)] = 4.0,
    seconds: Annotated[float | None, number(0, above=True), Parameter(name="--for", show_default=False)] = None,
    count: Annotated[int | None, number(1), Parameter(show_default=False)] = None,
    key_file: KeyFileFlag = None,
    as_json: JsonFlag = False,
) -> int:
    """Show quotes as they change, until Ctrl-C; after a lost connection it goes on where it was.

    Parameters
    ----------
    symbols
        Codes, ids, ISINs, indices (IDX:SENSEX), an index's members (IDX:SENSEX/members), a group (group:A) or * for all.
    hz
        Updates per second of one quote at most; 0 for every one.
    seconds
        Stop after so many seconds.
    count
        Stop after so many updates.
    """
    if not symbols:
        fail("watch — expected one symbol or more, got none", then="bhavcast watch RELIANCE", code=Exit.USAGE)
    try:
        return asyncio.run(_watch(url, symbols, hz, seconds, count, key_headers(key_file), as_json=as_json))
    except KeyboardInterrupt:
        return Exit.DONE


async def _watch(
    url: str,
    symbols: tuple[str, ...],
    hz: float,
    seconds: float | None,
    count: int | None,
    headers: dict[str, str],
    *,
    as_json: bool,
) -> int:
    from bhavcast.client.stream import Client

    clock = MarketTime()
    async with Client(url.rstrip("/").replace("http", "ws", 1) + "/ws", hz=hz, headers=headers) as stream:
        await stream.subscribe(*symbols)
        watching = Watching(clock, count)
        try:
            async with asyncio.timeout(seconds):
                with _shown(clock, stream.quotes, as_json=as_json) as shown:
                    drawing = asyncio.create_task(_draw(shown))
                    try:
                        await watching.follow(stream, shown)
                    finally:
                        drawing.cancel()
        except TimeoutError:
            return Exit.DONE
    return Exit.DONE


class Watching:
    """What is done with each event, and when it is enough."""

    def __init__(self, clock: MarketTime, count: int | None) -> None:
        self._clock = clock
        self._left = count
        self._was_up = False

    async def follow(self, stream: Any, shown: Shown) -> None:
        """Show events until there were enough updates."""
        while self._left is None or self._left > 0:
            for event in await stream.receive():
                self._show(event, shown)
                if self._left == 0:
                    return
            if self._was_up and not stream.state.subscribed:
                fail("nothing is left to watch: the service knows none of these symbols", code=Exit.WRONG)

    def _show(self, event: "Event", shown: Shown) -> None:
        from bhavcast.client import events as happened

        match event:
            case happened.Update():
                shown.update(event)
                self._left = None if self._left is None else self._left - 1
            case happened.Link(up=True):
                shown.link(True, "")
            case happened.Link():
                if not self._was_up:
                    fail(
                        f"no stream: {event.reason}",
                        then="start the system (bhavcast up), or give its address with --url",
                    )
                shown.link(False, event.reason)
            case happened.Hello():
                self._was_up = True
                self._clock.learn(event.message)
                shown.market(event.message.get("market") or {})
            case happened.Notice(kind="market"):
                shown.market(event.message)
            case happened.Notice(kind="hb"):
                self._clock.learn(event.message)
            case happened.Dropped():
                note(f"error: {event.symbol}: {event.message or event.code}")


@contextmanager
def _shown(clock: MarketTime, quotes: Mapping[str, "Quote"], *, as_json: bool) -> Iterator[Shown]:
    if as_json or not sys.stdout.isatty():
        yield Lines(clock, as_json=as_json)
        return
    live = Live(clock, quotes)
    with live.place:
        yield live
        live.draw()


async def _draw(shown: Shown) -> None:
    while True:
        shown.draw()
        await asyncio.sleep(_REDRAW_S)


app = command(
    "watch",
    watch,
    about="With --json every update is one line: symbol, age_ms, whole, changes, quote. What happens to the link goes to stderr.",
    examples=[
        "bhavcast watch RELIANCE TCS IDX:SENSEX",
        "bhavcast watch IDX:SENSEX/members --hz 1",
        "bhavcast watch RELIANCE --json --count 100",
        "bhavcast watch group:A --for 60",
    ],
    codes={
        0: "watched until told to stop",
        1: "the service knows none of the symbols",
        3: "nothing answers at the address",
    },
)
