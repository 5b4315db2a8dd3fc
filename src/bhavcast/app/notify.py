r"""Tell whoever started this process how it is getting on, by the datagrams that systemd defined (`sd_notify(3)`).

So one role is ready in the same way under `bhavcast up`, under systemd (`Type=notify`), and under nobody, where this
says nothing. A datagram looks like `READY=1\nSTATUS=5,032 scrips and indices from sim`.
"""

import contextlib
import os
import socket
from typing import Final

VARIABLE: Final = "NOTIFY_SOCKET"
# Set by our supervisor alone, where this process takes the place of one that was ready and ended.
AGAIN: Final = "STARTED_AGAIN"


def notify(**facts: str) -> None:
    """Send facts such as `READY="1"` or `STOPPING="1"`; a listener that is gone is no fault of ours."""
    address = os.environ.get(VARIABLE)
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    lines = "\n".join(f"{name}={text}" for name, text in facts.items())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wire:
        wire.setblocking(False)  # a listener that does not read is no reason to stand still
        with contextlib.suppress(OSError):
            wire.sendto(lines.encode(), address)


def started_again() -> bool:
    """Tell whether this process goes on with the work of another; what was asked of the start was asked of that one."""
    return AGAIN in os.environ


def facts_of(datagram: bytes) -> dict[str, str]:
    """Read what `notify` sent."""
    pairs = (line.partition("=") for line in datagram.decode("utf-8", "replace").splitlines())
    return {name: text for name, _, text in pairs}
