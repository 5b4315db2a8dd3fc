"""Parts put together, with real servers and real sockets."""
