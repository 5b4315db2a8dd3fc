"""The last value of every scrip, each field with the revision at which it last changed."""
