"""Sessions, streams and what operators do: over real connections, with keys that come, go and end."""

import asyncio
import ipaddress
import re

import msgspec
import pytest
import structlog
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from bhavcast.access.allowance import Allowance
from bhavcast.access.doorkeeper import BELIEVED_S, Doorkeeper
from bhavcast.access.keyring import Keyring
from bhavcast.access.sessions import LIFE_S
from bhavcast.app.control import LineControl
from bhavcast.domain import field
from bhavcast.domain.access import Key, digest
from bhavcast.domain.errors import BadRequest, Conflict, UnknownSource
from bhavcast.telemetry import log as logs
from bhavcast.telemetry.clock import ManualClock
from tests.docs.stage import EPOCH, PATIENCE_S, Still
from tests.integration.test_flow import MONDAY, traded
from tests.integration.venue import DESK, STRANGER, Answer, Venue, request
from tests.waiting import until

pytestmark = pytest.mark.slow

VIEWER = Key(id="1", name="desk", role="viewer", sha256=digest("desk-key"), created=0)
OPERATOR = Key(id="2", name="ops", role="operator", sha256=digest("ops-key"), created=0)
DESK_KEY, OPS_KEY = "X-API-Key: desk-key", "X-API-Key: ops-key"
STREAM = "/api/stream?symbols=500325"


class Told:
    """Notes what it is told to do; implements gateway.control.Control."""

    def __init__(self):
        self.done = []

    async def pause(self, source):
        self.done.append(("pause", source))

    async def resume(self, source):
        self.done.append(("resume", source))

    async def prefer(self, source):
        raise Conflict("expected several sources")

    async def release(self, entry_id):
        self.done.append(("release", entry_id))
        return {"id": entry_id, "symbol": "500325", "rule": "band"}

    async def log_level(self, level):
        self.done.append(("log_level", level))


def guarded(keyring=None, **allowance):
    return Doorkeeper(keyring or Keyring([VIEWER, OPERATOR]), Still(), allowance=Allowance(**allowance))


async def post(venue: Venue, target: str, *headers: str, body: bytes = b"", method: str = "POST") -> Answer:
    length = (f"Content-Length: {len(body)}",) if body else ()
    return await venue.ask(request(target, *headers, *length, method=method, body=body))


async def signed_in(venue: Venue, *headers: str) -> tuple[str, str]:
    """Exchange a key; return the cookie header and the CSRF header."""
    answer = await post(venue, "/api/session", *headers)
    cookie = (answer.header("set-cookie") or "").partition(";")[0]
    return f"Cookie: {cookie}", f"X-CSRF-Token: {answer.told['csrf']}"


# -- sessions -----------------------------------------------------------------------------------------------------------


async def test_a_key_is_exchanged_for_a_cookie_that_scripts_and_other_sites_cannot_use():
    async with Venue(keeper=guarded()) as venue:
        answer = await post(venue, "/api/session", DESK_KEY)
        assert answer.status == 200
        assert answer.told.keys() == {"name", "role", "csrf", "expires_in"}
        assert re.fullmatch(
            r"bhavcast_session=[\w-]{43}; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict",
            answer.header("set-cookie") or "",
        )
        assert answer.header("cache-control") == "no-store"
        assert b"desk-key" not in answer.body


async def test_behind_a_trusted_proxy_with_tls_the_cookie_goes_by_tls_alone():
    door = Doorkeeper(Keyring([VIEWER]), Still(), trusted_proxies=[ipaddress.ip_network("127.0.0.1")])
    async with Venue(keeper=door) as venue:
        answer = await post(venue, "/api/session", DESK_KEY, "X-Forwarded-For: 9.9.9.9", "X-Forwarded-Proto: https")
        assert (answer.header("set-cookie") or "").endswith("; Secure")


async def test_a_cookie_reads_and_changes_only_with_its_token():
    control = Told()
    async with Venue(keeper=guarded(), control=control) as venue:
        cookie, token = await signed_in(venue, OPS_KEY)
        assert (await venue.read("/api/stock/500325", cookie)).status == 200
        me = (await venue.read("/api/session", cookie)).told
        assert (me["name"], f"X-CSRF-Token: {me['csrf']}") == ("ops", token)
        pause = "/api/admin/feeds/sim/pause"
        (await post(venue, pause, cookie)).refused(403, "bad_csrf_token")
        (await post(venue, pause, cookie, "X-CSRF-Token: guess")).refused(403, "bad_csrf_token")
        (await post(venue, pause, cookie, token, f"Origin: {STRANGER}")).refused(403, "foreign_origin")
        assert control.done == []
        assert (await post(venue, pause, cookie, token, f"Origin: {DESK}")).status == 200
        assert control.done == [("pause", "sim")]


