"""The one value of all settings."""

import datetime
import ipaddress
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from bhavcast.app.config.bus import Bus
from bhavcast.app.config.gateway import Gateway, Kite
from bhavcast.app.config.journal import JournalSettings
from bhavcast.app.config.limits import Limits
from bhavcast.app.config.setting import says
from bhavcast.app.config.tls import Tls
from bhavcast.domain.calendar import IST


def _port(whose: str, example: int) -> msgspec.Meta:
    return says(f"port of the {whose}; 0 takes any free one", example, ge=0, le=65535)


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting, with its value."""

    data: Annotated[
        Path,
        says("folder of all run-time state: journal, reference files, logs, and `bhavcast.toml`", "/var/lib/bhavcast"),
    ] = Path("var")
    host: Annotated[
        str,
        says(
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
        says(
            "where ticks come from: `sim` (simulated trading), `bhavcopy` (the imported official day), "
            "`replay:FILE` (a recorded day)",
            "replay:day.rec",
        ),
    ] = "sim"
    rate: Annotated[
        float,
        says(
            "mean rate of the simulator in continuous trading, at whatever speed the clock runs",
            20_000,
            unit="ticks per second",
            gt=0,
            le=200_000,
        ),
    ] = 700.0
    scrips: Annotated[
        int, says("scrips of the built-in universe, while no master is imported", 500, unit="scrips", ge=30, le=20_000)
    ] = 5000
    seed: Annotated[
        int, says("seed of the simulator: the same seed gives the same day, byte for byte", 7, ge=0, le=2**63 - 1)
    ] = 1
    at: Annotated[
        str | None,
        says(
            "where a virtual market clock starts: a time of the present or last trading day, or a date with a time, "
            "IST unless it says otherwise; begins a new epoch",
            "2026-11-23T09:14:50",
        ),
    ] = None
    speed: Annotated[
        float,
        says("speed of a virtual market clock; `max` replays as fast as it can", 60, unit="× real time", gt=0),
    ] = 1.0
    clock: Annotated[
        Literal["auto", "real", "virtual"],
        says("market clock; `auto` takes the real one for real sources and a virtual one for all others", "virtual"),
    ] = "auto"
    chaos: Annotated[
        str, says("faults to put into the feed, on purpose and seeded; empty for none", "drop=1%,stall=1%:3s")
    ] = ""
    calendar: Annotated[
        Path | None, says("file with trading days of your own, over the built-in calendar", "holidays-2027.toml")
    ] = None
    log_format: Annotated[Literal["console", "json"], says("how log lines are written", "json")] = "console"
    access_log: Annotated[
        bool,
        says(
            "log requests: what succeeded once a second, added up by route, key and status; everything else singly",
            False,
        ),
    ] = True
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], says("least serious lines that are logged", "warning")
    ] = "info"
    allowed_hosts: Annotated[
        tuple[str, ...],
        says("names that a request's Host header may carry, besides loopback", ["prices.example.in"]),
    ] = ()
    allowed_origins: Annotated[
        tuple[str, ...],
        says("origins whose pages may use the gateway, besides its own and the frontend's", ["https://example.in"]),
    ] = ()
    anonymous_read: Annotated[
        Literal["loopback", "any", "never"],
        says(
            "who may read without a key: `loopback`, this machine, not through a proxy and only until the first key is made; "
            "`any`, whoever reaches the port; `never`, nobody",
            "never",
        ),
    ] = "loopback"
    trusted_proxies: Annotated[
        tuple[str, ...],
        says(
            "addresses or networks of proxies whose X-Forwarded-For, -Proto and -Host are believed",
            ["10.0.0.2", "172.18.0.0/16"],
        ),
    ] = ()
    internal_networks: Annotated[
        tuple[str, ...],
        says("addresses or networks from which /health and /metrics are answered without a key", ["10.0.0.0/8"]),
    ] = ("127.0.0.0/8", "::1/128")
    public_url: Annotated[
        str | None,
        says(
            "address at which browsers reach the gateway, where the frontend is behind another address than "
            "`http://HOST:port` of its own host",
            "https://prices.example.in",
        ),
    ] = None
    heartbeat_ms: Annotated[
        int, says("silence after which a stream gets a heartbeat", 1000, unit="milliseconds", ge=100, le=60_000)
    ] = 5000
    checkpoint_seconds: Annotated[
        float,
        says("time between checkpoints of the journal: recovery reads at most so much", 10, unit="seconds", ge=1),
    ] = 30.0
    sweep_ms: Annotated[
        int,
        says("time between looks for quotes that went quiet or stale", 500, unit="milliseconds", ge=50, le=10_000),
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
        return None if self.at is None else moment(self.at)

    @property
    def source_name(self) -> str:
        """Return the kind of source, without its file."""
        return self.source.partition(":")[0]

    @property
    def source_file(self) -> Path | None:
        """Return the file that the source reads, None where it needs none."""
        name, _, file = self.source.partition(":")
        return Path(file) if name == "replay" else None


def moment(text: str) -> datetime.datetime | datetime.time:
    """Read a date with a time, or a time of day; IST unless it says otherwise.

    Raises:
        ValueError: it is neither, or a time of day with a zone.
    """
    if "T" not in text and "-" not in text:
        time = datetime.time.fromisoformat(text)
        if time.tzinfo is not None:
            raise ValueError
        return time
    found = datetime.datetime.fromisoformat(text)
    return found if found.tzinfo is not None else found.replace(tzinfo=IST)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
