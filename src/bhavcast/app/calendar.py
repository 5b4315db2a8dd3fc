"""The calendar that holds: the built-in one, with the days of a file over it."""

from bhavcast.app.config import Config
from bhavcast.domain.calendar import Calendar
from bhavcast.domain.errors import BadConfig


def calendar_of(config: Config) -> Calendar:
    """Return the built-in calendar with the user's days over it."""
    calendar = Calendar.builtin()
    if config.calendar is None:
        return calendar
    try:
        return calendar.with_file(config.calendar.read_text())
    except OSError as error:
        raise BadConfig(f"calendar: {config.calendar}: {error.strerror}", field="calendar") from error
