"""`bhavcast up`: the whole system on one machine."""

from bhavcast.cli.command import command
from bhavcast.cli.flags import SettingFlags


def up(*, flags: SettingFlags | None = None) -> int:
    """Start the whole system on this machine and run it until Ctrl-C.

    Parameters
    ----------
    flags
        Settings given on the command line.
    """
    given = flags or SettingFlags()
    loaded = given.load()
    from bhavcast.app import system

    return system.up(loaded, given.config, lambda: given.load().config)


app = command(
    "up",
    up,
    about="Needs no key, no account and no network. Simulated trading starts at 09:14:50 at whatever hour it is.",
    examples=[
        "bhavcast up",
        "bhavcast up --rate 20000 --seed 7",
        "bhavcast up --at 15:10 --speed 10",
        "bhavcast up --source bhavcopy --data ./day",
    ],
    codes={0: "stopped as asked"},
)
