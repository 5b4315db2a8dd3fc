"""`bhavcast serve`: one role of the system in a process of its own."""

from typing import Literal

from bhavcast.cli.command import command
from bhavcast.cli.flags import SettingFlags
from bhavcast.cli.output import fail


def serve(role: Literal["gateway", "ingest", "frontend", "monitor"], /, *, flags: SettingFlags | None = None) -> int:
    """Run one part of the system.

    Parameters
    ----------
    role
        Which part.
    flags
        Settings given on the command line.
    """
    given = flags or SettingFlags()
    loaded = given.load()
    if role == "monitor":
        fail("cannot serve monitor: the monitoring service is not part of this version")
    if role == "gateway" and loaded.config.gateway.workers > 1:
        from bhavcast.app import system

        return system.serve_gateways(loaded, given.config)
    from bhavcast.app.serve import run

    return run(role, loaded.config, lambda: given.load().config)


app = command(
    "serve",
    serve,
    about="Ingest and gateways meet at the Redis of bus.url; any number of gateways may, on any number of machines.",
    examples=[
        "BHAVCAST_BUS_URL=rediss://redis.example.in:6379 bhavcast serve ingest",
        "BHAVCAST_BUS_URL=rediss://redis.example.in:6379 bhavcast serve gateway",
        "bhavcast serve frontend --frontend-port 9080",
    ],
    codes={0: "stopped as asked"},
)
