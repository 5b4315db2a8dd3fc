"""What `bhavcast up` says when it is up."""

import sys

from bhavcast.app.config import Config


def greet(config: Config, told: str, url: str, frontend_url: str) -> None:
    """Print the one thing that a person waits for; `told` is a gateway's summary."""
    board, *more = told.split(" | ")
    lines = [
        f"Bhavcast is up: {board}",
        f"  page       {url}/",
        f"  frontend   {frontend_url}/",
        f"  quote      curl {url}/api/stock/RELIANCE",
        f"  stream     {url.replace('http', 'ws', 1)}/ws",
        f"  reference  {url}/docs",
        f"  monitor    not part of this version (port {config.monitor_port} is not touched)",
        *(f"  {each}" for each in more),
        "Ctrl-C stops it.",
    ]
    print("\n".join(lines), file=sys.stderr, flush=True)  # noqa: T201 - what a person waits for is no log line
