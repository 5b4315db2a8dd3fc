"""Generate client load and measure it, for benchmarks and capacity tests."""
