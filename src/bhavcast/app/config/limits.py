"""Settings of what a client may ask for."""

from typing import Annotated

import msgspec

from bhavcast.app.config.setting import says, within

Connections = Annotated[int, within("connections", 1, 1_000_000)]
Length = Annotated[int, within("bytes", 1024, 16_777_216)]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one client may ask for."""

    symbols: Annotated[
        int, says("symbols that one connection may subscribe", 10_000, unit="symbols", ge=1, le=100_000)
    ] = 10_000
    symbols_per_message: Annotated[
        int, says("symbols that one message or batch request may name", 500, unit="symbols", ge=1, le=10_000)
    ] = 500
    message_bytes: Annotated[Length, says("longest message a client may send", 65_536)] = 65_536
    messages_per_second: Annotated[
        int,
        says(
            "frames one streaming connection may send, of messages or not, on the average; five seconds' worth at once",
            100,
            unit="messages per second",
            ge=1,
            le=100_000,
        ),
    ] = 100
    connections: Annotated[Connections, says("streaming clients at once of one gateway process", 10_000)] = 10_000
    sockets: Annotated[
        Connections,
        says(
            "connections at once of one gateway process, streams and all others; one address (of IPv6 a /64), but for "
            "loopback and trusted proxies, may hold half of them besides its WebSockets",
            12_000,
        ),
    ] = 12_000
    connections_per_key: Annotated[
        Connections, says("streaming clients of one key at once, at each gateway process", 100)
    ] = 1_000
    connections_per_address: Annotated[
        Connections, says("streaming clients at once of one address that shows no key, at each gateway process", 100)
    ] = 1_000
    requests_per_second: Annotated[
        float,
        says(
            "requests of one key, or of one address that shows none, in the long run, at each gateway process",
            50,
            unit="requests per second",
            gt=0,
            le=10_000_000,
        ),
    ] = 2000.0
    requests_burst: Annotated[
        int,
        says(
            "requests that one key or address may make at once, at each gateway process",
            200,
            unit="requests",
            ge=1,
            le=10_000_000,
        ),
    ] = 4000
    failures_per_minute: Annotated[
        int,
        says(
            "attempts with wrong keys from one address that are told so, by each gateway process; more are told to wait",
            5,
            unit="attempts",
            ge=1,
            le=10_000,
        ),
    ] = 10
    body_bytes: Annotated[Length, says("longest body of a request", 65_536)] = 65_536
    url_bytes: Annotated[
        int, says("longest request line; 500 symbols need about 4 KiB", 16_384, unit="bytes", ge=512, le=65_536)
    ] = 16_384
