"""`bhavcast serve`, as it is."""

from bhavcast.app import serve  # noqa: F401 - what the command line imports when it is used
from bhavcast.cli import cmd_serve  # noqa: F401 - likewise
from bhavcast.cli.main import main


def run(arguments: list[str]) -> int:
    """Serve a role until told to stop; return the exit code."""
    return main(["serve", *arguments])
