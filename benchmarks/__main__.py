"""Run the benchmarks: `make bench`, or `make bench ARGS="http-single stream-raw"`."""

import sys

if __name__ == "__main__":
    sys.exit("No benchmark is written yet.")
