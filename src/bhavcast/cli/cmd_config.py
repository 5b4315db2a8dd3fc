"""`bhavcast config`: the settings, where each came from, and their documentation."""

from pathlib import Path

from bhavcast.app.config.page import settings_page
from bhavcast.cli.command import command
from bhavcast.cli.flags import SettingFlags
from bhavcast.cli.output import Exit, JsonFlag, json, report, say, table
from bhavcast.domain.errors import BadConfig, BadFile


def show(*, as_json: JsonFlag = False, flags: SettingFlags | None = None) -> None:
    """Print every setting, its value, and where it came from.

    Parameters
    ----------
    flags
        Settings given on the command line.
    """
    loaded = (flags or SettingFlags()).load()
    values = loaded.values()
    if as_json:
        json({name: {"value": value, "from": loaded.origins[name]} for name, value in values.items()})
        return
    table(
        ["setting", "value", "from"], [(name, _written(value), loaded.origins[name]) for name, value in values.items()]
    )


def check(*, flags: SettingFlags | None = None) -> int:
    """Say whether the settings are in order.

    Parameters
    ----------
    flags
        Settings given on the command line.
    """
    from bhavcast.app.access import refuse_open_house
    from bhavcast.app.keys import open_keyring

    try:
        loaded = (flags or SettingFlags()).load()
        refuse_open_house(loaded.config, open_keyring(loaded.config))
    except (BadConfig, BadFile) as error:
        from bhavcast.cli.output import CommandError

        report(CommandError(error.detail))
        return Exit.WRONG
    places = sorted({origin for origin in loaded.origins.values() if origin != "default"})
    say("The settings are in order: " + (f"defaults, and {', '.join(places)}" if places else "all defaults"))
    return Exit.DONE


def docs(*, write: Path | None = None) -> None:
    """Print the page of all settings, docs/reference/settings.md.

    Parameters
    ----------
    write
        Write it to this file instead.
    """
    if write is None:
        print(settings_page(), end="")
    else:
        write.write_text(settings_page(), encoding="utf-8")


def _written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(value)
    return "" if value is None else str(value)


app = command("config", examples=["bhavcast config show", "bhavcast config check --config prod.toml"])
app.command(
    command(
        "show",
        show,
        about="With --json: name to {value, from}.",
        examples=["bhavcast config show", "bhavcast config show --json --port 5001"],
    )
)
app.command(
    command(
        "check",
        check,
        examples=["bhavcast config check --config prod.toml"],
        codes={0: "in order", 1: "a setting is wrong, and was named"},
    )
)
app.command(command("docs", docs, examples=["bhavcast config docs --write docs/reference/settings.md"]))
