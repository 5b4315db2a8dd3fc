"""Tests that hold for every implementation of a port."""
