"""Where a key goes: into a header of its own, which no log, history or redirect to another host takes along."""

from bhavcast.domain.access import MAX_KEY
from bhavcast.domain.errors import BadRequest


def key_header(key: str | None) -> dict[str, str]:
    """Return the header that shows a key; none where there is no key.

    Raises:
        BadRequest: no key can look like this, such as one with a line break. What it is, is not said.
    """
    if key is None:
        return {}
    if not key or len(key) > MAX_KEY or not key.isascii() or not key.isprintable() or " " in key:
        raise BadRequest(
            f"expected a key: 1 to {MAX_KEY} ASCII characters without spaces, got something else", field="key"
        )
    return {"Authorization": f"Bearer {key}"}
