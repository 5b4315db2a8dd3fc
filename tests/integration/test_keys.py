"""`bhavcast keys`: made once, told once, kept as digests; and a running doorkeeper that hears of every change."""

import contextlib
import json
import stat
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from bhavcast.access.keyfile import KeyFile
from bhavcast.app.config import Config
from bhavcast.app.keys import KeyDesk, KeyWatch, open_keyring
from bhavcast.domain.errors import BadFile, BadRequest, UnknownFormat
from bhavcast.telemetry.clock import ManualClock
from tests.integration.test_cli import call, error_of


@pytest.fixture
def config(tmp_path):
    return Config(data=tmp_path / "data")


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def desk(config, clock):
    return KeyDesk(config, clock)


def test_a_key_is_told_once_and_kept_as_a_digest_for_its_owner_alone(tmp_path):
    data = str(tmp_path / "data")
    done = call("keys", "create", "--name", "desk", "--data", data)
    text = done.stdout.strip()
    assert done.returncode == 0
    assert text.startswith("bhk_")
    assert text not in done.stderr
    listed = call("keys", "list", "--json", "--data", data)
    (row,) = json.loads(listed.stdout)
    assert (row["name"], row["role"], row["state"], row["expires"]) == ("desk", "viewer", "active", None)
    for path in (tmp_path / "data").iterdir():
        assert text not in path.read_text()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    made = json.loads(
        call("keys", "create", "--name", "o", "--role", "operator", "--expires", "9d", "--json", "--data", data).stdout
    )
    assert made["key"].startswith("bhk_")
    assert made["role"] == "operator"
    assert made["expires"] > made["created"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "--name", "x", "--role", "god"], "one of viewer, operator, admin, got 'god'"),
        (["create", "--name", "a b"], "got 'a b'"),
        (["create", "--name", "bhk_abc"], "never be arguments"),
        (["create", "--name", "x", "--expires", "soon"], "got 'soon'"),
        (["create", "--name", "x", "--expires", "2020-01-01"], "a time to come"),
        (["revoke", "nobody"], "got 'nobody': none"),
        (["revoke", "bhk_abc"], "never be arguments"),
        (["expire", "nobody", "9d"], "got 'nobody'"),
        (["rotate", "nobody"], "got 'nobody'"),
    ],
)
def test_what_is_impossible_is_refused_by_name(arguments, said, tmp_path):
    done = call("keys", *arguments, "--data", str(tmp_path / "data"))
    assert done.returncode == 1
    assert said in error_of(done)
    assert json.loads(call("keys", "list", "--json", "--data", str(tmp_path / "data")).stdout) == []


def test_a_rotated_key_goes_on_until_the_overlap_is_over(desk, clock):
    old = desk.create("desk", "operator").key
    clock.advance(10)
    made, ending = desk.rotate("desk", "1h")
    assert (made.key.name, made.key.role, made.key.expires) == ("desk", "operator", None)
    assert (ending.id, ending.expires) == (old.id, clock.wall_ms() + 3_600_000)
    with pytest.raises(BadRequest, match="2 active keys"):
        desk.revoke("desk")
    clock.advance(3600)
    assert [key.state(clock.wall_ms()) for key in desk.held()] == ["expired", "active"]
    assert desk.revoke("desk").id == made.key.id
    with pytest.raises(BadRequest, match="not revoked"):
        desk.revoke(made.key.id)


def test_a_rotated_key_lives_as_long_as_the_old_one_did(desk, clock):
    desk.create("desk", "viewer", "30d")
    clock.advance(86_400 * 29.9)
    made, ending = desk.rotate("desk", "24h")
    assert made.key.expires == clock.wall_ms() + 30 * 86_400_000
    assert ending.expires == ending.created + 30 * 86_400_000  # the overlap never lengthens the old one's life


def test_an_expiry_can_be_set_moved_and_taken_back(desk, clock):
    key = desk.create("desk", "viewer").key
    assert desk.expire("desk", "1h").expires == clock.wall_ms() + 3_600_000
    clock.advance(3600)
    with pytest.raises(BadRequest):
        desk.expire("desk", "1h")  # no active key has the name
    assert desk.expire(key.id, "never").state(clock.wall_ms()) == "active"


def test_every_change_is_on_the_audit_log_without_a_key(desk, config):
    made = desk.create("desk", "viewer")
    desk.expire("desk", "1d")
    text = desk.rotate("desk", "1h")[0].text
    desk.revoke(made.key.id)
    lines = (config.data / "audit.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    assert [each["what"] for each in entries] == ["keys.create", "keys.expire", "keys.rotate", "keys.revoke"]
    assert all({"at", "who", "where", "outcome", "target"} <= each.keys() for each in entries)
    assert not any(secret in line for line in lines for secret in (made.text, text))


def test_writers_at_the_same_moment_take_turns(config):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: KeyDesk(config).create(f"k{n}", "viewer"), range(24)))
    assert len(KeyDesk(config).held()) == 24


def test_a_change_that_fails_changes_nothing(desk, config):
    desk.create("desk", "viewer")
    before = KeyFile(config.data).path.read_bytes()
    with contextlib.suppress(RuntimeError), KeyFile(config.data).change() as keys:
        keys.clear()
        raise RuntimeError
    assert KeyFile(config.data).path.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"version":1,"keys":[],"more":1}', b'{"version":1,"keys":[{"id":1}]}', b"\xff"]
)
def test_what_is_no_key_file_is_refused_and_left_alone(config, content):
    config.data.mkdir()
    path = KeyFile(config.data).path
    path.write_bytes(content)
    with pytest.raises(BadFile):
        open_keyring(config)
    with pytest.raises(BadFile):
        KeyDesk(config).create("desk", "viewer")
    assert path.read_bytes() == content


def test_a_key_file_of_a_newer_version_is_refused_and_a_running_system_keeps_the_keys_it_knows(config):
    made = KeyDesk(config).create("desk", "viewer")
    keyring = open_keyring(config)
    watch = KeyWatch(config, keyring)
    path = KeyFile(config.data).path
    path.write_text('{"version":2,"keys":[],"more":1}')
    for start in (lambda: open_keyring(config), lambda: KeyDesk(config).create("more", "viewer")):
        with pytest.raises(UnknownFormat, match=r"keys\.json — expected version 1 of its format \(keys\), got 2"):
            start()
    watch.look()
    assert keyring.find(made.text) is not None
    assert path.read_text() == '{"version":2,"keys":[],"more":1}'


def test_a_running_system_hears_of_changes_and_never_opens_because_a_file_is_gone_or_broken(config):
    desk = KeyDesk(config)
    keyring = open_keyring(config)
    watch = KeyWatch(config, keyring)
    watch.look()
    assert keyring.empty
    made = desk.create("desk", "viewer")
    watch.look()
    assert keyring.find(made.text) is not None
    path = KeyFile(config.data).path
    good, generation = path.read_bytes(), keyring.generation
    watch.look()
    path.write_bytes(b"{")
    watch.look()
    path.unlink()
    watch.look()
    assert keyring.generation == generation
    assert keyring.find(made.text) is not None
    path.write_bytes(good)
    desk.revoke("desk")
    watch.look()
    revoked = keyring.find(made.text)
    assert revoked is not None
    assert revoked.revoked is not None
    assert not keyring.empty


def test_the_file_is_what_its_description_says(desk, config):
    desk.create("desk", "viewer")
    told = msgspec.json.decode((config.data / "keys.json").read_bytes())
    assert told["version"] == 1
    assert {"id", "name", "role", "sha256", "created"} <= told["keys"][0].keys()
