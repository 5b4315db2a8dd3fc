import structlog

from bhavcast.telemetry import log


def test_the_level_can_be_changed_while_loggers_are_in_use(capsys):
    log.configure("json", "warning")
    try:
        used = structlog.get_logger()
        used.info("first")
        log.set_level("debug")
        used.debug("second")
        log.set_level("error")
        used.warning("third")
        used.error("fourth")
    finally:
        structlog.reset_defaults()
    said = capsys.readouterr().err
    assert [word for word in ("first", "second", "third", "fourth") if word in said] == ["second", "fourth"]
