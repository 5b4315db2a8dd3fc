"""`bhavcast version`."""

import platform

from bhavcast import __version__
from bhavcast.cli.command import AsJson, command
from bhavcast.cli.output import json, say


def version(*, as_json: AsJson = False) -> None:
    """Print the version.

    Parameters
    ----------
    as_json
        Print one JSON object: bhavcast, python, platform.
    """
    if as_json:
        json({"bhavcast": __version__, "python": platform.python_version(), "platform": platform.platform()})
    else:
        say(f"bhavcast {__version__} on Python {platform.python_version()}")


app = command("version", version, examples=["bhavcast version", "bhavcast version --json"])
