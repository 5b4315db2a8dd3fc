"""`bhavcast import`: the exchange's files, checked whole and swapped in at once."""

import datetime
import time
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from bhavcast.cli.command import command
from bhavcast.cli.folder import HERE, Folder
from bhavcast.cli.output import CommandError, Exit, JsonFlag, fail, json, note, report, table, working
from bhavcast.domain.errors import BadFile

_ABOUT = (
    "A file is taken whole or not at all: where a row is wrong, the row and the reason are named and what was there "
    "before still stands; of several files the first that is refused ends it. A running system takes an import at its next day roll, or at once with --now."
)
TAKES_WITHIN_S = 10
PartialFlag = Annotated[
    bool, Parameter(name="--partial", negative="", help="The file holds some scrips only; the others stay as they are.")
]
ForceFlag = Annotated[
    bool,
    Parameter(
        name="--force",
        negative="",
        help="Take it though an earlier import was of a later date, its day is no trading day, or its figures are another "
        "day's.",
    ),
]
NowFlag = Annotated[
    bool,
    Parameter(
        name="--now",
        negative="",
        help="A running system takes it at once, as a new epoch, rather than at its next day roll.",
    ),
]


def master(
    *files: Path,
    partial: PartialFlag = False,
    force: ForceFlag = False,
    now: NowFlag = False,
    as_json: JsonFlag = False,
    folder: Folder = HERE,
) -> int:
    """Import scrip masters: codes, ids, names, ISINs, groups.

    Parameters
    ----------
    files
        The exchange's scrip master, BSE_EQ_SCRIP_DDMMYYYY.csv; several are imported in their order.
    """
    return _import("master", files, folder, None, partial=partial, force=force, now=now, as_json=as_json)


def bhavcopy(
    *files: Path,
    date: Annotated[datetime.date | None, Parameter(show_default=False)] = None,
    partial: PartialFlag = False,
    force: ForceFlag = False,
    now: NowFlag = False,
    as_json: JsonFlag = False,
    folder: Folder = HERE,
) -> int:
    """Import official days: closes, volumes, the next day's previous closes.

    Parameters
    ----------
    files
        EQDDMMYY.CSV or BhavCopy_BSE_CM_0_0_0_YYYYMMDD_F_0000.CSV; which of both is seen from the content.
    date
        The day the file must be of, where its name does not say it.
    """
    return _import("bhavcopy", files, folder, date, partial=partial, force=force, now=now, as_json=as_json)


def _import(
    kind: Literal["master", "bhavcopy"],
    files: tuple[Path, ...],
    folder: Folder,
    date: datetime.date | None,
    *,
    partial: bool,
    force: bool,
    now: bool,
    as_json: bool,
) -> int:
    from bhavcast.app.reference import import_file, is_running

    if not files:
        fail(f"import {kind} — expected one file or more, got none", code=Exit.USAGE)
    config = folder.settings()
    reports: list[dict[str, Any]] = []
    refused: CommandError | None = None
    for path in files:
        try:
            with working(f"importing {path.name}"):
                done = import_file(config, kind, path, date=date, partial=partial, force=force)
        except BadFile as error:
            refused = _refusal(path, error, len(reports), len(files))
            break
        reports.append(done)
        if as_json:
            json(done)
        for warning in done["warnings"]:
            note(f"warning: {path.name}: {warning}")
    if reports and not as_json:
        _show(reports)
    if refused is not None:
        report(refused)
    code = Exit.DONE if refused is None else Exit.WRONG
    if not reports or not is_running(config):
        return code
    if not now:
        note(f"the system that runs on {config.data} takes it at its next day roll or start; --now asks for it at once")
        return code
    return max(code, _at_once(config))


def _refusal(path: Path, error: BadFile, done: int, of: int) -> CommandError:
    stands = "nothing has changed: what was there before still stands"
    if of > 1:
        stands = f"nothing of it was used; {done} of {of} files were imported before it, those after it were not read"
    return CommandError(f"{path.name or path}: {error.detail}", then=stands)


def _at_once(config: Any) -> Exit:
    from bhavcast.app.reference import ask_now, is_pending

    ask_now(config)
    with working("waiting for the running system"):
        for _ in range(TAKES_WITHIN_S * 10):
            time.sleep(0.1)
            if not is_pending(config):
                note(
                    "the running system describes its scrips by it, in a new epoch; a simulated market begins its day anew from it, a recording or an official day stays what it is"
                )
                return Exit.DONE
    report(
        CommandError(
            f"imported, but the running system has not taken it within {TAKES_WITHIN_S} s",
            then="look at its log; it takes it at its next day roll or start in any case",
        )
    )
    return Exit.WRONG


def _show(reports: list[dict[str, Any]]) -> None:
    columns = ["source", "form", "date", "rows", "active", "suspended", "provisional", "added", "removed", "changed"]
    table(columns, [[done[column] for column in columns] for done in reports], right=columns[3:])


app = command(
    "import", examples=["bhavcast import master BSE_EQ_SCRIP_15062023.csv", "bhavcast import bhavcopy EQ070521.CSV"]
)
app.command(
    command(
        "master",
        master,
        about=_ABOUT,
        examples=[
            "bhavcast import master BSE_EQ_SCRIP_15062023.csv",
            "bhavcast import master new.csv --partial --data ./day",
        ],
        codes={0: "imported", 1: "refused, with row and reason"},
    )
)
app.command(
    command(
        "bhavcopy",
        bhavcopy,
        about=_ABOUT,
        examples=[
            "bhavcast import bhavcopy EQ070521.CSV",
            "bhavcast import bhavcopy excerpt.csv --partial",
            "bhavcast import bhavcopy day.csv --date 2021-05-07 --json",
        ],
        codes={0: "imported", 1: "refused, with row and reason"},
    )
)
