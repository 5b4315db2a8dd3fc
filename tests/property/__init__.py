"""Properties that hold for any input, found by searching for a counterexample."""
