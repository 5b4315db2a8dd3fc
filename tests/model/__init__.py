"""Hold the rules of state, positions and the bus as a small executable model."""
