"""`bhavcast replay`: the whole system on a recorded day."""

from pathlib import Path

from bhavcast.cli.command import command
from bhavcast.cli.flags import SettingFlags
from bhavcast.cli.output import Exit, fail


def replay(file: Path, /, *, flags: SettingFlags | None = None) -> int:
    """Run the whole system on a recording, at its own pace or another, until Ctrl-C.

    Parameters
    ----------
    file
        What `bhavcast record` wrote.
    """
    from bhavcast.app import system

    given = flags or SettingFlags()
    if given.source is not None:
        fail(f"--source — expected no source besides the recording, got {given.source!r}", code=Exit.USAGE)
    source = f"replay:{file}"
    return system.up(given.load(source=source), given.config, lambda: given.load(source=source).config)


app = command(
    "replay",
    replay,
    about="This is `bhavcast up --source replay:FILE`: the recording's clock, universe and prices.",
    examples=["bhavcast replay day.rec", "bhavcast replay day.rec --speed 10", "bhavcast replay day.rec --speed max"],
    codes={0: "stopped as asked"},
)