async def test_who_signs_out_ends_every_copy_of_the_cookie():
    async with Venue(keeper=guarded()) as venue:
        cookie, token = await signed_in(venue, DESK_KEY)
        (await post(venue, "/api/session", cookie, method="DELETE")).refused(403, "bad_csrf_token")
        answer = await post(venue, "/api/session", cookie, token, method="DELETE")
        assert answer.status == 204
        assert "Max-Age=0" in (answer.header("set-cookie") or "")
        (await venue.read("/api/stock/500325", cookie)).refused(401, "unauthenticated")


async def test_a_session_ends_with_its_key():
    keyring = Keyring([VIEWER])
    async with Venue(keeper=guarded(keyring)) as venue:
        cookie, _ = await signed_in(venue, DESK_KEY)
        keyring.replace([Key(id="1", name="desk", role="viewer", sha256=digest("desk-key"), created=0, revoked=1)])
        (await venue.read("/api/stock/500325", cookie)).refused(401, "unauthenticated")


async def test_nothing_but_a_key_is_exchanged():
    async with Venue(keeper=guarded()) as venue:
        cookie, token = await signed_in(venue, DESK_KEY)
        (await post(venue, "/api/session", cookie, token)).refused(401, "unauthenticated")
        (await post(venue, "/api/session")).refused(401, "unauthenticated")
        (await post(venue, "/api/session", "X-API-Key: wrong-key")).refused(401, "unauthenticated")
        (await post(venue, "/api/session", DESK_KEY, f"Origin: {STRANGER}")).refused(403, "foreign_origin")
    async with Venue() as open_house:
        (await post(open_house, "/api/session")).refused(401, "unauthenticated")
        told = (await open_house.read("/api/session")).told
        assert (told["name"], told["role"], told["csrf"]) == ("anonymous", "viewer", None)


async def test_an_allowed_page_may_send_its_cookie_and_another_may_not():
    async with Venue(keeper=guarded()) as venue:
        cookie, _ = await signed_in(venue, DESK_KEY)
        mine = await venue.read("/api/stock/500325", cookie, f"Origin: {DESK}")
        assert mine.header("access-control-allow-credentials") == "true"
        assert mine.header("access-control-allow-origin") == DESK
        other = await venue.read("/api/stock/500325", cookie, f"Origin: {STRANGER}")
        assert other.header("access-control-allow-origin") is None
        assert other.header("access-control-allow-credentials") is None


# -- streams ------------------------------------------------------------------------------------------------------------


async def test_streams_are_opened_by_key_or_cookie_and_counted():
    async with Venue(keeper=guarded(streams_per_key=2)) as venue:
        url = venue.url.replace("http", "ws", 1) + "/ws"
        cookie, _ = await signed_in(venue, DESK_KEY)
        name, _, value = cookie.partition(": ")
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, additional_headers={"X-API-Key": "wrong-key"}, proxy=None)
        assert refused.value.response.status_code == 401
        async with (
            connect(url, additional_headers={"Authorization": "Bearer desk-key"}, proxy=None) as one,
            connect(url, additional_headers={name: value}, proxy=None) as two,
        ):
            assert '"t":"hello"' in await one.recv()
            assert '"t":"hello"' in await two.recv()
            (await venue.read(STREAM, DESK_KEY)).refused(429, "too_many_streams")
            with pytest.raises(InvalidStatus) as refused:
                await connect(url, additional_headers={"X-API-Key": "desk-key"}, proxy=None)
            assert refused.value.response.status_code == 429
            async with venue.line() as other:
                await other.send(request(STREAM, OPS_KEY))
                assert (await other.head()).status == 200
        await until(lambda: not venue.gateway.members)
        async with venue.line() as line:
            await line.send(request(STREAM, cookie))
            assert (await line.head()).status == 200
        await until(lambda: not venue.gateway.members)


ENDS = {"revoked": 4500, "expired": 4005, "ends sooner than it did": 4005, "needed by now": 4500}


