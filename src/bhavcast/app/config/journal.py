"""Settings of the journal."""

from typing import Annotated

import msgspec

from bhavcast.app.config.setting import says


class JournalSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the journal is kept."""

    fsync_ms: Annotated[
        int,
        says(
            "time between fsyncs of the journal: a power cut loses at most so much; a killed process loses nothing",
            200,
            unit="milliseconds",
            ge=5,
            le=60_000,
        ),
    ] = 50
    keep_days: Annotated[
        int, says("sealed journals are removed after so many days", 7, unit="days", ge=1, le=36_500)
    ] = 30
    keep_bytes: Annotated[
        int,
        says(
            "room that sealed journals may take together; the oldest are removed first",
            2_000_000_000,
            unit="bytes",
            ge=1_048_576,
            le=2**60,
        ),
    ] = 20_000_000_000
