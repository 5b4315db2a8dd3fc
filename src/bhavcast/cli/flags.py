"""The flags that change settings, the same for every command that runs something.

Each is taken as text: the configuration checks it as it checks the file and the environment, with the same words.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bhavcast.app.config import SETTINGS, Loaded, load, plain


def _flag(name: str) -> Parameter:
    setting = SETTINGS[name]
    default = plain(setting.default)
    note = "" if default in (None, "") else f" [default: {default}]"
    kind = type(setting.default)
    metavar = "N" if kind in (int, float) else "DIR" if isinstance(setting.default, Path) else "TEXT"
    return Parameter(name=setting.flag, help=f"{setting.meaning}{note}", show_default=False, metavar=metavar)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class SettingFlags:
    """Settings given on the command line."""

    config: Annotated[
        str | None,
        Parameter(
            help="configuration file [default: bhavcast.toml in the data folder]", show_default=False, metavar="FILE"
        ),
    ] = None
    data: Annotated[str | None, _flag("data")] = None
    host: Annotated[str | None, _flag("host")] = None
    port: Annotated[str | None, _flag("port")] = None
    frontend_port: Annotated[str | None, _flag("frontend_port")] = None
    monitor_port: Annotated[str | None, _flag("monitor_port")] = None
    source: Annotated[str | None, _flag("source")] = None
    rate: Annotated[str | None, _flag("rate")] = None
    scrips: Annotated[str | None, _flag("scrips")] = None
    seed: Annotated[str | None, _flag("seed")] = None
    at: Annotated[str | None, _flag("at")] = None
    speed: Annotated[str | None, _flag("speed")] = None
    chaos: Annotated[str | None, _flag("chaos")] = None

    def load(self, **others: object) -> Loaded:
        """Read the configuration with these flags on top, and `others` on top of them."""
        given = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "config"}
        return load(given | others, file=self.config)
