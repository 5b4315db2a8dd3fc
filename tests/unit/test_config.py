"""The configuration: which source wins, and how it says no."""

import datetime
import math
from pathlib import Path

import msgspec
import pytest

from bhavcast.access.keyring import Keyring
from bhavcast.app.access import refuse_open_house
from bhavcast.app.config import FLAGS, SETTINGS, Config, load
from bhavcast.domain.access import Key
from bhavcast.domain.errors import BadConfig

IST = datetime.timezone(datetime.timedelta(hours=5, minutes=30))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """No configuration file is found by accident."""
    monkeypatch.chdir(tmp_path)


def refused(flags=None, *, environ=None, file=None) -> str:
    with pytest.raises(BadConfig) as found:
        load(flags, environ=environ or {}, file=file)
    return found.value.detail


def test_without_anything_the_defaults_hold():
    loaded = load(environ={})
    assert loaded.config == Config()
    assert set(loaded.origins.values()) == {"default"}


def test_a_flag_wins_over_the_environment_over_the_file_over_the_default(tmp_path):
    file = tmp_path / "prod.toml"
    file.write_text("port = 1\nfrontend_port = 2\nrate = 3\n[limits]\nsymbols = 4\n")
    environ = {"BHAVCAST_FRONTEND_PORT": "20", "BHAVCAST_RATE": "30"}
    loaded = load({"rate": "300", "seed": None}, environ=environ, file=file)
    config = loaded.config
    assert (config.port, config.frontend_port, config.rate, config.limits.symbols, config.seed) == (1, 20, 300.0, 4, 1)
    assert [loaded.origins[name] for name in ("port", "frontend_port", "rate", "limits.symbols", "seed")] == [
        str(file),
        "BHAVCAST_FRONTEND_PORT",
        "--rate",
        str(file),
        "default",
    ]


def test_the_file_in_the_data_folder_is_found(tmp_path):
    (tmp_path / "bhavcast.toml").write_text("seed = 9\n")
    assert load({"data": str(tmp_path)}, environ={}).config.seed == 9
    assert load(environ={"BHAVCAST_DATA": str(tmp_path)}).config.seed == 9
    assert load(environ={}).config.seed == 1


def test_the_environment_can_name_the_file(tmp_path):
    file = tmp_path / "prod.toml"
    file.write_text("seed = 9\n")
    assert load(environ={"BHAVCAST_CONFIG": str(file)}).config.seed == 9


def test_a_file_found_through_the_data_folder_cannot_move_it(tmp_path):
    (tmp_path / "bhavcast.toml").write_text('data = "elsewhere"\n')
    assert "use --data or BHAVCAST_DATA" in refused({"data": str(tmp_path)})


def test_paths_in_a_file_are_relative_to_it(tmp_path):
    (tmp_path / "etc").mkdir()
    file = tmp_path / "etc" / "prod.toml"
    file.write_text('data = "state"\ncalendar = "days.csv"\nsource = "replay:day.rec"\n')
    config = load(environ={}, file=file).config
    assert config.data == tmp_path / "etc" / "state"
    assert config.calendar == tmp_path / "etc" / "days.csv"
    assert config.source_file == tmp_path / "etc" / "day.rec"
    assert load({"data": "state"}, environ={}).config.data == Path("state")


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("prot", "port"),
        ("limts", "limits"),
        ("limits.symbol", "limits.symbols"),
        ("gateway.hotpath", "gateway.hot_path"),
    ],
)
def test_an_unknown_key_in_the_file_is_named_with_its_place_and_the_nearest(tmp_path, key, nearest):
    file = tmp_path / "prod.toml"
    file.write_text(f"{key} = 1\n")
    assert refused(file=file) == f"{key} in {file} — expected a known setting; the nearest is {nearest}"


def test_a_section_that_is_none_is_named(tmp_path):
    file = tmp_path / "prod.toml"
    file.write_text("limits = 3\n")
    assert refused(file=file) == f"limits in {file} — expected a section, [limits], got '3'"


