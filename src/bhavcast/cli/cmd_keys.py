"""`bhavcast keys`: who may come in."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from bhavcast.cli.command import command
from bhavcast.cli.folder import HERE, Folder
from bhavcast.cli.output import Exit, JsonFlag, fail, json, note, say, table

if TYPE_CHECKING:
    from bhavcast.app.keys import KeyDesk, Made

_COLUMNS = ("id", "name", "role", "state", "created", "expires")
_ABOUT = "A running system takes a change by itself, within a second."


def create(
    *,
    name: str,
    role: Annotated[str, Parameter(show_default=True)] = "viewer",
    expires: Annotated[str, Parameter(show_default=True)] = "never",
    as_json: JsonFlag = False,
    folder: Folder = HERE,
) -> int:
    """Make a key, and print it this once: only its digest is kept.

    Parameters
    ----------
    name
        Whose it is, as logs and lists will say: letters, digits and . _ @ -
    role
        viewer (read), operator (also what /api/admin does), admin (everything there will be).
    expires
        never, a span such as 90d or 12h, or a date such as 2027-03-31.
    """
    _tell(_desk(folder).create(name, role, expires), as_json=as_json)
    return Exit.DONE


def show(*, as_json: JsonFlag = False, folder: Folder = HERE) -> int:
    """List the keys: whose, which role, until when. Never what they are."""
    from bhavcast.app.keys import told

    rows = [told(key) for key in _desk(folder).held()]
    if as_json:
        json(rows)
    elif rows:
        table(_COLUMNS, [[row[column] or "never" for column in _COLUMNS] for row in rows])
    else:
        note("no keys: who is on this machine reads without one, nobody else can, and nobody administers")
    return Exit.DONE


def revoke(*keys: str, as_json: JsonFlag = False, folder: Folder = HERE) -> int:
    """Take keys away at once, with the sessions and streams that were opened with them.

    Parameters
    ----------
    keys
        Ids, or names that one active key has.
    """
    desk = _desk(folder)
    _changed([desk.revoke(each) for each in _some("revoke", keys)], as_json=as_json)
    return Exit.DONE


def expire(key: str, when: str, *, as_json: JsonFlag = False, folder: Folder = HERE) -> int:
    """Say when a key ends.

    Parameters
    ----------
    key
        Its id, or its name where one active key has it.
    when
        never, a span from now such as 90d or 12h, or a date such as 2027-03-31.
    """
    _changed([_desk(folder).expire(key, when)], as_json=as_json)
    return Exit.DONE


def rotate(
    key: str,
    *,
    overlap: Annotated[str, Parameter(show_default=True)] = "24h",
    as_json: JsonFlag = False,
    folder: Folder = HERE,
) -> int:
    """Make a new key in the place of one, which goes on for a while: nobody has to change both ends at one moment.

    Parameters
    ----------
    key
        Its id, or its name where one active key has it.
    overlap
        How long the old key goes on: a span such as 24h, or a date.
    """
    from bhavcast.app.keys import told

    made, old = _desk(folder).rotate(key, overlap)
    _tell(made, as_json=as_json, replaces=told(old))
    return Exit.DONE


def _desk(folder: Folder) -> "KeyDesk":
    from bhavcast.app.keys import KeyDesk

    return KeyDesk(folder.settings())


def _tell(made: "Made", *, as_json: bool, **more: dict[str, Any]) -> None:
    from bhavcast.app.keys import told

    whole = {**told(made.key), **more}
    if as_json:
        json({**whole, "key": made.text})
        return
    until = whole["expires"] or "never"
    note(
        f"key {made.key.id} for {made.key.name}: {made.key.role}, expires {until}. Told this once; only its digest is kept:"
    )
    say(made.text)
    if "replaces" in more:
        note(f"it takes the place of {more['replaces']['id']}, which goes on until {more['replaces']['expires']}")


def _changed(keys: Sequence[Any], *, as_json: bool) -> None:
    from bhavcast.app.keys import told

    rows = [told(key) for key in keys]
    if as_json:
        json(rows)
    else:
        table(_COLUMNS, [[row[column] or "never" for column in _COLUMNS] for row in rows])


def _some(verb: str, keys: tuple[str, ...]) -> tuple[str, ...]:
    if not keys:
        fail(f"keys {verb} — expected one key or more, got none", then="bhavcast keys list", code=Exit.USAGE)
    return keys


app = command("keys", examples=["bhavcast keys create --name desk", "bhavcast keys list"], about=_ABOUT)
for _name, _function, _examples in (
    (
        "create",
        create,
        ["bhavcast keys create --name desk", "bhavcast keys create --name ops --role operator --expires 90d --json"],
    ),
    ("list", show, ["bhavcast keys list", "bhavcast keys list --json"]),
    ("revoke", revoke, ["bhavcast keys revoke desk", "bhavcast keys revoke 5b1e9f02"]),
    ("rotate", rotate, ["bhavcast keys rotate desk", "bhavcast keys rotate desk --overlap 1h > desk.key"]),
    ("expire", expire, ["bhavcast keys expire desk 30d", "bhavcast keys expire 5b1e9f02 2027-03-31"]),
):
    app.command(
        command(
            _name,
            _function,
            examples=_examples,
            about=_ABOUT,
            codes={1: "there is no such key, or what was asked is impossible"},
        )
    )
