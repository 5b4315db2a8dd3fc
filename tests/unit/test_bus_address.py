"""Where the bus is, who writes to it, and which passwords it is given."""

import shutil

import pytest

from bhavcast.app.bus import address_of, choose_bus, writer_of
from bhavcast.app.config import BUS_PASSWORD, Bus, Config
from bhavcast.bus.address import Address
from bhavcast.bus.memory import MemoryBus
from bhavcast.domain.errors import BadConfig
from bhavcast.telemetry.clock import ManualClock


@pytest.mark.parametrize(
    ("url", "hosts", "path", "master", "db"),
    [
        ("redis://redis.example.in", (("redis.example.in", 6379),), "", "", 0),
        ("redis://127.0.0.1:7000/3", (("127.0.0.1", 7000),), "", "", 3),
        ("rediss://[::1]:7000", (("::1", 7000),), "", "", 0),
        ("redis://[::1]", (("::1", 6379),), "", "", 0),
        ("unix:///run/redis/redis.sock", (), "/run/redis/redis.sock", "", 0),
        ("redis+sentinel://a,b:26380/board", (("a", 26379), ("b", 26380)), "", "board", 0),
        ("rediss+cluster://a:7000,b:7001", (("a", 7000), ("b", 7001)), "", "", 0),
    ],
)
def test_an_address_is_read(url, hosts, path, master, db):
    address = Address.parse(url)
    assert (address.hosts, address.path, address.master, address.db) == (hosts, path, master, db)


@pytest.mark.parametrize(
    "url",
    [
        "memory",
        "http://127.0.0.1",
        "redis://",
        "redis://host:port",
        "redis://host:0",
        "redis://host:70000",
        "redis://host/board",
        "redis://a,b",
        "redis+sentinel://a:26379",
        "redis+cluster://a/1",
        "unix://relative",
    ],
)
def test_an_address_of_no_known_form_is_refused_with_the_forms(url):
    with pytest.raises(BadConfig, match=r"bus\.url — expected redis://HOST:PORT/DB") as refused:
        Address.parse(url)
    assert refused.value.field == "bus.url"


def test_a_password_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(BadConfig, match=r"bus\.password_file") as refused:
        Address.parse("redis://user:hunter2@host:6379")
    assert "hunter2" not in str(refused.value)


def test_a_password_comes_from_its_file_as_it_is_now_or_from_the_environment(tmp_path, monkeypatch):
    file = tmp_path / "password"
    file.write_text("one\n")
    address = address_of(Config(bus=Bus(url="redis://host", password_file=file)))
    assert address.password() == "one"
    file.write_text("two\n")
    assert address.password() == "two"
    monkeypatch.setenv(BUS_PASSWORD, "three")
    assert address_of(Config(bus=Bus(url="redis://host"))).password() == "three"
    assert "three" not in str(address_of(Config(bus=Bus(url="redis://host"))))


@pytest.mark.parametrize("name", ["password_file", "ca_file", "cert_file", "key_file"])
def test_a_file_that_is_not_there_is_named_at_the_start(tmp_path, name):
    with pytest.raises(BadConfig, match=rf"bus\.{name} — expected a file that can be read"):
        address_of(Config(bus=Bus(url="rediss://host", **{name: tmp_path / "none"})))


def test_without_an_address_the_bus_is_memory():
    assert isinstance(choose_bus(Config(), ManualClock()), MemoryBus)


def test_a_directory_is_one_writer_and_its_copy_another(tmp_path):
    home, copy = tmp_path / "home", tmp_path / "copy"
    home.mkdir()
    writer = writer_of(home)
    assert writer_of(home) == writer
    shutil.copytree(home, copy)
    assert writer_of(copy) != writer
    assert writer_of(home) == writer
