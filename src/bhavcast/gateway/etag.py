"""Entity tags: whether what a client holds is still right."""


def matches(if_none_match: str, etag: str) -> bool:
    """Tell whether an If-None-Match names this tag: `*`, or a list of which weak ones count too (RFC 9110, 13.1.2)."""
    return if_none_match.strip() == "*" or etag in (
        each.strip().removeprefix("W/") for each in if_none_match.split(",")
    )
