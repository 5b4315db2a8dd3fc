"""`bhavcast record`: what a source gives, in a file that `bhavcast replay` plays."""

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from bhavcast.cli.command import command
from bhavcast.cli.flags import SettingFlags
from bhavcast.cli.output import Exit, JsonFlag, fail, json, progress, say
from bhavcast.cli.usage import number

if TYPE_CHECKING:
    from bhavcast.app.record import Progress


def record(
    file: Path,
    /,
    *,
    seconds: Annotated[float | None, number(0, above=True), Parameter(name="--for", show_default=False)] = None,
    until: Annotated[str | None, Parameter(show_default=False, metavar="HH:MM")] = None,
    fast: Annotated[bool, Parameter(negative="", show_default=False)] = False,
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
    until
        Stop at this time of the market's day, IST.
    fast
        Make simulated trading as fast as it can be written, without waiting for a clock.
    """
    from bhavcast.app.record import run

    if seconds is not None and until is not None:
        fail("record — expected --for or --until, got both", code=Exit.USAGE)
    end = None if until is None else _time(until)
    config = (flags or SettingFlags()).load().config
    with progress(f"recording {config.source}") as bar:

        def tell(at: "Progress") -> None:
            bar((at.now - at.started) / max(1, at.until - at.started), f"{at.ticks:,} ticks")

        done = run(config, file, seconds=seconds, until=end, fast=fast, tell=tell)
    if as_json:
        json({"file": str(done.path), **{name: getattr(done, name) for name in ("batches", "ticks", "first", "last")}})
    else:
        say(f"{done.path}: {done.ticks:,} ticks in {done.batches:,} batches")


def _time(text: str) -> datetime.time:
    try:
        return datetime.time.fromisoformat(text)
    except ValueError:
        fail(f"--until — expected a time such as 10:30, got {text[:40]!r}", code=Exit.USAGE)


app = command(
    "record",
    record,
    examples=[
        "bhavcast record day.rec",
        "bhavcast record morning.rec --until 10:30 --rate 200 --fast",
        "bhavcast record hour.rec --at 10:00 --for 3600 --speed 60",
        'bhavcast record bad.rec --for 60 --chaos "drop=1%,bad_tick=0.1%"',
    ],
    codes={0: "recorded, also if stopped by Ctrl-C"},
)
