"""What an operator can do to a running system; whoever runs the parts implements it."""

from typing import Any, Protocol

from bhavcast.telemetry.log import Level


class Control(Protocol):
    """Reaches what lies behind the bus. Each raises UnknownSource, BadRequest or Conflict with the reason."""

    async def pause(self, source: str) -> None:
        """Close a source, and stay silent on it until it is resumed."""

    async def resume(self, source: str) -> None:
        """Open a source again."""

    async def prefer(self, source: str) -> None:
        """Believe a source before the others where several speak of the same scrips."""

    async def release(self, entry_id: int) -> dict[str, Any]:
        """Believe a quarantined tick after all; return what it was."""

    async def log_level(self, level: Level) -> None:
        """Have what lies behind the bus log from this level on."""
