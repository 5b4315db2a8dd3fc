"""Logs: one call, two forms. JSON for machines, a readable line for people; always to standard error."""

import logging
import sys
from typing import Any, Literal

import structlog

Level = Literal["debug", "info", "warning", "error"]
_NUMBERS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
# Loggers are made once and keep their methods, so what is asked of each line is asked here.
_least: Level = "info"


def _from_level(_logger: Any, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if _NUMBERS.get(method, 50) < _NUMBERS[_least]:
        raise structlog.DropEvent
    return event


def set_level(level: Level) -> Level:
    """Log from this level on; return the one before."""
    global _least
    before, _least = _least, level
    logging.getLogger().setLevel(max(_NUMBERS[level], logging.WARNING))
    return before


def configure(form: Literal["console", "json"], level: Level) -> None:
    """Set up logging for this process; the standard library's loggers (uvicorn's) come out in the same form."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=False),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    faults = [structlog.processors.format_exc_info] if form == "json" else []
    structlog.configure(
        processors=[_from_level, *shared, *faults, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *faults,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # The libraries' own news is not ours: only what is wrong.
    set_level(level)
