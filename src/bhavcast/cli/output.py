"""What commands print: tables for people, JSON for programs, one shape of error.

stdout carries the answer, stderr everything about it. Colours and boxes appear only on a terminal, and never where
NO_COLOR is set; a pipe gets plain columns.
"""

import os
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn
from urllib.parse import urlsplit

import msgspec
from cyclopts import Parameter

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from bhavcast.domain.errors import BhavcastError


JsonFlag = Annotated[bool, Parameter(name="--json", negative="", help="print JSON, for programs")]


def _is_address(_kind: object, value: object) -> None:
    if value is None:
        return
    try:
        parts = urlsplit(str(value))
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        sound = sound and parts.path in ("", "/") and not parts.query and not parts.fragment
    except ValueError:
        sound = False
    if not sound:
        raise ValueError(f"expected an address such as http://127.0.0.1:5000, got {str(value)[:80]!r}")


Address = Parameter(validator=_is_address)
UrlFlag = Annotated[str, Address, Parameter(help="address of the gateway")]

KeyFileFlag = Annotated[
    Path | None,
    Parameter(
        name="--key-file",
        help="file that holds the key, where one is needed [default: $BHAVCAST_KEY_FILE]",
        show_default=False,
        metavar="FILE",
    ),
]


def key_headers(file: Path | None) -> dict[str, str]:
    """Return the header with the key in a file; none where there is no file. A key is never an argument."""
    named = file or os.environ.get("BHAVCAST_KEY_FILE")
    if not named:
        return {}
    try:
        text = Path(named).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        fail(f"--key-file — expected a file that holds a key, got {named}: {error}", code=Exit.USAGE)
    if not text or not text.isprintable() or " " in text:
        fail(f"--key-file — expected a file that holds one key, got something else in {named}", code=Exit.USAGE)
    return {"Authorization": f"Bearer {text}"}


class Exit(IntEnum):
    """What a command ends with; every `--help` says what they mean there."""

    DONE = 0
    WRONG = 1
    USAGE = 2
    UNABLE = 3


class CommandError(Exception):
    """End the command: say what is wrong — what was expected, what came — and what to do next."""

    def __init__(self, what: str, *, then: str = "", code: Exit = Exit.UNABLE) -> None:
        super().__init__(what)
        self.what = what
        self.then = then
        self.code = code


def fail(what: str, *, then: str = "", code: Exit = Exit.UNABLE) -> NoReturn:
    """Raise a CommandError."""
    raise CommandError(what, then=then, code=code)


def console(*, stderr: bool = False) -> "Console":
    """Return Rich's console of a stream; it knows whether that is a terminal, and NO_COLOR."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def say(text: str) -> None:
    """Print a line of the answer."""
    print(text)


def note(text: str) -> None:
    """Print a line about the answer; a program that reads the answer does not get it."""
    print(text, file=sys.stderr)


def report(failure: CommandError) -> None:
    """Print an error in the one shape that errors have."""
    note(f"error: {failure.what}")
    if failure.then:
        note(f"  next: {failure.then}")


def json(value: object) -> None:
    """Print one line of JSON."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Iterable[str] = (),
    spare: Sequence[str] = (),
) -> None:
    """Print rows under their columns; those in `right` are numbers, those in `spare` left out where a terminal is narrow."""
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    numbers = set(right)
    if sys.stdout.isatty():
        from rich.text import Text

        place = console()
        kept = fitting(columns, cells, place.width, spare)
        drawn = ruled([columns[at] for at in kept], numbers)
        for row in cells:
            drawn.add_row(*(Text(row[at]) for at in kept))
        place.print(drawn)
        return
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for row in [list(columns), *cells]:
        aligned = [
            cell.rjust(width) if name in numbers else cell.ljust(width)
            for cell, width, name in zip(row, widths, columns, strict=True)
        ]
        print("  ".join(aligned).rstrip())


def ruled(columns: Sequence[str], numbers: Container[str], title: str = "") -> "Table":
    """Return an empty table of a terminal, with a rule under its columns' names and two spaces between them."""
    from rich import box
    from rich.table import Table

    drawn = Table(
        title=title or None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="bold",
    )
    for column in columns:
        if column in numbers:
            drawn.add_column(column, justify="right", no_wrap=True)
        else:
            drawn.add_column(column, overflow="fold")
    return drawn


def fitting(columns: Sequence[str], cells: Sequence[Sequence[str]], width: int, spare: Sequence[str]) -> list[int]:
    """Return where the columns stand that fit into a terminal's width; those in `spare` give way, the first first."""
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    kept = list(range(len(columns)))
    for name in spare:
        if sum(widths[at] for at in kept) + 2 * (len(kept) - 1) <= width:
            break
        kept.remove(columns.index(name))
    return kept


def written(value: object, *, thousands: str = "") -> str:
    """Return a value of a quote as people read it: a price has two decimals, or the four of a debt price."""
    if isinstance(value, float):
        decimals = max(2, len(repr(value).partition(".")[2]))
        return f"{value:{thousands}.{decimals}f}"
    if isinstance(value, int):
        return f"{value:{thousands}}"
    return "" if value is None else str(value)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show on a terminal that something is under way; anything longer than a second gets this."""
    if not sys.stderr.isatty():
        yield
        return
    with console(stderr=True).status(what):
        yield


@contextmanager
def status(what: str) -> Iterator[Callable[[str], None]]:
    """Show on a terminal what is being done; the function yielded names the present step."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with console(stderr=True).status(what) as shown:
        yield lambda step: shown.update(f"{what}: {step}")


@contextmanager
def progress(what: str) -> Iterator[Callable[[float, str], None]]:
    """Show a bar on a terminal; the function yielded takes the part that is done, 0 to 1, and a word on it."""
    if not sys.stderr.isatty():
        yield lambda _part, _word: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), TextColumn("{task.fields[word]}"))
    with Progress(*columns, console=console(stderr=True)) as bars:
        bar = bars.add_task(what, total=1.0, word="")
        yield lambda part, word: bars.update(bar, completed=min(1.0, part), word=word)


def age(seconds: float | None) -> str:
    """Return an age in the unit in which people would say it."""
    if seconds is None:
        return "?"
    for least, unit in ((172_800, "d"), (7_200, "h"), (120, "min")):
        if seconds >= least:
            return f"{seconds / {'d': 86_400, 'h': 3_600, 'min': 60}[unit]:.0f} {unit}"
    return f"{max(0.0, seconds):.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def advice(error: "BhavcastError") -> tuple[str, Exit]:
    """Return what to do about an error of the product, and the code the command ends with."""
    match error.code:
        case "unreachable":
            return "start the system (bhavcast up), or give its address with --url", Exit.UNABLE
        case "refused":
            return "", Exit.WRONG
        case "bad_config":
            return (
                "bhavcast config show lists every setting; docs/reference/settings.md says what each takes",
                Exit.USAGE,
            )
        case "bad_request" | "unknown_symbol" | "ambiguous_symbol" | "too_many_symbols":
            return "", Exit.WRONG
        case "bad_file":
            return "nothing has changed: what was there before still stands", Exit.WRONG
        case "unknown_format":
            return "docs/reference/formats.md lists the versions, and says how to go back", Exit.UNABLE
        case "not_the_writer":
            return "stop the other process that uses this data folder, or give another one with --data", Exit.UNABLE
    if error.temporary:
        return "this can pass: try again" + (f" in {error.retry_after} s" if error.retry_after else ""), Exit.UNABLE
    return f"docs/reference/errors.md says what {error.code} means", Exit.UNABLE
