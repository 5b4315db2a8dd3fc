"""Who is let in, as whom, and how often: every rule of the threat model, on clocks that stand."""

import ipaddress
from ipaddress import ip_network

import pytest

from bhavcast.access.allowance import Allowance, Bucket
from bhavcast.access.doorkeeper import MOST_ADDRESSES, Doorkeeper, Visitor
from bhavcast.access.keyring import Keyring
from bhavcast.access.sessions import COOKIE, LIFE_S, MOST, MOST_PER_KEY
from bhavcast.domain.access import Key, digest, may, new_key
from bhavcast.domain.errors import (
    BadCsrfToken,
    BadRequest,
    Forbidden,
    KeyExpired,
    NoKey,
    RateLimited,
    TooManyStreams,
    Unauthenticated,
)
from bhavcast.telemetry.clock import ManualClock

HERE, THERE = "127.0.0.1", "203.0.113.7"
PROXY = ip_network("10.0.0.0/24")


def key(text, role="viewer", **more):
    given = {"id": f"id-{text}", "name": text, "created": 0, **more}
    return Key(role=role, sha256=digest(text), **given)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def keyring():
    return Keyring()


@pytest.fixture
def door(keyring, clock):
    return Doorkeeper(keyring, clock, trusted_proxies=(PROXY,))


def bearer(text):
    return [(b"authorization", f"Bearer {text}".encode())]


def cookie(text):
    return [(b"cookie", f"a=b; {COOKIE}={text}".encode())]


def test_a_new_key_has_256_random_bits_and_is_no_other():
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(len(each) == len("bhk_") + 43 for each in keys)


def test_each_role_may_what_those_before_it_may():
    assert [may("operator", each) for each in ("viewer", "operator", "admin")] == [True, True, False]


