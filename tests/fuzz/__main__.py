"""Run one target under atheris: `python -m tests.fuzz http -max_total_time=600 build/fuzz/http tests/fuzz/corpus/http`."""

import importlib
import logging
import os
import sys

import atheris  # type: ignore[import-untyped]  # it has none, and is not here in every environment


def main() -> None:
    name, *arguments = sys.argv[1:]
    logging.basicConfig(handlers=[logging.NullHandler()])  # uvicorn would report every broken request
    with atheris.instrument_imports(include=["bhavcast", "uvicorn", "websockets"]):
        targets = importlib.import_module("tests.fuzz.targets")
    atheris.Setup([sys.argv[0], *arguments], targets.TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    os.environ.setdefault("PYTHONHASHSEED", "0")
    main()
