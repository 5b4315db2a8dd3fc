"""`python -m bhavcast`: the command, by the interpreter that runs it."""

import sys

from bhavcast.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
