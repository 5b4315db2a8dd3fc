"""The `bhavcast` command."""

from cyclopts import App

from bhavcast import __version__

app = App(name="bhavcast", help="A self-hosted, real-time market-data platform for BSE.", version=__version__)


def main() -> None:
    """Run the command that the process's arguments name, and exit with its code."""
    app()
