"""`bhavcast record`: what a source gives, in a file that `bhavcast replay` plays."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from bhavcast.cli.command import command
from bhavcast.cli.flags import SettingFlags
from bhavcast.cli.output import JsonFlag, json, progress, say

if TYPE_CHECKING:
    from bhavcast.app.record import Progress


def record(
    file: Path,
    /,
    *,
    seconds: Annotated[float | None, Parameter(name="--for", show_default=False)] = None,
    as_json: JsonFlag = False,
    flags: SettingFlags | None = None,
) -> None:
    """Record what a source gives, before anything is checked, until its day is over or Ctrl-C.

    Parameters
    ----------
    file
        The file to write; an existing one is never written over.
    seconds
        Stop after so many seconds of market time.
    """
    from bhavcast.app.record import run

    config = (flags or SettingFlags()).load().config
    with progress(f"recording {config.source}") as bar:

        def tell(at: "Progress") -> None:
            bar((at.now - at.started) / max(1, at.until - at.started), f"{at.ticks:,} ticks")

        done = run(config, file, seconds=seconds, tell=tell)
    if as_json:
        json({"file": str(done.path), **{name: getattr(done, name) for name in ("batches", "ticks", "first", "last")}})
    else:
        say(f"{done.path}: {done.ticks:,} ticks in {done.batches:,} batches")


app = command(
    "record",
    record,
    examples=[
        "bhavcast record day.rec",
        "bhavcast record hour.rec --at 10:00 --for 3600 --speed 60",
        'bhavcast record bad.rec --for 60 --chaos "drop=1%,bad_tick=0.1%"',
    ],
    codes={0: "recorded, also if stopped by Ctrl-C"},
)
