"""`bhavcast serve`: one role in a process of its own."""

import asyncio
import importlib
from collections.abc import Callable

from bhavcast.app.config import Config
from bhavcast.app.process import loop_factory
from bhavcast.domain.errors import BadConfig
from bhavcast.telemetry import log as logs


def run(role: str, config: Config, reread: Callable[[], Config]) -> int:
    """Serve one role until it is told to stop; return the exit code. `reread` reads the configuration again."""
    logs.configure(config.log_format, config.log_level)
    if role != "frontend" and not config.bus.url:
        raise BadConfig(
            f"bus.url — expected the address of a Redis, got nothing: {role} shares its bus with other processes. "
            "bhavcast up runs everything on one machine, with a Redis of its own",
            field="bus.url",
        )
    serve = importlib.import_module(f"bhavcast.app.roles.{role}").serve
    with asyncio.Runner(loop_factory=loop_factory(config.gateway.loop)) as runner:
        code: int = runner.run(serve(config, reread))
        return code
