"""`bhavcast watch`: quotes as they change."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from bhavcast.cli.address import Url, gateway, time_of, written
from bhavcast.cli.command import AsJson, command
from bhavcast.cli.output import CommandError, Exit, console, fail, json, note, report, say

if TYPE_CHECKING:
    from rich.table import Table

    from bhavcast.client.events import Event, Update
    from bhavcast.client.stream import Client

_COLUMNS = (
    ("id", "scrip"), ("current_price", "last"), ("change", "change"), ("percent_change", "%"), ("bid_price", "bid"),
    ("ask_price", "offer"), ("high", "high"), ("low", "low"), ("volume", "volume"), ("state", "state"),
)  # fmt: skip
_DRAWN_PER_SECOND = 8
_MOST_ROWS = 60  # on a screen


def watch(
    *symbols: str,
    url: Url = None,
    hz: Annotated[float, Parameter(show_default=False)] = 4.0,
    as_json: AsJson = False,
    seconds: Annotated[float | None, Parameter(name="--for", show_default=False)] = None,
    count: Annotated[int | None, Parameter(show_default=False)] = None,
) -> int:
    """Follow quotes as they change, until Ctrl-C.

    Parameters
    ----------
    symbols
        Scrip codes, BSE ids, ISINs, IDX:NAME, IDX:SENSEX/members, group:A, or * for everything.
    url
        Address of the gateway.
    hz
        Updates of each quote per second at most, 0 for every one [default: 4].
    as_json
        Print the quote as one JSON object at each update.
    seconds
        Stop after so many seconds.
    count
        Stop after so many updates.
    """
    if not symbols:
        fail("expected at least one symbol", then="bhavcast watch RELIANCE TCS", code=Exit.USAGE)
    if (seconds is not None and seconds <= 0) or (count is not None and count <= 0):
        fail("expected --for and --count above 0", code=Exit.USAGE)
    address = gateway(url).replace("http", "ws", 1) + "/ws"
    try:
        return asyncio.run(_follow(address, symbols, hz, seconds, _Printed(as_json=as_json, count=count)))
    except KeyboardInterrupt:
        return Exit.DONE


class _Printed:
    """What has been seen and said so far."""

    def __init__(self, *, as_json: bool, count: int | None) -> None:
        self.as_json = as_json
        self.left = count
        self.dropped = 0
        self.live = not as_json and sys.stdout.isatty()

    @property
    def enough(self) -> bool:
        return self.left is not None and self.left <= 0

    def update(self, update: "Update") -> None:
        """Print one update; a live table shows it by itself."""
        if self.enough:
            return
        if self.left is not None:
            self.left -= 1
        quote = update.quote
        if self.as_json:
            json(quote)
        elif not self.live:
            cells = [written(name, quote.get(name)) for name, _ in _COLUMNS[:4]]
            say(
                "  ".join(
                    [time_of(quote), *cells, f"volume {written('volume', quote.get('volume'))}", quote.get("state", "")]
                )
            )
            sys.stdout.flush()


async def _follow(address: str, symbols: tuple[str, ...], hz: float, seconds: float | None, printed: _Printed) -> int:
    from bhavcast.client.stream import Client

    async with Client(address, hz=hz) as client:
        await client.subscribe(*symbols)
        async with _screen(client, printed) as draw:
            try:
                async with asyncio.timeout(seconds):
                    return await _read(client, symbols, printed, draw)
            except TimeoutError:
                return Exit.WRONG if printed.dropped else Exit.DONE


async def _read(client: "Client", symbols: tuple[str, ...], printed: _Printed, draw: Callable[[], None]) -> int:
    from bhavcast.client.events import Update

    ever = False
    while True:
        for event in await client.receive():
            if isinstance(event, Update):
                printed.update(event)
            else:
                ever = _tell(event, printed, address=client.url, ever=ever)
        draw()
        if printed.enough or printed.dropped >= len(symbols):
            return Exit.WRONG if printed.dropped else Exit.DONE


def _tell(event: "Event", printed: _Printed, *, address: str, ever: bool) -> bool:
    """Tell what else happens; return whether there ever was a connection."""
    from bhavcast.client.events import Dropped, Link, Reset, Trouble

    match event:
        case Link(up=True):
            return True
        case Link() if not ever:
            fail(
                f"{address} does not answer: {event.reason}",
                then="bhavcast up starts it here; --url names another address",
            )
        case Link():
            note(f"The connection is lost ({event.reason}); trying again in {event.retry_seconds:.1f} s")
        case Dropped():
            printed.dropped += 1
            report(CommandError(f"{event.symbol}: {event.message or event.code}"))
        case Reset():
            note("A new epoch of the board began; everything is sent anew.")
        case Trouble():
            report(CommandError(f"{event.message} ({event.code})"))
    return ever


@asynccontextmanager
async def _screen(client: "Client", printed: _Printed) -> AsyncIterator[Callable[[], None]]:
    """Yield what draws the table again: on a terminal only."""
    if not printed.live:
        yield lambda: None
        return
    from rich.live import Live

    with Live(get_renderable=lambda: _table(client), console=console(), refresh_per_second=_DRAWN_PER_SECOND):
        yield lambda: None


def _table(client: "Client") -> "Table":
    from rich.table import Table
    from rich.text import Text

    link = "live" if client.connected else "connecting"
    drawn = Table(caption=f"{link} · {client.url} · Ctrl-C stops", header_style="bold")
    for name, title in _COLUMNS:
        drawn.add_column(title, justify="left" if name in ("id", "state") else "right")
    drawn.add_column("time", justify="right")
    for quote in list(client.quotes.values())[:_MOST_ROWS]:
        move = quote.get("change") or 0
        colour = "green" if move > 0 else "red" if move < 0 else ""
        cells = [
            Text(written(name, quote.get(name) or (quote.get("symbol") if name == "id" else None)))
            for name, _ in _COLUMNS
        ]
        for cell in cells[1:4]:
            cell.stylize(colour)
        drawn.add_row(*cells, Text(time_of(quote)))
    return drawn


app = command(
    "watch",
    watch,
    examples=[
        "bhavcast watch RELIANCE TCS",
        "bhavcast watch IDX:SENSEX/members --hz 1",
        "bhavcast watch '*' --json --for 60 > minute.jsonl",
    ],
    codes={0: "stopped as asked", 1: "a symbol is not served, and was named", 3: "no service answers"},
)