def test_a_data_folder_that_is_none_is_named_and_no_file_that_nobody_gave(tmp_path):
    (tmp_path / "state").write_text("")
    assert refused({"data": "state"}) == "data — expected a folder that can be used, got state: Not a directory"


def test_a_data_folder_that_cannot_even_be_looked_at_is_named():
    name = "x" * 300
    assert refused({"data": name}) == f"data — expected a folder that can be used, got {name}: File name too long"


def test_an_unknown_variable_is_named_with_the_nearest():
    detail = refused(environ={"BHAVCAST_FRONT_PORT": "1", "HOME": "/"})
    assert detail == (
        "BHAVCAST_FRONT_PORT in the environment — expected a known setting; the nearest is BHAVCAST_FRONTEND_PORT"
    )


def test_an_empty_variable_counts_as_not_set():
    assert load(environ={"BHAVCAST_PORT": "", "BHAVCAST_AT": ""}).config == Config()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("port", "abc", "a whole number from 0 to 65535"),
        ("port", "70000", "a whole number from 0 to 65535"),
        ("port", "1.5", "a whole number from 0 to 65535"),
        ("port", "5e3", "a whole number from 0 to 65535"),
        ("port", "5000.0", "a whole number from 0 to 65535"),
        ("rate", "0", "a number above 0 and at most 200000"),
        ("rate", "nan", "a number above 0"),
        ("scrips", "3", "a whole number from 30 to 20000 (scrips)"),
        ("speed", "-1", "a number above 0 (× real time), or max"),
        ("at", "half past nine", "a time such as 09:14:50"),
        ("at", "2026-13-01", "a time such as 09:14:50"),
        ("clock", "fast", "one of auto, real, virtual"),
        ("source", "simm", "the nearest is sim"),
        ("source", "replay", "expected sim, bhavcopy or replay:FILE"),
        ("source", "sim:x", "expected sim, bhavcopy or replay:FILE"),
        ("chaos", "drpo=1%", "chaos in BHAVCAST_CHAOS"),
        ("gateway.hot_path", "maybe", "true or false"),
        ("limits.url_bytes", "1", "a whole number from 512 to 65536 (bytes)"),
    ],
)
def test_an_impossible_value_is_named_with_what_was_expected(name, value, expected):
    variable = SETTINGS[name].variable
    detail = refused(environ={variable: value})
    assert detail.startswith(f"{name} in {variable} — ")
    assert expected in detail


def test_a_number_in_quotes_is_no_number_in_a_file(tmp_path):
    file = tmp_path / "prod.toml"
    file.write_text('port = "5000"\n')
    assert "expected a whole number from 0 to 65535, got '5000'" in refused(file=file)


@pytest.mark.parametrize("content", [b"port = ", b"\xff\xfe", b"[limits]\n[limits]\n"])
def test_a_file_that_is_no_toml_is_refused_with_its_name(tmp_path, content):
    file = tmp_path / "prod.toml"
    file.write_bytes(content)
    assert str(file) in refused(file=file)


def test_a_file_that_was_named_must_exist(tmp_path):
    assert "does not exist" in refused(file=tmp_path / "nowhere.toml")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.in"])
def test_other_than_loopback_is_refused_while_there_are_no_keys(host, tmp_path):
    config = load({"host": host, "data": str(tmp_path)}, environ={}).config
    with pytest.raises(BadConfig) as error:
        refuse_open_house(config, Keyring())
    assert "bhavcast keys create" in error.value.detail
    revoked = Key(id="1", name="k", role="viewer", sha256="", created=0, revoked=1)
    refuse_open_house(config, Keyring([revoked]))
    refuse_open_house(load({"host": host}, environ={"BHAVCAST_ANONYMOUS_READ": "any"}).config, Keyring())


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_every_loopback_address_is_taken(host):
    refuse_open_house(load({"host": host}, environ={}).config, Keyring())


