"""Run a program that does not outlive the one that started it, not even when that is killed.

    python -I -S tether.py PARENT LIFELINE PROGRAM ARGUMENT ...

This file is run as a script, before the program and in its process: it asks to be killed when PARENT (a process id)
ends, then becomes the program. Where the system cannot be asked that (anything but Linux) it leaves a watcher behind
that waits for the end of LIFELINE, the reading end of a pipe whose other end only PARENT holds. It imports nothing
that a bare interpreter does not have, so that it costs a few milliseconds.
"""

import ctypes
import os
import select
import signal
import sys

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
LOOK_S = 1.0
CANNOT_RUN = 127  # what a shell answers for a program that it cannot run


def main(parent: int, lifeline: int, program: list[str], system: str = sys.platform) -> None:
    """Tie this process to its parent and become the program."""
    if system == "linux":
        # Whatever the program is, it has nothing to lose: it is written so that it can be killed at any time.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before it could be asked about
            sys.exit(CANNOT_RUN)
    else:
        _leave_watcher(lifeline)
    os.close(lifeline)
    try:
        os.execvp(program[0], program)
    except OSError as error:
        sys.stderr.write(f"{program[0]}: {error.strerror}\n")
        sys.exit(CANNOT_RUN)


def _leave_watcher(lifeline: int) -> None:
    program = os.getpid()
    if child := os.fork():
        os.waitpid(child, 0)
        return
    if os.fork():  # the watcher is nobody's child, so that the program has none it did not ask for
        os._exit(0)
    while True:
        ended, _, _ = select.select([lifeline], [], [], LOOK_S)
        try:
            os.kill(program, signal.SIGKILL if ended else 0)
        except ProcessLookupError:
            os._exit(0)
        if ended:
            os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
