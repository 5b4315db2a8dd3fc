"""The main path, read first: recover(), ingest() and relay() move a tick from a feed to the clients."""
