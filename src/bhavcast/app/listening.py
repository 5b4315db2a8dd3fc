"""Ports: open them, share them, and say which setting names one that cannot be had."""

import socket

from bhavcast.domain.errors import Unavailable


def listen(host: str, port: int, setting: str) -> socket.socket:
    """Open a listening socket; `setting` names the port in the error."""
    return listening(bind(host, port, setting))


def listening(bound: socket.socket) -> socket.socket:
    """Take connections from now on."""
    bound.listen(4096)
    bound.setblocking(False)
    return bound


def bind(host: str, port: int, setting: str, *, shared: bool = False) -> socket.socket:
    """Take a port without listening on it; `shared` with other processes of this user that say the same."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        refused = Unavailable(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another with --{setting.replace('_', '-')}",
            field=setting,
        )
        refused.retry_after = None
        raise refused from error
    return bound


def reserve(host: str, port: int, setting: str) -> socket.socket:
    """Keep a port for processes that will share it; no connection comes to a socket that does not listen.

    Nobody else may have it yet: sharing would hide that two systems were started on one port.
    """
    with bind(host, port, setting) as probe:
        number: int = probe.getsockname()[1]
        listening(probe)  # only who wants to listen is told of others that have bound the port
    return bind(host, number, setting, shared=True)


def url_of(host: str, port: int, *, tls: bool = False) -> str:
    """Return the address of what listens there."""
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
