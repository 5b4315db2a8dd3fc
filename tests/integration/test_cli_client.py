"""`quote`, `watch` and `verify` against a running system, and against what is none."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.integration.cli import bhavcast


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


class _Other(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<html>some other service</html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def other() -> Iterator[str]:
    """A web server that is not this service."""
    with HTTPServer(("127.0.0.1", 0), _Other) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


# -- quote


def test_a_quote_by_id_is_told_in_full(system):
    answer = bhavcast("quote", "reliance", "--url", system.url)
    assert answer.code == 0
    cells = dict(line.split(maxsplit=1) for line in answer.out.splitlines())
    assert cells["symbol"] == "500325"
    assert float(cells["current_price"].replace(",", "")) > 0


def test_quotes_as_json_stand_in_the_order_asked_for(system):
    answer = bhavcast("quote", "TCS", "RELIANCE", "--json", "--url", system.url)
    assert [quote["symbol"] for quote in answer.json] == ["532540", "500325"]


def test_fields_and_depth_are_what_was_asked_for(system):
    [quote] = bhavcast("quote", "TCS", "--fields", "ltp", "--depth", "2", "--json", "--url", system.url).json
    assert "open" not in quote
    assert len(quote["depth"]["bids"]) <= 2


def test_an_unknown_symbol_is_named_and_the_others_are_told(system):
    answer = bhavcast("quote", "TCS", "NOSUCH", "--url", system.url)
    assert answer.code == 1
    assert "532540" in answer.out
    assert "error: NOSUCH" in answer.err
    assert "next: " in answer.err


def test_an_unknown_field_is_refused_by_the_service(system):
    answer = bhavcast("quote", "TCS", "--fields", "colour", "--url", system.url)
    assert answer.code == 1
    assert "error: " in answer.err


@pytest.mark.parametrize("command", ["quote", "watch"])
def test_no_server_is_said_with_what_to_do(command, nobody):
    answer = bhavcast(command, "TCS", "--url", nobody)
    assert answer.code == 3
    assert "does not answer" in answer.err
    assert "next: bhavcast up" in answer.err
    assert answer.out == ""


@pytest.mark.parametrize(
    "url", ["localhost:5000", "ftp://x", "http://", "http://x:99999", "http://x/path", "http://[::1"]
)
@pytest.mark.parametrize("command", ["quote", "watch", "verify"])
def test_what_is_no_address_is_refused_as_wrong_usage(command, url):
    symbols = [] if command == "verify" else ["TCS"]
    answer = bhavcast(command, *symbols, "--url", url)
    assert answer.code == 2
    assert "expected an address such as http://127.0.0.1:5000" in answer.err


@pytest.mark.parametrize("command", ["quote", "watch"])
def test_without_symbols_it_is_wrong_usage(command):
    answer = bhavcast(command)
    assert answer.code == 2
    assert "expected at least one symbol" in answer.err


@pytest.mark.parametrize("command", ["quote", "watch"])
def test_another_service_is_not_taken_for_this_one(command, other):
    answer = bhavcast(command, "TCS", "--url", other)
    assert answer.code == 3
    assert "error: " in answer.err


# -- watch


def test_watch_prints_updates_until_it_has_seen_enough(system):
    answer = bhavcast("watch", "RELIANCE", "TCS", "--count", "5", "--hz", "0", "--url", system.url)
    assert answer.code == 0
    assert len(answer.out.splitlines()) == 5


def test_watch_as_json_is_a_quote_in_each_line(system):
    answer = bhavcast("watch", "IDX:SENSEX/members", "--json", "--for", "2", "--url", system.url)
    assert answer.code == 0
    quotes = [json.loads(line) for line in answer.out.splitlines()]
    assert len({quote["symbol"] for quote in quotes}) == 30


def test_watch_ends_when_nothing_it_was_asked_for_exists(system):
    answer = bhavcast("watch", "NOSUCH", "--url", system.url)
    assert answer.code == 1
    assert "error: NOSUCH" in answer.err


def test_a_watch_of_no_time_is_wrong_usage(system):
    assert bhavcast("watch", "TCS", "--for", "0", "--url", system.url).code == 2


# -- verify


def test_verify_passes_on_a_running_system_with_a_live_update(system):
    answer = bhavcast("verify", "--json", "--url", system.url, "--frontend-url", system.frontend_url)
    assert answer.code == 0, answer.out
    told = answer.json
    assert (told["failed"], told["not_checked"]) == (0, 0)
    evidence = {check["name"]: check["evidence"] for check in told["checks"]}
    assert "quotes, then" in evidence["websocket"]
    assert "then an update" in evidence["server-sent events"]


def test_verify_fails_where_nothing_answers_and_checks_no_more(nobody, system):
    answer = bhavcast("verify", "--json", "--url", nobody, "--frontend-url", system.frontend_url)
    assert answer.code == 1
    results = {check["name"]: check["result"] for check in answer.json["checks"]}
    assert results["health"] == "fail"
    assert results["frontend"] == "pass"
    assert results["websocket"] == "not checked"


def test_verify_fails_at_another_service_and_says_what_came(other):
    answer = bhavcast("verify", "--url", other)
    assert answer.code == 1
    assert "the answer has another form" in answer.out
