"""The composition root: the only place that names concrete adapters and reads the environment."""
