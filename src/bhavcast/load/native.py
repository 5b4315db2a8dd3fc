"""Programs in C beside the Python ones, compiled when they are first needed."""

import atexit
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
WARNINGS = ("-Wall", "-Wextra", "-Werror")


@functools.cache
def _folder() -> Path:
    # Of this process alone: a program in a shared place could be somebody else's.
    folder = tempfile.mkdtemp(prefix="bhavcast-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


@functools.cache
def compiled(source: Path, *, strict: bool = False) -> Path | None:
    """Compile one C file and return the program, or None on a machine where that is not possible.

    With `strict` a warning is an error and an error is raised: for tests.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    program = _folder() / source.stem
    warnings = WARNINGS if strict else ()
    command = [compiler, "-O2", *warnings, f"-I{HERE}", "-o", str(program), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if strict and done.returncode:
        raise RuntimeError(done.stderr)
    return program if done.returncode == 0 else None
