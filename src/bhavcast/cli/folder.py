"""The flags of commands that work on a data folder: where it is, and which settings hold there."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from bhavcast.app.config import Config


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Folder:
    """A data folder, with the configuration that holds for it."""

    data: Annotated[str | None, Parameter(help="data folder [default: var]", show_default=False)] = None
    config: Annotated[str | None, Parameter(help="configuration file", show_default=False)] = None

    def settings(self) -> "Config":
        """Read the configuration."""
        from bhavcast.app.config import load

        return load({"data": self.data}, file=self.config).config


HERE = Folder()
