"""Where the service is that a command talks to, and how its quotes are written for people."""

from typing import Annotated, Any
from urllib.parse import urlsplit

from cyclopts import Parameter

from bhavcast.cli.output import Exit, fail

Url = Annotated[
    str | None,
    Parameter(help="address of the gateway [default: the configured one, http://127.0.0.1:5000]", show_default=False),
]


def gateway(url: str | None) -> str:
    """Return the gateway's address: the one given, or the configured one."""
    return checked(url) if url is not None else _configured("port")


def frontend(url: str | None, *, given_gateway: bool) -> str | None:
    """Return the frontend's address: the one given, or the configured one unless another gateway is meant."""
    if url is not None:
        return checked(url)
    return None if given_gateway else _configured("frontend_port")


def checked(url: str) -> str:
    """Return an address without its last slash; refuse what is none."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        sound = sound and parts.path in ("", "/") and not parts.query and not parts.fragment
    except ValueError:
        sound = False
    if not sound:
        fail(f"expected an address such as http://127.0.0.1:5000, got {url[:80]!r}", code=Exit.USAGE)
    return url.rstrip("/")


def _configured(setting: str) -> str:
    from bhavcast.app.config import load

    config = load().config
    host = f"[{config.host}]" if ":" in config.host else config.host
    return f"http://{host}:{getattr(config, setting)}"


# Which fields of a quote are money, per cent, and so on, is in the one table of fields.
def written(name: str, value: Any) -> str:
    """Write a field's value for people."""
    from bhavcast.domain.field import BY_NAME, Kind

    if value is None:
        return ""
    field = BY_NAME.get(name)
    if isinstance(value, dict | list):
        return ""
    if field is None or isinstance(value, str):
        return str(value)
    if field.kind is Kind.COUNT:
        return f"{value:,}"
    decimals = 2 if round(value, 2) == value else 4
    sign = "+" if name in ("change", "percent_change") else ""
    return f"{value:{sign},.{decimals}f}" + ("%" if field.kind is Kind.PERCENT else "")


def time_of(quote: Any) -> str:
    """Return the time of day of a quote's last update."""
    return str(quote.get("timestamp", ""))[11:23]
