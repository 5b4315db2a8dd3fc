"""`bhavcast journal`: what the record of the market holds, and whether it is sound."""

from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import msgspec

from bhavcast.cli.command import command
from bhavcast.cli.folder import HERE, Folder
from bhavcast.cli.output import Exit, JsonFlag, fail, json, progress, say, table
from bhavcast.cli.usage import number

_ABOUT = "It only reads, also beside a running system."


def list_(*, folder: Folder = HERE, as_json: JsonFlag = False) -> int:
    """List the journals of the data folder, oldest first."""
    from bhavcast.domain.errors import BadRecord
    from bhavcast.journal import layout, reader

    rows: list[dict[str, Any]] = []
    for path in _journals(folder):
        row = {"file": path.name, "bytes": path.stat().st_size, "sealed": path.name.endswith(layout.SEALED_SUFFIX)}
        try:
            opening = reader.read_opening(path)
        except BadRecord as error:
            rows.append({**row, "epoch": None, "first_rev": None, "market": None, "flaw": error.detail})
        else:
            rows.append(
                {**row, "epoch": opening.epoch, "first_rev": opening.rev, "market": _time(opening.market), "flaw": None}
            )
    rows.sort(key=lambda row: row["first_rev"] or 0)
    if as_json:
        json(rows)
    else:
        columns = ["file", "market", "first_rev", "bytes", "sealed", "flaw"]
        table(columns, [[row[column] for column in columns] for row in rows], right=("first_rev", "bytes"))
    return Exit.WRONG if any(row["flaw"] for row in rows) else Exit.DONE


def verify(*files: Path, folder: Folder = HERE, as_json: JsonFlag = False) -> int:
    """Read journals from the first byte to the last: every sum, and every revision in its place.

    Parameters
    ----------
    files
        Journals, sealed or not; without any all of the data folder.
    """
    from bhavcast.journal.survey import survey

    paths = list(files) or _journals(folder)
    found = []
    with progress("verifying") as tell:
        for number, path in enumerate(paths):
            found.append(survey(path, lambda part, n=number, p=path: tell((n + part) / len(paths), p.name)))  # type: ignore[misc]  # the defaults bind the loop's values
    if as_json:
        json(
            [
                {**msgspec.to_builtins(one), "first_at": _time(one.first_at), "last_at": _time(one.last_at)}
                for one in found
            ]
        )
    else:
        table(
            ["file", "verdict", "messages", "checkpoints", "first_rev", "last_rev", "last_at", "gaps", "holes", "torn"],
            [
                (one.file, one.damage or ("holes" if one.holes else "sound"), one.messages, one.checkpoints,
                 one.first_rev, one.last_rev, _time(one.last_at), len(one.gaps), len(one.holes), one.torn)
                for one in found
            ],
            right=("messages", "checkpoints", "first_rev", "last_rev", "gaps", "holes", "torn"),
        )  # fmt: skip
        for one in found:
            for first, last in one.gaps:
                say(
                    f"{one.file}: messages of {first} to {last} are missing; the checkpoint after them has their outcome"
                )
            for first, last in one.holes:
                say(f"{one.file}: revisions {first} to {last} are in no record")
    return Exit.WRONG if any(one.damage or one.holes for one in found) else Exit.DONE


def show(
    file: Path,
    /,
    *,
    skip: Annotated[int, number(0)] = 0,
    limit: Annotated[int, number(1)] = 50,
    as_json: JsonFlag = False,
) -> int:
    """Show the records of a journal, one a line.

    Parameters
    ----------
    file
        A journal, sealed or not.
    skip
        Records to pass over.
    limit
        Records to show.
    """
    from bhavcast.journal import reader
    from bhavcast.journal.survey import describe

    lines = [
        {**msgspec.to_builtins(describe(item)), "at": _time(describe(item).at)}
        for item in islice(reader.records(file), skip, skip + limit)
    ]
    if as_json:
        for line in lines:
            json(line)
    else:
        columns = ["offset", "type", "bytes", "from_rev", "to_rev", "at", "rows", "facts"]
        rows = [[*(line[column] for column in columns[:-1]), " ".join(line["facts"])] for line in lines]
        table(columns, rows, right=("offset", "bytes", "from_rev", "to_rev", "rows"))
    return Exit.DONE


def _journals(folder: Folder) -> list[Path]:
    from bhavcast.journal.reader import journals

    place = folder.settings().data / "journal"
    if not place.is_dir():
        fail(
            f"{place} — expected the journals of a system that ran, got no such folder",
            then="give its data folder with --data",
        )
    return journals(place)


def _time(ms: int | None) -> str | None:
    from bhavcast.domain.calendar import ist

    return None if ms is None else ist(ms).isoformat(timespec="milliseconds")


app = command("journal", examples=["bhavcast journal list", "bhavcast journal verify"])
app.command(command("list", list_, about=_ABOUT, examples=["bhavcast journal list", "bhavcast journal list --json"],
                    codes={0: "all begin as they should", 1: "one cannot be read"}))  # fmt: skip
app.command(command("verify", verify, about=_ABOUT, examples=["bhavcast journal verify", "bhavcast journal verify --json"],
                    codes={0: "all sound", 1: "damage or a hole, and it was named"}))  # fmt: skip
app.command(command("show", show, about=_ABOUT,
                    examples=["bhavcast journal show FILE --skip 100 --limit 20"], codes={0: "shown"}))  # fmt: skip
