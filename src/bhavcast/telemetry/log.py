"""Logs: one call, two forms. JSON for machines, a readable line for people; always to standard error."""

import logging
import sys
from typing import Literal

import structlog


def configure(form: Literal["console", "json"], level: str) -> None:
    """Set up logging for this process; the standard library's loggers (uvicorn's) come out in the same form."""
    number = logging.getLevelNamesMapping()[level.upper()]
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
        processors=[*shared, *faults, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
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
    root.setLevel(max(number, logging.WARNING))
