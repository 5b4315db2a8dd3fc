"""A name for each request: in its answer, in what is said of it if it is refused, and in the log."""

import re
import secrets
from itertools import count
from typing import Final

HEADER: Final = b"x-request-id"
_SANE: Final = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}", re.ASCII)
FORM: Final = b"%b-%08x"
PROCESS: Final = secrets.token_hex(4).encode()  # two processes, or one before and after a restart, never make the same
numbers: Final = count(1)


def new() -> bytes:
    """Return a name that no other request has."""
    return FORM % (PROCESS, next(numbers))


def of(came: str | None) -> str:
    """Return the name that came with a request if it can stand in a log and a header, else a new one."""
    return came if came is not None and _SANE.fullmatch(came) else new().decode()
