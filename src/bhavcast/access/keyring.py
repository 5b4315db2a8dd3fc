"""The keys as they are now, by their digests: replaced as a whole whenever the file changes."""

from collections.abc import Iterable

from bhavcast.domain.access import MAX_KEY, Key, digest


class Keyring:
    """Finds a key by its text. `generation` rises with every change: what was found before has to be looked up anew."""

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self.generation = 0
        self._by_digest: dict[str, Key] = {}
        self._by_id: dict[str, Key] = {}
        self.replace(keys)

    def replace(self, keys: Iterable[Key]) -> None:
        """Hold these keys and no others."""
        held = list(keys)
        self._by_digest = {key.sha256: key for key in held}
        self._by_id = {key.id: key for key in held}
        self.generation += 1

    @property
    def empty(self) -> bool:
        """Whether no key was ever made; a revoked one counts, so that taking the last one away opens nothing."""
        return not self._by_id

    def __len__(self) -> int:
        return len(self._by_id)

    def find(self, text: str) -> Key | None:
        """Return the key with this text, whatever its state."""
        return self._by_digest.get(digest(text)) if len(text) <= MAX_KEY else None

    def get(self, key_id: str) -> Key | None:
        """Return the key with this id, whatever its state."""
        return self._by_id.get(key_id)
