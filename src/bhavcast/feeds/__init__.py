"""Sources of ticks behind one port: the simulator, a recorded day, a bhavcopy file."""