@pytest.mark.parametrize("name", ["trusted_proxies", "internal_networks"])
def test_a_network_that_is_none_is_named(name):
    variable = f"BHAVCAST_{name.upper()}"
    assert load(environ={variable: "10.0.0.2,2001:db8::/32"})
    with pytest.raises(BadConfig) as error:
        load(environ={variable: "10.0.0.2,10.0.0.5/8"})
    assert error.value.field == name
    assert "10.0.0.5/8" in error.value.detail


def test_a_certificate_needs_its_key():
    with pytest.raises(BadConfig) as error:
        load(environ={"BHAVCAST_TLS_CERT": "cert.pem"})
    assert error.value.field == "tls.key"


def test_two_ports_cannot_be_one():
    assert refused({"port": "8080"}) == "port in --port — expected a port of its own, got 8080, which frontend_port has"
    assert load({"port": "0", "frontend_port": "0"}, environ={}).config.port == 0


def test_only_a_replay_runs_as_fast_as_it_can():
    assert "only a replay" in refused({"speed": "max"})
    assert math.isinf(load({"speed": "max", "source": "replay:x"}, environ={}).config.speed)


def test_a_real_clock_cannot_be_set():
    assert "a real one cannot be set" in refused({"at": "10:00"}, environ={"BHAVCAST_CLOCK": "real"})


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("09:14:50", datetime.time(9, 14, 50)),
        ("09:14", datetime.time(9, 14)),
        ("2026-11-23T09:14:50", datetime.datetime(2026, 11, 23, 9, 14, 50, tzinfo=IST)),
        ("2026-11-23 09:14", datetime.datetime(2026, 11, 23, 9, 14, tzinfo=IST)),
        ("2026-11-23T03:44:50Z", datetime.datetime(2026, 11, 23, 9, 14, 50, tzinfo=IST)),
    ],
)
def test_a_start_is_a_time_or_a_moment_in_ist(text, start):
    assert load({"at": text}, environ={}).config.start == start


def test_lists_and_switches_are_read_from_the_environment():
    environ = {"BHAVCAST_ALLOWED_ORIGINS": "https://a.in, https://b.in", "BHAVCAST_GATEWAY_HOT_PATH": "off"}
    config = load(environ=environ).config
    assert config.allowed_origins == ("https://a.in", "https://b.in")
    assert config.gateway.hot_path is False


def test_the_value_is_frozen():
    with pytest.raises(AttributeError):
        Config().port = 1  # type: ignore[misc]  # that is what is tested


def test_names_of_variables_are_unique_and_flags_are_settings():
    assert len({setting.variable for setting in SETTINGS.values()}) == len(SETTINGS)
    assert set(FLAGS) <= set(SETTINGS)


def test_what_is_shown_can_be_read_back(tmp_path):
    values = load({"speed": "max", "source": "replay:x", "at": "10:00"}, environ={}).values()
    file = tmp_path / "again.toml"
    top = [(name, value) for name, value in values.items() if "." not in name and value is not None]
    file.write_text("\n".join(f"{name} = {msgspec.json.encode(value).decode()}" for name, value in top))
    again = load(environ={}, file=file).config
    assert again.source_file == tmp_path / "x"
    assert math.isinf(again.speed)
    assert again.port == 5000


def test_every_setting_of_the_file_arrives(tmp_path):
    """Also one of a section that was added since."""
    for setting in SETTINGS.values():
        if isinstance(setting.default, bool):
            loaded = load(environ={setting.variable: str(not setting.default).lower()})
            assert loaded.values()[setting.name] is (not setting.default), setting.name
        elif isinstance(setting.default, int) and isinstance(setting.example, int):
            loaded = load(environ={setting.variable: str(setting.example)})
            assert loaded.values()[setting.name] == setting.example, setting.name
