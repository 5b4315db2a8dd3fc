"""Carry changes and their positions from the one writer to every gateway."""
