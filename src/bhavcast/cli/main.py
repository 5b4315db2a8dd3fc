"""The `bhavcast` command.

Commands are registered by name and loaded when called, so that `bhavcast --help` costs no more than what it prints.
"""

import os
import sys
from collections.abc import Sequence
from typing import Final

from cyclopts import App, CycloptsError

from bhavcast import __version__
from bhavcast.cli.command import CODES, exit_codes
from bhavcast.cli.plain import Plain

COMMANDS: Final[dict[str, str]] = {
    "up": "Start the whole system on this machine and run it until Ctrl-C.",
    "serve": "Run one part of the system.",
    "keys": "Make, list, rotate and revoke the keys that let others in.",
    "import": "Import the exchange's files: scrip masters and official days.",
    "record": "Record what a source gives, before anything is checked.",
    "replay": "Run the whole system on a recording.",
    "journal": "List, verify or show the journals.",
    "quote": "Print quotes from a running gateway.",
    "watch": "Show quotes as they change.",
    "verify": "Check a running system from outside.",
    "upgrade": "Bring what a data folder holds to this version's formats.",
    "config": "Show, check or document the settings.",
    "bench": "Run the benchmarks, each against its baseline.",
    "version": "Print the version.",
}

_EPILOGUE: Final = f"""\
Every command explains itself: bhavcast up --help.
With --debug an error shows its traceback.

{exit_codes(CODES)}"""


def build(*, boxes: bool | None = None) -> App:
    """Return the tree of commands; boxes in its help only on a terminal, unless `boxes` says otherwise."""
    app = App(
        name="bhavcast",
        help="A self-hosted, real-time market-data platform for BSE.",
        version=__version__,
        help_format="plaintext",
        help_formatter="default" if (sys.stdout.isatty() if boxes is None else boxes) else Plain(),
        help_epilogue=_EPILOGUE,
        exit_on_error=False,
        print_error=False,
        suppress_keyboard_interrupt=False,
        result_action="return_value",
    )
    for name, summary in COMMANDS.items():
        app.command(f"bhavcast.cli.cmd_{name}:app", name=name, help=summary)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name, and return its exit code."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    own = tokens[: tokens.index("--")] if "--" in tokens else tokens
    debug = "--debug" in own
    if debug:
        tokens.remove("--debug")
    try:
        return run(tokens)
    except BrokenPipeError:
        # The reader of a pipe has seen enough. What is still buffered would fail once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit:  # Rich's way to say the same
        return 0
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 3
    except Exception as error:  # boundary of the process: a user gets one line, never a traceback
        if debug:
            raise
        return _report(error)


def run(tokens: Sequence[str]) -> int:
    """Run a command; errors pass through."""
    code = build()(tokens)
    return code if isinstance(code, int) else 0


def _report(error: Exception) -> int:
    from bhavcast.cli.output import CommandError, advice, report
    from bhavcast.domain.errors import BhavcastError

    if isinstance(error, CycloptsError):
        from bhavcast.cli.usage import wrong_usage

        error = wrong_usage(error)
    elif isinstance(error, BhavcastError):
        then, code = advice(error)
        error = CommandError(error.detail, then=then, code=code)
    elif isinstance(error, OSError):
        error = CommandError(_of_system(error))
    elif not isinstance(error, CommandError):
        error = CommandError(
            f"{type(error).__name__}: {error}", then="this is a defect of Bhavcast; --debug shows where it happened"
        )
    report(error)
    return int(error.code)


def _of_system(error: OSError) -> str:
    if error.filename is None:
        return str(error)
    return f"{error.filename} — expected a file or folder that can be used, got: {error.strerror}"
