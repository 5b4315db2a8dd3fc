"""A file of each format and each version that was ever written, as it was written then; see README.md."""
