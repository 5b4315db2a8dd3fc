"""Reading the configuration: defaults, file, environment, flags; later ones win.

The file is TOML:

    port = 5000
    allowed_origins = ["https://prices.example.in"]
    [limits]
    connections = 2000
"""

import difflib
import math
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from bhavcast.app.config.agreement import check
from bhavcast.app.config.config import Config, moment
from bhavcast.app.config.setting import PREFIX, Setting, plain, settings_of
from bhavcast.domain.digits import decimal, whole
from bhavcast.domain.errors import BadConfig
from bhavcast.domain.format import CONFIG

FILE_NAME: Final = "bhavcast.toml"
FILE_VARIABLE: Final = "BHAVCAST_CONFIG"
# Secrets stand in the environment or in files of their own, never among the settings that are shown and documented.
BUS_PASSWORD: Final = "BHAVCAST_BUS_PASSWORD"
SENTINEL_PASSWORD: Final = "BHAVCAST_BUS_SENTINEL_PASSWORD"
# Names with the prefix that are no settings: the file itself, secrets, a client's key, and where the tests find real files.
_OTHER_VARIABLES: Final = (FILE_VARIABLE, BUS_PASSWORD, SENTINEL_PASSWORD, "BHAVCAST_KEY_FILE", "BHAVCAST_SHARED")
SOURCES: Final = ("sim", "bhavcopy", "replay")
_NUMBERS: Final[dict[type, Callable[[str], float | None]]] = {int: whole, float: decimal}
_BOOLEANS: Final = dict.fromkeys(("true", "1", "yes", "on"), True) | dict.fromkeys(("false", "0", "no", "off"), False)

SETTINGS: Final[dict[str, Setting]] = {setting.name: setting for setting in settings_of(Config)}
_BY_VARIABLE: Final = {setting.variable: setting for setting in SETTINGS.values()}


class Loaded(NamedTuple):
    """The configuration, and per setting where its value came from (`default`, or what to look at)."""

    config: Config
    origins: dict[str, str]

    def as_environment(self) -> dict[str, str]:
        """Return what makes another process read the same configuration, where this one was given flags."""
        return {
            SETTINGS[name].variable: str(plain(_dig(self.config, name)))
            for name, origin in self.origins.items()
            if origin.startswith("--")
        }

    def values(self) -> dict[str, object]:
        """Return every setting's value by name, flat, as it would be written."""
        return {name: plain(_dig(self.config, name)) for name in SETTINGS}


def load(
    flags: Mapping[str, object] | None = None,
    *,
    file: str | Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """Read the configuration.

    `flags` has settings by name, None for one that was not given; `file` is --config. Without it and without
    BHAVCAST_CONFIG the file is `bhavcast.toml` in the data folder, if there is one.

    Raises:
        BadConfig: a key is unknown, a value impossible, or the file unreadable; it says which, where, and what to do.
    """
    environ = os.environ if environ is None else environ
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    values: dict[str, object] = {}
    origins = dict.fromkeys(SETTINGS, "default")

    def take(found: Iterator[tuple[Setting, object, str]], base: Path, *, written: bool) -> None:
        for setting, raw, where in found:
            values[setting.name] = _convert(setting, raw, where, base, written=written)
            origins[setting.name] = where

    take(_from_environment(environ), Path(), written=True)
    take(_from_flags(given), Path(), written=True)
    path, must_exist = _file(file, environ, values)
    content = _read(path, must_exist=must_exist)
    over, over_origins = dict(values), {name: where for name, where in origins.items() if where != "default"}
    if content is not None:
        _check_version(content, path)
        take(_from_file(content, path), path.parent, written=False)
        if not must_exist and "data" in content:
            raise BadConfig(
                f"data in {path} — expected in another place, because this file is found through it: "
                f"use --data or {SETTINGS['data'].variable}",
                field="data",
            )
    values |= over
    origins |= over_origins
    config = _build(values)
    check(config, origins)
    return Loaded(config, origins)


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[Setting, object, str]]:
    for variable, raw in sorted(environ.items()):
        if not variable.startswith(PREFIX) or variable in _OTHER_VARIABLES:
            continue
        setting = _BY_VARIABLE.get(variable)
        if setting is None:
            raise _unknown(variable, "the environment", (*_BY_VARIABLE, FILE_VARIABLE))
        # Compose files hand on what they were not given as an empty text.
        if raw:
            yield setting, raw, variable


def _from_flags(flags: Mapping[str, object]) -> Iterator[tuple[Setting, object, str]]:
    for name, raw in flags.items():
        flag = SETTINGS[name].flag
        assert flag is not None, f"{name} has no flag"
        yield SETTINGS[name], raw, flag


def _file(file: str | Path | None, environ: Mapping[str, str], values: Mapping[str, object]) -> tuple[Path, bool]:
    named = file or environ.get(FILE_VARIABLE)
    if named:
        return Path(named), True
    data = values.get("data", SETTINGS["data"].default)
    assert isinstance(data, Path)
    return data / FILE_NAME, False


