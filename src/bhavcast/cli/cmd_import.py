"""`bhavcast import`: the official files, checked whole and swapped in at once."""

import datetime
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bhavcast.cli.command import AsJson, Switch, command
from bhavcast.cli.flags import DataFlags
from bhavcast.cli.output import CommandError, Exit, json, note, report, say, table, working
from bhavcast.domain.errors import BadFile

if TYPE_CHECKING:
    from bhavcast.app.config import Config
    from bhavcast.app.reference import ImportReport


def master(
    *files: Path,
    partial: Switch = False,
    force: Switch = False,
    now: Switch = False,
    as_json: AsJson = False,
    flags: DataFlags | None = None,
) -> int:
    """Import scrip masters.

    Parameters
    ----------
    files
        Files of the exchange, as CSV.
    partial
        The file has some scrips only; the others stay as they are.
    force
        Take it though it is older than what is there.
    now
        Let a running system take it up at once, as a new epoch, instead of at its next day.
    as_json
        Print one JSON object for each file.
    flags
        Where the data folder is.
    """
    return _run(
        "master", files, (flags or DataFlags()).load().config, partial=partial, force=force, now=now, lines=as_json
    )


def bhavcopy(
    *files: Path,
    date: datetime.date | None = None,
    partial: Switch = False,
    force: Switch = False,
    now: Switch = False,
    as_json: AsJson = False,
    flags: DataFlags | None = None,
) -> int:
    """Import the official files of days, of the old form or the new one (UDiFF).

    Parameters
    ----------
    files
        Files of the exchange, as CSV; several are taken in the order given, so give the oldest first.
    date
        The day that the file must be of (2026-09-11).
    partial
        The file has some scrips only; the others keep their closes.
    force
        Take it though it is of an earlier day than what is there.
    now
        Let a running system take it up at once, as a new epoch, instead of at its next day.
    as_json
        Print one JSON object for each file.
    flags
        Where the data folder is.
    """
    config = (flags or DataFlags()).load().config
    return _run("bhavcopy", files, config, date=date, partial=partial, force=force, now=now, lines=as_json)


def _run(
    kind: Literal["master", "bhavcopy"],
    files: Sequence[Path],
    config: "Config",
    *,
    date: datetime.date | None = None,
    partial: bool,
    force: bool,
    now: bool,
    lines: bool,
) -> int:
    if not files:
        raise CommandError(
            "expected at least one file", then=f"bhavcast import {kind} --help shows how", code=Exit.USAGE
        )
    reference = import_module("bhavcast.app.reference")
    done = 0
    for file in files:
        try:
            with working(f"Reading {file.name}"):
                found = reference.import_file(config, kind, file, date=date, partial=partial, force=force)
        except BadFile as error:
            report(_refusal(file, error, done, len(files)))
            break
        done += 1
        _show(found, lines=lines)
    if done:
        _tell_running(config.data, now=now)
    return Exit.DONE if done == len(files) else Exit.WRONG


def _refusal(file: Path, error: BadFile, done: int, of: int) -> CommandError:
    stands = "nothing was changed; the last good file stays"
    if of > 1:
        stands = f"nothing of it was used; {done} of {of} files were imported before it, those after it were not read"
    return CommandError(f"{file} was refused: {error.detail}", then=stands)


def _show(found: "ImportReport", *, lines: bool) -> None:
    if lines:
        json(found)
        return
    of = f" of {found.date:%d %b %Y}" if found.date else ""
    say(f"Imported {found.source}: {found.rows:,} rows{of} ({found.form}{', partial' if found.partial else ''})")
    names = ("active", "suspended", "provisional", "added", "changed", "removed")
    table(names, [[f"{getattr(found, name):,}" for name in names]], right=names)
    for warning in found.warnings:
        note(f"warning: {warning}")


def _tell_running(data: Path, *, now: bool) -> None:
    reference = import_module("bhavcast.app.reference")
    if not reference.is_running(data):
        if now:
            note("Nothing runs on this data folder; the next start reads it.")
    elif not now:
        note("A system is running on this data folder: it takes this up at its next day, or at once with --now.")
    elif reference.ask_reload(data):
        note("The running system has taken it up; prices that it has made today stay as they are.")
    else:
        note("The running system has not taken it up: a replay and an official day keep the market they began with.")
        note("  next: start it again")


_CODES = {
    0: "imported",
    1: "a file was refused; what was there before still stands, and later files were not read",
    3: "could not be stored",
}
app = command(
    "import",
    examples=["bhavcast import master BSE_EQ_SCRIP_15062023.csv", "bhavcast import bhavcopy EQ070521.CSV"],
    codes=_CODES,
)
app.command(
    command(
        "master",
        master,
        examples=[
            "bhavcast import master BSE_EQ_SCRIP_15062023.csv",
            "bhavcast import master new-listings.csv --partial --now",
        ],
        codes=_CODES,
    )
)
app.command(
    command(
        "bhavcopy",
        bhavcopy,
        examples=[
            "bhavcast import bhavcopy EQ060521.CSV EQ070521.CSV",
            "bhavcast import bhavcopy BhavCopy_BSE_CM_0_0_0_20260911_F_0000.CSV --date 2026-09-11 --json",
        ],
        codes=_CODES,
    )
)
