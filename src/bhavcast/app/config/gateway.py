"""Settings of the gateway's processes, and of the other interfaces that it may speak."""

from typing import Annotated, Literal

import msgspec

from bhavcast.app.config.setting import says


class Gateway(msgspec.Struct, frozen=True, kw_only=True):
    """How the gateway runs."""

    hot_path: Annotated[
        bool,
        says(
            "answer `/api/stock` and `/api/stocks/batch` from ready bytes inside the HTTP protocol, and send the frames "
            "of a flush in C; without it everything works, slower",
            True,
        ),
    ] = True
    loop: Annotated[
        Literal["uvloop", "asyncio"], says("event loop; where uvloop does not run, asyncio is taken", "asyncio")
    ] = "uvloop"
    workers: Annotated[
        int,
        says("gateway processes that share the port; more than one needs Redis", 2, unit="processes", ge=1, le=64),
    ] = 1
    share_port: Annotated[
        bool,
        says(
            "let other gateways of this user listen on the same port (SO_REUSEPORT); the system spreads connections",
            True,
        ),
    ] = False


class Kite(msgspec.Struct, frozen=True, kw_only=True):
    """The market part of the Kite API, for programs that are written for it."""

    enabled: Annotated[bool, says("serve `/kite`, `/quote` and `/instruments` as `kiteconnect` expects them", True)] = (
        False
    )
