"""What Bhavcast costs, as ratios to baselines measured in the same run; see docs/explanation/performance.md."""