@pytest.mark.parametrize("name", [b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-anything"])
def test_without_any_key_only_loopback_without_a_proxy_may_read(door, name):
    assert door.admit([], HERE).principal.anonymous
    assert door.admit([], "::1").principal.anonymous
    assert door.admit([], "::ffff:127.0.0.1").principal.anonymous
    for headers, peer in (([], THERE), ([(name, b"127.0.0.1")], HERE), ([(name, b"127.0.0.1")], "10.0.0.1")):
        with pytest.raises(NoKey):
            door.admit(headers, peer)


def test_once_there_is_a_key_nobody_reads_without_not_even_after_it_was_revoked(door, keyring, clock):
    visitor = door.admit([], HERE)
    keyring.replace([key("k", revoked=1)])
    with pytest.raises(NoKey):
        door.admit([], HERE)
    assert isinstance(door.again(visitor, clock.monotonic()), NoKey)
    assert visitor.generation != keyring.generation


@pytest.mark.parametrize(("policy", "peer", "free"), [("never", HERE, False), ("any", THERE, True)])
def test_reading_without_a_key_can_be_forbidden_and_allowed(keyring, clock, policy, peer, free):
    keyring.replace([key("k")] if free else [])
    found = Doorkeeper(keyring, clock, anonymous_read=policy).look([], peer)
    assert isinstance(found, Visitor if free else NoKey)


def test_what_is_internal_needs_no_key_from_the_internal_networks_alone(keyring, clock):
    keyring.replace([key("k")])
    door = Doorkeeper(keyring, clock, internal_networks=[PROXY])
    assert isinstance(door.look([], "10.0.0.9", internal=True), Visitor)
    assert isinstance(door.look([], "10.0.0.9"), NoKey)
    assert isinstance(door.look([(b"forwarded", b"for=10.0.0.9")], "10.0.0.9", internal=True), NoKey)
    assert isinstance(door.look([], THERE, internal=True), NoKey)


@pytest.mark.parametrize(
    "headers",
    [
        bearer("k"),
        [(b"authorization", b"bearer  k ")],
        [(b"x-api-key", b"k")],
        [*bearer("k"), *cookie("x")],
        [(b"authorization", b"Basic a proxy's"), (b"x-api-key", b"k")],
    ],
)
def test_a_key_comes_as_a_header(door, keyring, headers):
    keyring.replace([key("k", "operator")])
    principal = door.admit(headers, THERE).principal
    assert (principal.name, principal.role) == ("k", "operator")


def test_two_keys_are_one_too_many(door, keyring):
    keyring.replace([key("k")])
    with pytest.raises(BadRequest):
        door.admit([*bearer("k"), (b"x-api-key", b"k")], THERE)


def test_a_key_that_is_wrong_revoked_or_expired_opens_nothing_not_even_on_loopback(door, keyring, clock):
    keyring.replace([])
    with pytest.raises(Unauthenticated):
        door.admit(bearer("guess"), HERE)
    keyring.replace([key("old", expires=clock.wall_ms() + 1000), key("gone", revoked=1)])
    assert door.admit(bearer("old"), HERE).until == clock.monotonic() + 1
    clock.advance(1)
    for text, kind in (
        ("old", KeyExpired),
        ("gone", KeyExpired),
        ("guess", Unauthenticated),
        ("x" * 300, Unauthenticated),
    ):
        with pytest.raises(kind):
            door.admit(bearer(text), HERE)


def test_who_guesses_has_to_wait_but_never_keeps_out_who_has_a_key(door, keyring, clock):
    keyring.replace([key("k")])
    for _ in range(10):
        with pytest.raises(Unauthenticated):
            door.admit(bearer("guess"), THERE)
    with pytest.raises(RateLimited) as refused:
        door.admit(bearer("guess"), THERE)
    assert refused.value.retry_after == 6
    assert door.admit(bearer("k"), THERE).principal.name == "k"
    with pytest.raises(Unauthenticated):
        door.admit(bearer("guess"), HERE)
    clock.advance(6)
    with pytest.raises(Unauthenticated):
        door.admit(bearer("guess"), THERE)
    assert door.failures == {"no_key": 0, "wrong_key": 12, "key_expired": 0, "limited": 1}


def test_addresses_of_one_house_are_one(door, keyring):
    keyring.replace([key("k")])
    for last in range(10):
        with pytest.raises(Unauthenticated):
            door.admit(bearer("guess"), f"2001:db8::{last:x}")
    with pytest.raises(RateLimited):
        door.admit(bearer("guess"), "2001:db8::ffff")


def test_a_key_in_a_message_is_judged_like_one_in_a_header(door, keyring):
    keyring.replace([key("k")])
    whence = door.whence([], THERE)
    assert door.by_key("k", whence).principal.name == "k"
    with pytest.raises(Unauthenticated):
        door.by_key("guess", whence)


@pytest.mark.parametrize(
    ("peer", "headers", "address", "direct", "secure"),
    [
        (THERE, {}, THERE, True, False),
        (THERE, {b"x-forwarded-for": b"9.9.9.9", b"x-forwarded-proto": b"https"}, THERE, False, False),
        ("10.0.0.1", {b"x-forwarded-for": b"9.9.9.9"}, "9.9.9.9", False, False),
        ("10.0.0.1", {b"x-forwarded-for": b"127.0.0.1, 9.9.9.9 , 10.0.0.2"}, "9.9.9.9", False, False),
        ("10.0.0.1", {b"x-forwarded-for": b"10.0.0.7,10.0.0.2"}, "10.0.0.7", False, False),
        ("10.0.0.1", {b"x-forwarded-for": b"nonsense"}, "unknown", False, False),
        ("10.0.0.1", {b"forwarded": b"for=9.9.9.9"}, "10.0.0.1", False, False),
        ("10.0.0.1", {b"x-forwarded-proto": b"http, https"}, "10.0.0.1", False, True),
        ("10.0.0.1", {b"x-forwarded-for": b"[2001:db8::1]"}, "2001:db8::1", False, False),
    ],
)
def test_only_what_a_trusted_proxy_says_of_its_client_counts(door, peer, headers, address, direct, secure):
    assert door.whence(headers.items(), peer) == (address, direct, secure, not direct and peer == "10.0.0.1")


def test_a_session_lasts_until_it_ends_expires_or_its_key_does(door, keyring, clock):
    keyring.replace([key("k", "operator")])
    text, session = door.begin_session(door.admit(bearer("k"), THERE))
    visitor = door.admit(cookie(text), THERE)
    assert (visitor.principal.name, visitor.csrf) == ("k", session.csrf)
    door.sessions.end(text)
    with pytest.raises(NoKey):
        door.admit(cookie(text), THERE)
    text, _ = door.begin_session(door.admit(bearer("k"), THERE))
    clock.advance(LIFE_S)
    with pytest.raises(NoKey):
        door.admit(cookie(text), THERE)
    text, _ = door.begin_session(door.admit(bearer("k"), THERE))
    visitor = door.admit(cookie(text), THERE)
    keyring.replace([key("k", "operator", revoked=1)])
    with pytest.raises(NoKey):
        door.admit(cookie(text), THERE)
    assert isinstance(door.again(visitor, clock.monotonic()), KeyExpired)


def test_who_stays_is_looked_at_anew_when_something_changed_or_time_has_passed(door, keyring, clock):
    keyring.replace([key("k")])
    text, _ = door.begin_session(door.admit(bearer("k"), THERE))
    by_key, by_cookie = door.admit(bearer("k"), THERE), door.admit(cookie(text), THERE)
    assert door.again(by_key, clock.monotonic()) is by_key
    keyring.replace([key("k", expires=clock.wall_ms() + 1000)])
    stays = door.again(by_key, clock.monotonic())
    assert isinstance(stays, Visitor)
    assert (stays.account, stays.until) == (by_key.account, clock.monotonic() + 1)
    door.sessions.end(text)
    assert isinstance(door.again(by_cookie, clock.monotonic()), NoKey)
    clock.advance(1)
    assert isinstance(door.again(stays, clock.monotonic()), KeyExpired)
    keyring.replace([])
    assert isinstance(door.again(stays, clock.monotonic()), Unauthenticated)


def test_nobody_without_a_key_gets_a_session(door):
    with pytest.raises(NoKey):
        door.begin_session(door.admit([], HERE))


@pytest.mark.slow
def test_sessions_are_bounded_and_the_oldest_of_a_key_go_first(door, keyring):
    keyring.replace([key(f"k{n}") for n in range(MOST // MOST_PER_KEY + 1)])
    first, _ = door.sessions.begin(keyring.get("id-k0"))
    for n in range(MOST // MOST_PER_KEY + 1):
        for _ in range(MOST_PER_KEY + 1):
            door.sessions.begin(keyring.get(f"id-k{n}"))
    assert len(door.sessions) == MOST
    assert door.sessions.find(first) is None


def test_a_change_by_cookie_needs_the_token_and_one_by_key_does_not(door, keyring):
    keyring.replace([key("k")])
    by_key = door.admit(bearer("k"), THERE)
    text, session = door.begin_session(by_key)
    by_cookie = door.admit(cookie(text), THERE)
    assert door.check_csrf(by_key, None) is None
    assert door.check_csrf(by_cookie, session.csrf) is None
    assert isinstance(door.check_csrf(by_cookie, None), BadCsrfToken)
    assert isinstance(door.check_csrf(by_cookie, "other"), BadCsrfToken)


def test_a_role_is_needed_and_nobody_without_a_key_has_one(door, keyring):
    assert isinstance(door.check_role(door.admit([], HERE), "operator"), NoKey)
    keyring.replace([key("v"), key("o", "operator"), key("a", "admin")])
    assert isinstance(door.check_role(door.admit(bearer("v"), HERE), "operator"), Forbidden)
    assert door.check_role(door.admit(bearer("o"), HERE), "operator") is None
    assert door.check_role(door.admit(bearer("a"), HERE), "operator") is None


def test_a_key_has_its_requests_whatever_others_do_from_its_address(keyring, clock):
    keyring.replace([key("a"), key("b")])
    door = Doorkeeper(keyring, clock, allowance=Allowance(requests_per_second=2, requests_burst=3))
    for _ in range(3):
        assert door.take(door.admit(bearer("a"), THERE)) is None
    refused = door.take(door.admit(bearer("a"), THERE))
    assert isinstance(refused, RateLimited)
    assert refused.retry_after == 1
    assert door.take(door.admit(bearer("b"), THERE)) is None
    clock.advance(0.5)
    assert door.take(door.admit(bearer("a"), THERE)) is None
    assert isinstance(door.take(door.admit(bearer("a"), THERE)), RateLimited)


def test_a_bucket_says_when_the_next_token_comes_and_when_it_is_full():
    bucket = Bucket(0.5, 3, now=0)
    assert [bucket.take(0) for _ in range(4)] == [True, True, True, False]
    assert (bucket.wait(), bucket.reset) == (2, 6)
    assert bucket.line() == b"ratelimit-remaining: 0\r\nratelimit-reset: 6\r\n"
    assert bucket.take(100)
    assert (int(bucket.tokens), bucket.reset) == (2, 2)
    assert bucket.line() == b"ratelimit-remaining: 2\r\nratelimit-reset: 2\r\n"


def test_streams_are_counted_per_key_and_per_address(keyring, clock):
    door = Doorkeeper(keyring, clock, allowance=Allowance(streams_per_key=2, streams_per_address=1))
    stranger = door.admit([], HERE)
    assert door.full(stranger) is None
    door.enter(stranger)
    assert isinstance(door.full(door.admit([], HERE)), TooManyStreams)
    assert door.full(door.stranger(door.whence([], THERE))) is None
    door.leave(stranger)
    assert door.full(stranger) is None
    keyring.replace([key("k")])
    for _ in range(2):
        assert door.full(door.admit(bearer("k"), HERE)) is None
        door.enter(door.admit(bearer("k"), THERE))
    assert isinstance(door.full(door.admit(bearer("k"), HERE)), TooManyStreams)


def test_addresses_that_are_remembered_are_bounded(door, keyring):
    keyring.replace([key("k")])
    held = door.stranger(door.whence([], "198.51.100.1"))
    door.enter(held)
    for n in range(MOST_ADDRESSES + 10):
        door.stranger(door.whence([], f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"))
    assert len(door._addresses) == MOST_ADDRESSES
    assert door.stranger(door.whence([], "198.51.100.1")).account is held.account


@pytest.mark.parametrize(
    ("peer", "house"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("no address", "unknown"),
        ("127.0.0.1", None),
        ("127.8.8.8", None),
        ("::1", None),
        ("::ffff:127.0.0.1", None),
        ("10.0.0.5", None),
        ("10.0.1.5", "10.0.1.5"),
    ],
)
def test_connections_are_counted_by_house_but_for_this_machine_and_trusted_proxies(keyring, clock, peer, house):
    door = Doorkeeper(keyring, clock, trusted_proxies=[ipaddress.ip_network("10.0.0.0/24")])
    assert door.house_of(peer) == house
