"""A simulated BSE: a market, not noise."""
