"""`bhavcast version`."""

import platform

from bhavcast import __version__
from bhavcast.cli.command import command
from bhavcast.cli.output import JsonFlag, json, say


def version(*, as_json: JsonFlag = False) -> None:
    """Print the version."""
    if as_json:
        json({"bhavcast": __version__, "python": platform.python_version(), "platform": platform.platform()})
    else:
        say(f"bhavcast {__version__} on Python {platform.python_version()}")


app = command(
    "version",
    version,
    about="With --json: bhavcast, python, platform.",
    examples=["bhavcast version", "bhavcast version --json"],
)
