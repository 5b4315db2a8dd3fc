"""How much one key or address may ask: a bucket that fills at a steady rate, and a count of open streams."""

import math

import msgspec


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """What each key, and each address without one, may ask for."""

    requests_per_second: float = 2000.0
    requests_burst: int = 4000
    streams_per_key: int = 1_000
    streams_per_address: int = 1_000
    failures_per_minute: int = 10


class Bucket:
    """Holds up to `burst` tokens and gains `rate` a second; a request takes one."""

    __slots__ = ("_line", "_line_of", "at", "burst", "rate", "tokens")

    def __init__(self, rate: float, burst: int, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self.tokens = float(burst)
        self.at = now
        self._line = b""
        self._line_of = -1.0

    def take(self, now: float, count: int = 1) -> bool:
        """Take one token, or so many of them, or none; return whether they were there. `now` is monotonic."""
        tokens = self.tokens + (now - self.at) * self.rate
        self.at = now
        if tokens > self.burst:
            tokens = self.burst
        if tokens < count:
            self.tokens = tokens
            return False
        self.tokens = tokens - count
        return True

    @property
    def reset(self) -> int:
        """Return the seconds until it is full again, as of the last take."""
        return -int((self.tokens - self.burst) // self.rate)  # rounded up

    def line(self) -> bytes:
        """Return what an answer says of it; kept, because who does not hurry finds it full each time."""
        if self.tokens != self._line_of:
            self._line_of = self.tokens
            self._line = b"ratelimit-remaining: %d\r\nratelimit-reset: %d\r\n" % (self.tokens, self.reset)
        return self._line

    def wait(self, count: int = 1) -> int:
        """Return the seconds until the next token, or so many of them, as of the last take; at least one."""
        return max(1, math.ceil((count - self.tokens) / self.rate))


class Account:
    """What is counted of one key, or of one address that shows none."""

    __slots__ = ("bucket", "failures", "streams")

    def __init__(self, allowance: Allowance, now: float) -> None:
        self.bucket = Bucket(allowance.requests_per_second, allowance.requests_burst, now)
        self.failures = Bucket(allowance.failures_per_minute / 60, allowance.failures_per_minute, now)
        self.streams = 0
