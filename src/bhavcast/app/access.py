"""From a configuration to its doorkeeper; and the refusal to be open where nobody meant it."""

import ipaddress

from bhavcast.access.allowance import Allowance
from bhavcast.access.doorkeeper import Doorkeeper
from bhavcast.access.keyring import Keyring
from bhavcast.access.sessions import SessionFolder, Sessions
from bhavcast.app import boot
from bhavcast.app.config import Config
from bhavcast.bus.embedded import run_folder
from bhavcast.domain.errors import BadConfig
from bhavcast.telemetry.clock import Clock


def doorkeeper(config: Config, keyring: Keyring, clock: Clock) -> Doorkeeper:
    """Return the doorkeeper of this configuration."""
    limits = config.limits
    return Doorkeeper(
        keyring,
        clock,
        allowance=Allowance(
            requests_per_second=limits.requests_per_second,
            requests_burst=limits.requests_burst,
            streams_per_key=limits.connections_per_key,
            streams_per_address=limits.connections_per_address,
            failures_per_minute=limits.failures_per_minute,
        ),
        trusted_proxies=[ipaddress.ip_network(each) for each in config.trusted_proxies],
        internal_networks=[ipaddress.ip_network(each) for each in config.internal_networks],
        anonymous_read=config.anonymous_read,
        sessions=_sessions(config, clock),
    )


def _sessions(config: Config, clock: Clock) -> Sessions:
    """Return sessions that all gateways on this data folder share; of a gateway without one they are its own."""
    boot_id = boot.boot_id()
    if not boot_id or not config.data.is_dir():
        return Sessions(clock)
    return Sessions(clock, SessionFolder(run_folder(config.data) / "sessions", boot_id))


def refuse_open_house(config: Config, keyring: Keyring) -> None:
    """Raise BadConfig where others could reach the ports and no key exists: either nobody could come in, or everybody."""
    if config.on_loopback or not keyring.empty or config.anonymous_read == "any":
        return
    raise BadConfig(
        f"host — expected a loopback address such as 127.0.0.1 while there are no keys, got {config.host!r}: others could "
        f"reach the port, and nothing would tell who may come in. Make a key first (bhavcast keys create --name NAME --data "
        f'{config.data}), or let whoever reaches it read (anonymous_read = "any")',
        field="host",
    )
