"""Documentation is tested: what exists is described, what is described exists."""
