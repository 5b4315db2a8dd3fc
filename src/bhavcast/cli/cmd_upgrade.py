"""`bhavcast upgrade`: bring what a data folder holds to the formats that this version writes."""

from typing import Annotated

import msgspec
from cyclopts import Parameter

from bhavcast.cli.command import command
from bhavcast.cli.output import Exit, JsonFlag, fail, json, note, say, table

DataFlag = Annotated[str | None, Parameter(name="--data", help="data folder [default: var]", show_default=False)]
ConfigFlag = Annotated[str | None, Parameter(name="--config", help="configuration file", show_default=False)]
_WHAT = {
    "current": "",
    "due": "is rewritten",
    "newer": "of a newer Bhavcast: refused",
    "older": "too old: refused",
    "damaged": "cannot be read, and stays as it is",
}


def upgrade(
    *,
    dry_run: Annotated[
        bool, Parameter(negative="", help="only show what is there, and what would be rewritten")
    ] = False,
    as_json: JsonFlag = False,
    data: DataFlag = None,
    config: ConfigFlag = None,
) -> int:
    """Rewrite what is of the version before, while nothing runs on the data folder."""
    from bhavcast.app import upgrade as upgrading
    from bhavcast.app.config import load

    folder = load({"data": data}, file=config).config.data
    if not folder.is_dir():
        fail(f"{folder} — expected a data folder, got no such folder", then="give one with --data")
    found = upgrading.survey(folder)
    rewritten = [] if dry_run else upgrading.upgrade(folder)
    if as_json:
        json({"found": msgspec.to_builtins(found), "rewritten": [name for each in rewritten for name in each.files]})
    else:
        columns = ("format", "version", "present", "files", "what")
        rows = [(each.format, each.version, each.present, len(each.files), _WHAT[each.state]) for each in found]
        table(columns, rows, right=("version", "present", "files"))
        _conclude([state for each in found if (state := each.state) != "current"], dry_run=dry_run)
        for each in rewritten:
            say(f"{each.format}: {len(each.files)} rewritten; what they were is in {folder / upgrading.BEFORE}")
    states = {each.state for each in found}
    if states & {"newer", "older"}:
        return Exit.UNABLE
    return Exit.WRONG if dry_run and "due" in states else Exit.DONE


def _conclude(states: list[str], *, dry_run: bool) -> None:
    if "newer" in states or "older" in states:
        note("this Bhavcast does not start on this folder; docs/reference/formats.md says what to do")
    elif "due" not in states:
        note("nothing is of the version before")
    elif dry_run:
        note("nothing was changed; without --dry-run it would be")


app = command(
    "upgrade",
    upgrade,
    about="A version runs on what the one before it wrote, without this. Do it before you go on to the next but one: that "
    "version reads only what was rewritten. With --json: found (format, version, present, state, files) and rewritten.",
    examples=["bhavcast upgrade --dry-run", "bhavcast upgrade --data /srv/bhavcast"],
    codes={
        0: "nothing was due, or it was rewritten",
        1: "with --dry-run: something would be rewritten",
        3: "a system runs on the folder, or it holds what this version does not read",
    },
)