@pytest.mark.parametrize("path", ["/ws", "/socket.io/?EIO=4&transport=websocket", "/kite"])
@pytest.mark.parametrize("how", ENDS)
async def test_streams_end_with_what_opened_them(how, path):
    clock = ManualClock()
    ends = msgspec.structs.replace(VIEWER, expires=clock.wall_ms() + 60_000)
    keyring = Keyring([] if how == "needed by now" else [ends])
    async with Venue(keeper=Doorkeeper(keyring, clock), kite_api=True) as venue, venue.line() as line:
        venue.gateway.clock = clock
        headers = {} if how == "needed by now" else {"X-API-Key": "desk-key"}
        await line.send(request(STREAM, *(f"{name}: {value}" for name, value in headers.items())))
        assert (await line.head()).status == 200
        async with connect(venue.url.replace("http", "ws", 1) + path, additional_headers=headers, proxy=None) as wire:
            await until(lambda: len(venue.gateway.members) == 2)
            match how:
                case "revoked":
                    keyring.replace([msgspec.structs.replace(ends, revoked=1)])
                case "expired":
                    clock.advance(60)
                case "ends sooner than it did":
                    clock.advance(30)
                    keyring.replace([msgspec.structs.replace(ends, expires=clock.wall_ms())])
                case _:
                    keyring.replace([ends])
            await wire.wait_closed()
            assert wire.close_code == ENDS[how]
            # The same once more is not let in again, as a handshake or as a request.
            if how != "needed by now":
                with pytest.raises(InvalidStatus) as refused:
                    await connect(venue.url.replace("http", "ws", 1) + path, additional_headers=headers, proxy=None)
                assert refused.value.response.status_code == 401
                (await venue.read(STREAM, DESK_KEY)).refused(401, "key_expired")
        async with asyncio.timeout(PATIENCE_S):
            said = await line.reader.readuntil(b"\r\n0\r\n\r\n")  # the last chunk
        assert (b'"key_expired"' if ENDS[how] == 4005 else b'"bad_auth"') in said
        await until(lambda: not venue.gateway.members)


@pytest.mark.parametrize("how", ["signed out", "over", "its key revoked", "its key expired"])
async def test_a_cookie_that_was_copied_is_worth_nothing_after_its_end(how):
    clock = ManualClock()
    ends = msgspec.structs.replace(VIEWER, expires=clock.wall_ms() + 20 * 3_600_000)
    keyring = Keyring([ends])
    async with Venue(keeper=Doorkeeper(keyring, clock)) as venue, venue.line() as line:
        venue.gateway.clock = clock
        cookie, csrf = await signed_in(venue, DESK_KEY)
        name, _, value = cookie.partition(": ")
        url = venue.url.replace("http", "ws", 1) + "/ws"
        quote = request("/api/stock/500325", cookie)
        for _ in range(2):
            assert (await venue.ask(quote)).status == 200
        await line.send(request(STREAM, cookie))
        assert (await line.head()).status == 200
        async with connect(url, additional_headers={name: value}, proxy=None) as wire:
            await until(lambda: len(venue.gateway.members) == 2)
            match how:
                case "signed out":
                    assert (await post(venue, "/api/session", cookie, csrf, method="DELETE")).status == 204
                    clock.advance(BELIEVED_S)
                case "over":
                    clock.advance(LIFE_S)
                case "its key revoked":
                    keyring.replace([msgspec.structs.replace(ends, revoked=1)])
                case "its key expired":
                    keyring.replace([msgspec.structs.replace(ends, expires=clock.wall_ms())])
            await wire.wait_closed()
            code = 4005 if how == "its key expired" else 4500
            assert wire.close_code == code
        async with asyncio.timeout(PATIENCE_S):
            said = await line.reader.readuntil(b"\r\n0\r\n\r\n")
        assert (b'"key_expired"' if code == 4005 else b'"bad_auth"') in said
        # The very same bytes again, wherever they opened something.
        for asked in (quote, request(STREAM, cookie), request(STREAM, cookie, "Last-Event-ID: " + EPOCH + ":1")):
            (await venue.ask(asked)).refused(401, "unauthenticated")
        async with connect(url, additional_headers={name: value}, proxy=None) as wire:
            hello = msgspec.json.decode(await wire.recv())
            assert (hello["auth"], hello["market"], hello["feeds"]) == ("required", {}, {})
            await wire.send('{"t":"sub","id":1,"symbols":["500325"]}')
            await wire.wait_closed()
            assert wire.close_code == 4501
        await until(lambda: not venue.gateway.members)


