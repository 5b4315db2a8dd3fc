"""The tests of Bhavcast, run against the installed wheel."""
