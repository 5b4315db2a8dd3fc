"""The documentation, held to the product."""
