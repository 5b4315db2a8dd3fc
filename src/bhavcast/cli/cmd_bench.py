"""`bhavcast bench`: the benchmarks, which live in the project's checkout and not in the package."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bhavcast.cli.command import command
from bhavcast.cli.output import fail


def bench(*arguments: Annotated[str, Parameter(allow_leading_hyphen=True, show_default=False)]) -> int:
    """Run the benchmarks, each against its baseline.

    Parameters
    ----------
    arguments
        Scenarios, and the benchmarks' own flags.
    """
    root = _checkout(Path.cwd())
    if root is None:
        fail(
            "the benchmarks are not here — expected to be called within a checkout of Bhavcast (the package holds what "
            f"runs, not what measures it), got {Path.cwd()}",
            then="in a checkout: make bench",
        )
    code = subprocess.run([sys.executable, "-m", "benchmarks", *arguments], cwd=root, check=False).returncode
    return code if code in (0, 1, 2) else 3


def _checkout(start: Path) -> Path | None:
    for folder in (start, *start.parents):
        if (folder / "benchmarks" / "__main__.py").is_file() and (folder / "src" / "bhavcast").is_dir():
            return folder
    return None


app = command(
    "bench",
    bench,
    about="The baselines need their own environment, which `make bench` prepares.",
    examples=["bhavcast bench http-single", "bhavcast bench stream-raw --quick --json"],
    codes={
        0: "every target was reached",
        1: "one was missed, or could not be measured",
        3: "a scenario could not be run, or this is no checkout",
    },
)
