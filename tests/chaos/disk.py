"""A small disk that can be full."""

import contextlib
import os
import subprocess
from pathlib import Path
from typing import Final

SIZE: Final = 16 * 1024 * 1024


class Disk:
    """A file system in memory at a path, where this user may mount one; else a plain folder, and `can_fill` is false."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"
        path.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "bhavcast-chaos", str(path)]
        self.can_fill = os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0

    def fill(self) -> None:
        """Take all the room that is left."""
        with contextlib.suppress(OSError), self._ballast.open("ab", buffering=0) as file:
            for size in (65_536, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def free(self) -> None:
        """Give it back."""
        self._ballast.unlink(missing_ok=True)

    def remove(self) -> None:
        """Unmount it, with all that is on it."""
        if self.can_fill:
            subprocess.run(["umount", "-l", str(self.path)], capture_output=True, check=False)
