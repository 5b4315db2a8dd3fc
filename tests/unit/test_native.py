"""The parts in C compile without a warning."""

import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(ROOT.glob("src/bhavcast/*/_*.c"))


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_it_compiles_without_a_warning(source, tmp_path):
    include = sysconfig.get_config_var("INCLUDEPY")
    command = [
        "cc",
        "-c",
        "-fPIC",
        "-O2",
        "-Wall",
        "-Wextra",
        "-Wconversion",
        "-Wshadow",
        "-Werror",
        f"-isystem{include}",
    ]
    done = subprocess.run([*command, source, "-o", tmp_path / "out.o"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
