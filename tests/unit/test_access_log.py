"""What succeeds is added up, what does not stands singly, and a flood of it is only counted."""

import structlog

from bhavcast.gateway import request_id
from bhavcast.gateway.access_log import SINGLY, AccessLog, shown


def logged(log: AccessLog) -> list:
    with structlog.testing.capture_logs() as lines:
        log.flush()
    return lines


def test_successes_are_added_up_by_route_key_and_status_and_silence_is_silent():
    log = AccessLog()
    for who in ("desk", "desk", "ops"):
        log.tally("/api/stock/{symbol}", who, 200).count += 1
    told = [(each["route"], each["key"], each["status"], each["count"]) for each in logged(log)]
    assert told == [("/api/stock/{symbol}", "desk", 200, 2), ("/api/stock/{symbol}", "ops", 200, 1)]
    assert logged(log) == []


def test_refusals_stand_singly_up_to_a_number_a_second():
    log = AccessLog()
    with structlog.testing.capture_logs() as lines:
        for _ in range(SINGLY + 7):
            log.refused("other", 401)
    assert len(lines) == SINGLY
    assert [each["count"] for each in logged(log)] == [7]
    with structlog.testing.capture_logs() as lines:
        log.refused("other", 401)
    assert len(lines) == 1
    assert logged(log) == []


def test_nothing_is_logged_where_that_is_switched_off():
    log = AccessLog(enabled=False)
    log.tally("page", "-", 200).count += 1
    with structlog.testing.capture_logs() as lines:
        log.refused("other", 401)
        log.flush()
    assert lines == []


def test_a_key_in_a_path_is_blotted_out_and_a_path_is_cut():
    assert shown("/api/stock/bhk_Ab-c_9/x") == "/api/stock/bhk_…/x"
    assert len(shown("/" + "x" * 1000)) == 200


def test_a_request_keeps_a_sane_name_and_gets_one_otherwise():
    assert request_id.of("a-B_9.:/+=@") == "a-B_9.:/+=@"
    made = {request_id.of(came) for came in (None, "", "a b", 'a"b', "a\nb", "ü", "x" * 129)}
    assert len(made) == 7
    assert all(len(each) == len("12345678-00000001") for each in made)
