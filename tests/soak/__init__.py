"""An hour of churn against the whole system, and whether anything grows with it: `make soak`."""
