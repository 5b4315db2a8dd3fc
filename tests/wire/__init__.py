"""Conversations on the wire, as vectors for clients in any language."""
