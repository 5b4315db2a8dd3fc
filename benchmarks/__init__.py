"""Benchmarks: scenarios that print JSON, each with its ratio to a baseline measured in the same run."""
