"""The whole system under faults, with clients that check what they are told; see README.md."""
