"""The command line: parse arguments, call the composition root, print, and choose an exit code."""
