"""Which hosts this service answers for, and which pages may use it."""

import pytest

from bhavcast.domain.errors import ForeignHost, ForeignOrigin
from bhavcast.gateway.edge import Gate

GATE = Gate(["prices.example.in"], ["https://desk.example"], frontend_port=8080)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:5000", "[::1]:5000", "Prices.example.in:443", "127.9.9.9"])
def test_loopback_and_configured_names_are_answered(host):
    assert GATE.check(host, None, strict=True) is None


@pytest.mark.parametrize("host", [None, "", "evil.example", "prices.example.in.evil.example", "192.168.1.5", "0.0.0.0"])
def test_any_other_name_is_not(host):
    assert isinstance(GATE.check(host, None, strict=False), ForeignHost)


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("http://localhost:5000", "localhost:5000", True),
        ("https://desk.example", "localhost:5000", True),
        ("http://localhost:8080", "localhost:5000", True),
        ("http://prices.example.in:8080", "prices.example.in", True),
        ("http://127.0.0.1:8080", "localhost:5000", False),
        ("http://localhost:8081", "localhost:5000", False),
        ("http://evil.example:8080", "localhost:5000", False),
        ("http://localhost", "localhost:5000", False),
        ("https://desk.example.evil", "localhost:5000", False),
        ("null", "localhost:5000", False),
        ("http://[", "localhost:5000", False),
        ("http://localhost:x", "localhost:5000", False),
    ],
)
def test_the_own_page_the_frontend_beside_it_and_the_configured_origins_may_use_it(origin, host, allowed):
    assert GATE.origin_allowed(origin, host) is allowed
    assert (GATE.check(host, origin, strict=True) is None) is allowed
    assert GATE.check(host, origin, strict=False) is None, (
        "without streams and changes, a browser keeps the answer to itself"
    )


def test_a_gateway_without_a_frontend_beside_it_allows_none():
    assert isinstance(Gate([], []).check("localhost:5000", "http://localhost:8080", strict=True), ForeignOrigin)
