"""The page of all settings, written from the settings themselves."""

import msgspec

from bhavcast.app.config import FILE_NAME, FILE_VARIABLE, SETTINGS, Setting, plain

_HEAD = f"""# Settings

<!-- Written by `bhavcast config docs`; a test compares. -->

One value, read once at start. Later sources win: defaults, file, environment, flags.

- The **file** is TOML: the one that `--config` or `{FILE_VARIABLE}` names, else `{FILE_NAME}` in the data folder if there is one. A name with a
  dot stands in a section: `limits.symbols` is `symbols` under `[limits]`. Paths in it are relative to the file.
- **Environment** variables begin with `BHAVCAST_`; an empty one counts as not set. Lists are separated by commas.
- **Flags** belong to the commands that run something (`up`, `serve`, `record`, `replay`) and to `config`.

An unknown key, in the file or with that prefix in the environment, is an error that names the nearest known one.
`bhavcast config show` prints every value with where it came from; `bhavcast config check` only whether all is well.
"""


def settings_page() -> str:
    """Return docs/reference/settings.md."""
    return "\n".join([_HEAD, *(_entry(setting) for setting in SETTINGS.values())])


def _entry(setting: Setting) -> str:
    section, _, key = setting.name.rpartition(".")
    ways = [f"file `[{section}] {key}`" if section else f"file `{key}`", f"environment `{setting.variable}`"]
    if setting.flag is not None:
        ways.append(f"flag `{setting.flag}`")
    header = f"[{section}]\n" if section else ""
    meaning = setting.meaning[0].upper() + setting.meaning[1:]
    return f"""## `{setting.name}`

{meaning}.

- expected: {setting.expected}
- default: {_default(setting)}
- set by: {", ".join(ways)}

```toml
{header}{key} = {_toml(setting.example)}
```
"""


def _default(setting: Setting) -> str:
    value = plain(setting.default)
    return "none" if value in (None, "", []) else f"`{_toml(value)}`"


def _toml(value: object) -> str:
    # JSON's texts, numbers, booleans and lists are TOML's.
    return msgspec.json.encode(value).decode()
