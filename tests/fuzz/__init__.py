"""Targets for a coverage-guided fuzzer, and what it once found interesting: see README.md."""
