"""The roles that run in processes of their own; each imports no more than it needs, because a start is waited for."""
