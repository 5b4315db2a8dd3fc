"""Bhavcast: a self-hosted, real-time market-data platform for BSE."""

__version__ = "0.1.0"
