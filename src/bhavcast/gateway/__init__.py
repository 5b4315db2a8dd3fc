"""Serve the board to the world: REST, WebSocket and SSE."""
