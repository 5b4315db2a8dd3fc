"""Fan the board's changes out to clients: interests, flushes and bounded outboxes."""