def _read(path: Path, *, must_exist: bool) -> dict[str, Any] | None:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if not must_exist:
            return None
        raise BadConfig(f"{path} — expected a configuration file, got nothing: it does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        folder = path.parent
        if not must_exist and not (os.access(folder, os.X_OK) and folder.is_dir()):  # nobody named a file
            why = error.strerror if isinstance(error, OSError) else error
            raise BadConfig(f"data — expected a folder that can be used, got {folder}: {why}", field="data") from None
        raise BadConfig(f"{path} — expected a readable configuration file in UTF-8, got: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise BadConfig(f"{path} — expected TOML, got: {error}") from None


def _check_version(content: dict[str, Any], path: Path) -> None:
    """Take the version out of a file; one without is of the present one, for people write them."""
    version = content.pop("version", CONFIG.version)
    if type(version) is not int:
        raise BadConfig(f"version in {path} — expected a whole number, got {str(version)[:80]!r}", field="version")
    CONFIG.check(version, str(path))


def _from_file(content: Mapping[str, Any], path: Path, prefix: str = "") -> Iterator[tuple[Setting, object, str]]:
    sections = {name.partition(".")[0] for name in SETTINGS if "." in name}
    for key, raw in content.items():
        name = prefix + key
        if name in SETTINGS:
            yield SETTINGS[name], raw, str(path)
        elif not prefix and name in sections:
            if not isinstance(raw, dict):
                raise BadConfig(f"{name} in {path} — expected a section, [{name}], got {str(raw)[:80]!r}", field=name)
            yield from _from_file(raw, path, f"{name}.")
        else:
            raise _unknown(name, str(path), SETTINGS if prefix else (*SETTINGS, *sections))


def _unknown(name: str, where: str, known: Mapping[str, object] | tuple[str, ...]) -> BadConfig:
    nearest = difflib.get_close_matches(name, list(known), n=1, cutoff=0.0)
    return BadConfig(f"{name} in {where} — expected a known setting; the nearest is {nearest[0]}", field=name)


def _convert(setting: Setting, raw: object, where: str, base: Path, *, written: bool) -> object:
    """Turn what a source says into the setting's type; `written` values are text, of the environment or a flag."""
    try:
        value = raw
        if written and isinstance(raw, str):
            value = _from_text(setting, raw)
        if setting.name == "speed" and value == "max":
            return math.inf
        value = msgspec.convert(value, setting.type, strict=not written, dec_hook=_decode)
        if isinstance(value, float) and not math.isfinite(value):  # TOML has nan and inf
            raise ValueError
        # Lenient as it is otherwise, it takes 1e3 and 5.0 for whole numbers.
        if isinstance(raw, str) and type(value) in _NUMBERS and _NUMBERS[type(value)](raw.removeprefix("-")) is None:
            raise ValueError
        if setting.name == "at" and isinstance(value, str):
            moment(value)
    except (LookupError, ValueError, msgspec.ValidationError):
        raise BadConfig(
            f"{setting.name} in {where} — expected {_describe(setting)}, got {str(raw)[:80]!r}", field=setting.name
        ) from None
    if setting.name == "source":
        return _source(str(value), where, base)
    return base / value if isinstance(value, Path) else value


def _describe(setting: Setting) -> str:
    match setting.name:
        case "speed":
            return f"{setting.expected}, or max"
        case "at":
            return "a time such as 09:14:50, or a date with a time such as 2026-11-23T09:14:50"
    return setting.expected


def _from_text(setting: Setting, text: str) -> object:
    if isinstance(setting.default, tuple):
        return [each.strip() for each in text.split(",") if each.strip()]
    if isinstance(setting.default, bool):
        return _BOOLEANS[text.lower()]
    return text


def _decode(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str) and value:
        return Path(value)
    raise ValueError


def _source(source: str, where: str, base: Path) -> str:
    name, colon, file = source.partition(":")
    if name not in SOURCES or bool(colon) != (name == "replay") or bool(colon) != bool(file):
        nearest = difflib.get_close_matches(name, SOURCES, n=1, cutoff=0.0)[0]
        raise BadConfig(
            f"source in {where} — expected sim, bhavcopy or replay:FILE, got {source[:80]!r}; the nearest is {nearest}",
            field="source",
        )
    return f"replay:{base / file}" if file else name


def _build(values: Mapping[str, object]) -> Config:
    top: dict[str, Any] = {name: value for name, value in values.items() if "." not in name}
    sections: dict[str, Any] = {
        field.name: field.type(**_section(values, f"{field.name}."))
        for field in msgspec.structs.fields(Config)
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct)
    }
    return Config(**top, **sections)


def _section(values: Mapping[str, object], prefix: str) -> dict[str, object]:
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def _dig(config: Config, name: str) -> object:
    value: object = config
    for part in name.split("."):
        value = getattr(value, part)
    return value