async def test_a_key_is_shown_once_and_not_again_on_the_same_stream():
    async with Venue(keeper=guarded()) as venue:
        async with connect(venue.url.replace("http", "ws", 1) + "/ws", proxy=None) as wire:
            auth = '{"t":"auth","id":1,"key":"desk-key"}'
            await wire.send(auth)
            await wire.send(auth)
            told = [msgspec.json.decode(await wire.recv()) for _ in range(2)]
            while told[-1]["t"] != "error":
                told.append(msgspec.json.decode(await wire.recv()))
            assert (told[-1]["code"], told[-1]["field"]) == ("bad_request", "t")
            assert "desk-key" not in msgspec.json.encode(told).decode()
        await until(lambda: not venue.gateway.members)


async def test_an_event_stream_needs_a_key_too():
    async with Venue(keeper=guarded()) as venue:
        (await venue.read(STREAM)).refused(401, "unauthenticated")
        (await venue.read(STREAM, "Forwarded: for=127.0.0.1")).refused(401, "unauthenticated")


# -- operators ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def level_at_rest():
    """What a test does to the level of the log of this process ends with it."""
    before = logs.set_level("info")
    yield
    logs.set_level(before)


async def test_what_operators_do_is_done_and_on_record_and_so_is_what_others_tried(level_at_rest):
    control = Told()
    async with Venue(keeper=guarded(), control=control) as venue:
        level = "/api/admin/log-level"
        assert (await post(venue, level, OPS_KEY, body=b'{"level":"debug"}')).told == {
            "level": "debug",
            "before": "info",
            "reached": ["gateway", "ingest"],
        }
        assert (await post(venue, "/api/admin/feeds/sim/pause", OPS_KEY)).status == 200
        assert (await post(venue, "/api/admin/feeds/sim/resume", OPS_KEY)).status == 200
        (await post(venue, "/api/admin/feeds/sim/prefer", OPS_KEY)).refused(409, "conflict")
        assert (await post(venue, "/api/admin/quarantine/17/release", OPS_KEY)).told["symbol"] == "500325"
        (await post(venue, "/api/admin/feeds/sim/pause", DESK_KEY)).refused(403, "forbidden")
        (await post(venue, "/api/admin/feeds/sim/pause")).refused(401, "unauthenticated")
        assert control.done == [("log_level", "debug"), ("pause", "sim"), ("resume", "sim"), ("release", 17)]
        told = [(each["who"], each["what"], each["target"], each["outcome"]) for each in venue.recorded]
        assert told == [
            ("ops", "POST /api/admin/log-level", "debug", "done"),
            ("ops", "POST /api/admin/feeds/sim/pause", "", "done"),
            ("ops", "POST /api/admin/feeds/sim/resume", "", "done"),
            ("ops", "POST /api/admin/feeds/sim/prefer", "", "conflict"),
            ("ops", "POST /api/admin/quarantine/17/release", "500325 band", "done"),
            ("desk", "POST /api/admin/feeds/sim/pause", "", "forbidden"),
        ]
        assert all(each["where"] == "127.0.0.1" and each["request_id"] for each in venue.recorded)


@pytest.mark.parametrize(
    "body", [b"", b"x", b"{}", b'{"level":"loud"}', b'{"level":1}', b'{"level":"info","x":1}', b"[]", b"\xff"]
)
async def test_a_level_that_is_none_is_refused_by_name(body):
    async with Venue(keeper=guarded(), control=Told()) as venue:
        assert (await post(venue, "/api/admin/log-level", OPS_KEY, body=body)).refused(400, "bad_request")[
            "field"
        ] == "level"


async def test_a_level_that_does_not_reach_the_ingest_is_the_gateways_all_the_same_and_both_is_said(level_at_rest):
    async with Venue(keeper=guarded()) as venue:
        told = (await post(venue, "/api/admin/log-level", OPS_KEY, body=b'{"level":"error"}')).told
        assert told["reached"] == ["gateway"]
        assert "ask one on the ingest's host" in told["missed"]["ingest"]
        assert logs.set_level("info") == "error"


async def test_an_admin_route_has_its_method():
    async with Venue(keeper=guarded(), control=Told()) as venue:
        answer = await venue.read("/api/admin/drain", OPS_KEY)
        answer.refused(405, "method_not_allowed")
        assert answer.header("allow") == "OPTIONS, POST"
        (await post(venue, "/api/admin/feeds/sim/explode", OPS_KEY)).refused(404, "not_found")
        for nothing in ("x", "9" * 20):
            (await post(venue, f"/api/admin/quarantine/{nothing}/release", OPS_KEY)).refused(400, "bad_request")


