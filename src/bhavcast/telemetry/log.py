"""Logs: one call, two forms. JSON for machines, a readable line for people; always to standard error."""

import logging
import sys
from typing import Final, Literal

import structlog
from structlog.typing import EventDict, WrappedLogger

_NUMBERS: Final = logging.getLevelNamesMapping()
_least = logging.INFO


def set_level(level: str) -> None:
    """Log what is at least so serious from now on."""
    global _least  # noqa: PLW0603 - loggers are cached where they are used, so the level has to be read at each line
    _least = _NUMBERS[level.upper()]
    # The libraries' own news is not ours: only what is wrong.
    logging.getLogger().setLevel(max(_least, logging.WARNING))


def _drop_what_is_less_serious(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    if _NUMBERS["ERROR" if method == "exception" else method.upper()] < _least:
        raise structlog.DropEvent
    return event


def configure(form: Literal["console", "json"], level: str) -> None:
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
        processors=[_drop_what_is_less_serious, *shared, *faults, renderer],
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
    set_level(level)
