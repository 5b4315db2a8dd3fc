"""The Python client library: quotes over HTTP and a live, resuming stream."""