async def test_who_drains_sends_every_stream_away_and_leaves_health_alone():
    async with Venue(keeper=guarded()) as venue, venue.line() as line:
        await line.send(request(STREAM, DESK_KEY))
        assert (await line.head()).status == 200
        answer = await post(venue, "/api/admin/drain", OPS_KEY)
        assert answer.status == 202
        assert answer.told == {"state": "draining", "streams": 1}
        await until(lambda: not venue.gateway.members)
        (await venue.read("/api/stock/500325", DESK_KEY)).refused(503, "draining")
        assert (await venue.read("/health/live")).status == 200


async def test_a_record_that_cannot_be_kept_does_not_keep_an_operator_from_acting():
    def full(**_told: object) -> None:
        raise OSError(28, "No space left on device")

    control = Told()
    async with Venue(keeper=guarded(), control=control, record=full) as venue:
        with structlog.testing.capture_logs() as lines:
            assert (await post(venue, "/api/admin/feeds/sim/pause", OPS_KEY)).status == 200
        assert control.done == [("pause", "sim")]
        assert any(each["event"] == "not on the audit log" for each in lines)


@pytest.mark.parametrize(
    "target",
    [
        "//api/admin/feeds/sim/pause",
        "/api//admin/feeds/sim/pause",
        "/api/%2Fadmin/feeds/sim/pause",
        "%2F/api/admin/feeds/sim/pause",
        "http://localhost//api/admin/feeds/sim/pause",
        "/api/admin//feeds/sim/pause",
        "/api/admin/feeds/sim/pause/",
        "/api/./admin/feeds/sim/pause",
        "/x/../api/admin/feeds/sim/pause",
        "/api/%61dmin/feeds/sim/pause",
        "/api/%2561dmin/feeds/sim/pause",
        "/API/admin/feeds/sim/pause",
        "/api/admin;x/feeds/sim/pause",
    ],
)
@pytest.mark.parametrize("keyed", [False, True])
async def test_no_way_to_spell_an_admin_route_needs_less_than_its_role(target, keyed):
    control = Told()
    async with Venue(keeper=guarded() if keyed else None, control=control) as venue:
        answer = await post(venue, target, *((DESK_KEY,) if keyed else ()))
        assert answer.status in (400, 401, 403, 404, 405)
        assert control.done == []


# -- what is done --------------------------------------------------------------------------------------------------------


async def test_a_quarantined_tick_is_released_by_the_writer_between_two_batches(tmp_path):
    line = await traded(tmp_path)
    control = LineControl(line.line)
    await line.play((f"{MONDAY} 09:15:06", [("500325", {field.CURRENT_PRICE: 900_000})]))
    assert line.value("500325", field.CURRENT_PRICE) == 151_000
    (entry,) = line.line.guard.quarantine.entries()
    asked = asyncio.create_task(control.release(entry.id))
    await asyncio.sleep(0)
    assert line.value("500325", field.CURRENT_PRICE) == 151_000
    await line.wait(f"{MONDAY} 09:15:07")
    assert (await asked)["symbol"] == "500325"
    assert line.value("500325", field.CURRENT_PRICE) == 900_000
    again = asyncio.create_task(control.release(entry.id))
    await asyncio.sleep(0)
    await line.wait(f"{MONDAY} 09:15:08")
    with pytest.raises(BadRequest):
        await again


async def test_a_source_is_known_by_its_name_and_only_some_can_be_paused(tmp_path):
    line = await traded(tmp_path)
    control, name = LineControl(line.line), line.feed.source.name
    with pytest.raises(UnknownSource):
        await control.pause("nse")
    with pytest.raises(Conflict, match="only one"):
        await control.prefer(name)
    with pytest.raises(Conflict, match="played once"):
        await control.pause(name)


def test_the_level_of_the_log_can_be_changed_while_it_runs(capsys):
    logs.configure("json", "warning")
    try:
        log = structlog.get_logger()
        log.info("one")
        assert logs.set_level("debug") == "warning"
        log.debug("two")
        logs.set_level("error")
        log.warning("three")
        log.error("four")
        said = capsys.readouterr().err
        assert [word in said for word in ("one", "two", "three", "four")] == [False, True, False, True]
    finally:
        logs.configure("console", "info")
        structlog.reset_defaults()
