"""Compile what has a twin in C, where a compiler is there; without one the wheel is pure Python, and slower."""

import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = ("src/bhavcast/board/_sheet.c", "src/bhavcast/gateway/_burst.c")


class Compile(BuildHookInterface):  # type: ignore[type-arg]  # generic in the builder's configuration, which it ignores
    """Add the extension modules to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile them and name them to the builder."""
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        for source in map(Path, SOURCES):
            built = Path(self.root, "build", "native", source.stem + suffix)
            built.parent.mkdir(parents=True, exist_ok=True)
            why = compile_module(Path(self.root, source), built)
            if why:
                self.app.display_warning(f"{source} is left out, so thousands of clients cost more: {why}")
                continue
            build_data["force_include"][str(built)] = f"bhavcast/{source.parent.name}/{built.name}"
            build_data["pure_python"] = False
            build_data["infer_tag"] = True


def compile_module(source: Path, built: Path) -> str:
    """Compile a module; return why that was not possible, or nothing."""
    if sys.platform == "win32":
        return "no sockets of POSIX"
    newest = max(each.stat().st_mtime for each in (source, *source.parent.glob("_*.h")))
    if built.exists() and built.stat().st_mtime > newest:
        return ""
    linker, position, include = (sysconfig.get_config_var(each) or "" for each in ("LDSHARED", "CCSHARED", "INCLUDEPY"))
    command = [*shlex.split(linker), *shlex.split(position), "-O2", "-Wall", "-Wextra", f"-I{include}"]
    command += [str(source), "-o", str(built)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stderr.strip() if done.returncode else ""
