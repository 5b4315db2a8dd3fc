"""Which start of the machine this is."""

from pathlib import Path
from typing import Final

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Return what changes when the kernel starts anew; empty where that cannot be known, and no epoch continues."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""
