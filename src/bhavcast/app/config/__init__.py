"""The configuration: one frozen value, read once, passed down.

A setting is a field of `Config` or of one of its sections; its type, unit, bounds, meaning and example stand at the
field, and its key in the file, its environment variable, its flag and its page in the documentation are made from
that.
"""

from bhavcast.app.config.bus import Bus
from bhavcast.app.config.config import Config
from bhavcast.app.config.gateway import Gateway, Kite
from bhavcast.app.config.journal import JournalSettings
from bhavcast.app.config.limits import Limits
from bhavcast.app.config.reading import (
    BUS_PASSWORD,
    FILE_NAME,
    FILE_VARIABLE,
    SENTINEL_PASSWORD,
    SETTINGS,
    SOURCES,
    Loaded,
    load,
)
from bhavcast.app.config.setting import FLAGS, Setting, plain
from bhavcast.app.config.tls import Tls

__all__ = [
    "BUS_PASSWORD",
    "FILE_NAME",
    "FILE_VARIABLE",
    "FLAGS",
    "SENTINEL_PASSWORD",
    "SETTINGS",
    "SOURCES",
    "Bus",
    "Config",
    "Gateway",
    "JournalSettings",
    "Kite",
    "Limits",
    "Loaded",
    "Setting",
    "Tls",
    "load",
    "plain",
]
