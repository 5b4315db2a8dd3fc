"""`bhavcast serve`: one role of the system in a process of its own."""

from typing import Literal

from bhavcast.cli.command import command
from bhavcast.cli.flags import SettingFlags
from bhavcast.cli.output import fail

_NOT_YET = {
    "gateway": "ingest and gateway in separate processes need the Redis bus, which this version does not have",
    "ingest": "ingest and gateway in separate processes need the Redis bus, which this version does not have",
    "monitor": "the monitoring service is not part of this version",
}


def serve(role: Literal["gateway", "ingest", "frontend", "monitor"], /, *, flags: SettingFlags | None = None) -> int:
    """Run one part of the system.

    Parameters
    ----------
    role
        Which part.
    flags
        Settings given on the command line.
    """
    config = (flags or SettingFlags()).load().config
    if role in _NOT_YET:
        fail(f"cannot serve {role} alone: {_NOT_YET[role]}", then="bhavcast up runs everything there is in one process")
    from bhavcast.app.serve import run

    return run(role, config)


app = command(
    "serve",
    serve,
    examples=["bhavcast serve frontend", "bhavcast serve frontend --frontend-port 9080"],
    codes={0: "stopped as asked", 3: "could not run, or this part cannot run alone yet"},
)
