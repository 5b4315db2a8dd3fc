"""What must be true of several settings together."""

import ipaddress
import math
from collections.abc import Mapping
from urllib.parse import urlsplit

from bhavcast.app.config.config import Config
from bhavcast.domain.errors import BadConfig


def check(config: Config, origins: Mapping[str, str]) -> None:
    """Refuse what contradicts itself; `origins` says per setting where to look.

    Raises:
        BadConfig: naming the setting to change.
    """
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
