"""What a hostile client does, one coroutine for each kind, and the program that goes on doing it at a bounded rate.

python -m benchmarks.attacks attack=smuggling port=5000

An attempt opens its own connection, does what it does, and returns what it got for it. The program prints `ready` when
the first wave has begun; the end of its stdin ends it, and then it prints how often it got what, as JSON.
"""

import asyncio
import contextlib
import gzip
import itertools
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, NamedTuple

import msgspec

Attempt = Callable[["Peer"], Awaitable[str]]
PATIENCE_S: Final = 15.0  # of an attempt; the service has sent away by then whoever it sends away
EXPIRED: Final = "bhk_expired"  # a key that the gateway knows, and that is over
UPGRADE: Final = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
HELD: Final = "held until the end"
EVERYTHING: Final = b'{"t":"sub","id":1,"symbols":"*","hz":0,"fields":"full","depth":5}'


class Peer:
    """One connection of an attacker."""

    def __init__(self, port: int, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.port = port
        self.number = number
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def request(self, target: str, *headers: str, method: str = "GET", host: str = "localhost") -> None:
        self.send("\r\n".join((f"{method} {target} HTTP/1.1", f"Host: {host}", *headers, "", "")).encode("latin-1"))

    def say(self, data: bytes, first: int = 0x81) -> None:
        """Send a masked frame; the mask is zero."""
        size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
        self.send(bytes([first]) + size + b"\0\0\0\0" + data)

    async def shake(self, *headers: str) -> None:
        """Open a stream."""
        self.request("/ws", *UPGRADE, *headers)
        await self.reader.readuntil(b"\r\n\r\n")

    async def answer(self) -> str:
        """Return the status and the code of an answer, and whether it was the last one."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            return "cut off" if isinstance(error, ConnectionError) or not error.partial else "cut off in an answer"
        status = head.split(b" ", 2)[1].decode()
        size = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b":0")
        body = await self.reader.readexactly(int(size.partition(b":")[2]))
        with contextlib.suppress(msgspec.DecodeError, ValueError):
            status += f" {msgspec.json.decode(body)['code']}" if b'"code"' in body else ""
        return status

    async def close_code(self) -> str:
        """Read frames until the one that closes; return its code."""
        try:
            while True:
                first, size = await self.reader.readexactly(2)
                if size > 125:
                    size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
                payload = await self.reader.readexactly(size)
                if first == 0x88:
                    return f"close {int.from_bytes(payload[:2], 'big')}"
        except (asyncio.IncompleteReadError, ConnectionError):
            return "cut off"

    async def drip(self, data: bytes, pause: float = 0.5) -> str:
        """Send a byte at a time, and return what came in the end."""
        answer = asyncio.ensure_future(self.answer())
        for byte in itertools.chain(data, itertools.repeat(ord("a"))):
            self.send(bytes([byte]))
            done, _ = await asyncio.wait((answer,), timeout=pause)
            if done:
                break
        return await answer


# -- what is tried ---------------------------------------------------------------------------------------------------------


async def nobody(peer: Peer) -> str:
    """Be no attacker: how far the figures differ by themselves."""
    return "nothing"


async def long_url(peer: Peer) -> str:
    peer.request("/api/stock/" + "a" * 20_000)
    return await peer.answer()


async def long_head(peer: Peer) -> str:
    peer.request("/api/stock/500325", *(f"X-{number}: {'a' * 1000}" for number in range(40)))
    return await peer.answer()


async def long_body(peer: Peer) -> str:
    peer.request("/api/session", "Content-Length: 1000000000", method="POST")
    peer.send(b"a" * 60_000)
    return await peer.answer()


async def long_frame(peer: Peer) -> str:
    await peer.shake()
    peer.send(b"\x81\xff" + (2**40).to_bytes(8, "big") + b"\0\0\0\0")
    return await peer.close_code()


async def slow_head(peer: Peer) -> str:
    return await peer.drip(b"GET /api/stock/500325 HTTP/1.1\r\nHost: localhost\r\nX: ")


async def slow_handshake(peer: Peer) -> str:
    return await peer.drip("\r\n".join(("GET /ws HTTP/1.1", "Host: localhost", *UPGRADE, "X: ")).encode())


async def half_open(peer: Peer) -> str:
    return await peer.answer()


async def too_many(peer: Peer) -> str:
    """Take every place there is, and knock on."""
    peer.request("/api/stream?symbols=500325")
    told = await peer.answer()
    if told == "200":
        await asyncio.Event().wait()
    return told


async def no_utf8(peer: Peer) -> str:
    await peer.shake()
    peer.say(b'{"t":"\xff\xfe"}')
    return await peer.close_code()


async def deep_json(peer: Peer) -> str:
    await peer.shake()
    for _ in range(12):
        peer.say(b"[" * 60_000)
    return await peer.close_code()


async def huge_json(peer: Peer) -> str:
    await peer.shake()
    for _ in range(12):
        peer.say(b'{"t":"sub","id":1,"symbols":["' + b'","'.join([b"x"] * 15_000) + b'"]}')
    return await peer.close_code()


async def bomb(peer: Peer) -> str:
    """Send what unpacks to ten megabytes: as a body, and as a frame."""
    if peer.number % 2:
        peer.request("/api/session", "Content-Encoding: gzip", f"Content-Length: {len(BOMB)}", method="POST")
        peer.send(BOMB)
        return await peer.answer()
    await peer.shake("Sec-WebSocket-Extensions: permessage-deflate")
    peer.say(BOMB[:60_000], 0xC1)
    return await peer.close_code()


async def tricks(peer: Peer) -> str:
    target, headers = TRICKS[peer.number % len(TRICKS)]
    peer.request(target, *headers)
    return await peer.answer()


async def smuggling(peer: Peer) -> str:
    headers, body = SMUGGLED[peer.number % len(SMUGGLED)]
    peer.request("/api/session", *headers, method="POST")
    peer.send(body + b"GET /api/stock/532540 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    told = await peer.answer()
    return f"{told}, then {await peer.answer()}"


async def storm(peer: Peer) -> str:
    """Subscribe everything and let go of it, thirty times a second, and read it all."""
    await peer.shake()
    ended = asyncio.ensure_future(peer.close_code())
    for number in itertools.count():
        peer.say(EVERYTHING if number % 2 == 0 else b'{"t":"unsub","id":2,"symbols":"*"}')
        if (await asyncio.wait((ended,), timeout=1 / 30))[0]:
            break
    return await ended


async def deaf(peer: Peer) -> str:
    await peer.shake()
    peer.say(EVERYTHING)
    await asyncio.sleep(12)  # nothing is read meanwhile
    return await peer.close_code()


async def old_keys(peer: Peer) -> str:
    """Try one that is over, one that never was, and both as a message."""
    key = EXPIRED if peer.number % 2 else f"bhk_{peer.number}"
    if peer.number % 4 < 2:
        peer.request("/api/stock/500325", f"Authorization: Bearer {key}")
    else:
        peer.request("/ws", *UPGRADE, f"X-API-Key: {key}")
    return await peer.answer()


async def foreign_page(peer: Peer) -> str:
    kind = peer.number % 3
    if kind == 0:
        peer.request("/ws", *UPGRADE, "Origin: https://evil.example")
    elif kind == 1:
        peer.request("/api/stream?symbols=*", "Origin: https://evil.example")
    else:
        peer.request("/api/stock/500325", host="evil.example")
    return await peer.answer()


BOMB: Final = gzip.compress(b"0" * 10_000_000)
TRICKS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("/../../etc/passwd", ()),
    ("/api/stock/..%2f..%2fetc%2fpasswd", ()),
    ("/api/stock/%00", ()),
    ("//evil.example/x", ()),
    ("http://evil.example/api/stock/500325", ()),
    ("/api/stock/500325", ("Host: evil.example",)),
    ("/api/stock/500325", ("bad name: x",)),
    ("/api/stock/500325", ("X: \0",)),
)
SMUGGLED: Final[tuple[tuple[tuple[str, ...], bytes], ...]] = (
    (("Content-Length: 4", "Transfer-Encoding: chunked"), b"0\r\n\r\n"),
    (("Transfer-Encoding: xchunked",), b"0\r\n\r\n"),
    (("Content-Length: 1", "Content-Length: 2"), b"ab"),
    (("Content-Length: +2",), b"ab"),
    (("Transfer-Encoding: chunked",), b"ffffffffffffffffff\r\n"),
)


class Attack(NamedTuple):
    """One kind: so many attempts a second, at most so many under way; `lasting` where an attempt is a matter of seconds."""

    attempt: Attempt
    rate: float = 20.0
    at_once: int = 50
    lasting: bool = False


ATTACKS: Final[dict[str, Attack]] = {
    "nobody": Attack(nobody),
    "oversize URLs": Attack(long_url),
    "oversize headers": Attack(long_head),
    "oversize bodies": Attack(long_body),
    "oversize frames": Attack(long_frame),
    "slow heads": Attack(slow_head, at_once=200, lasting=True),
    "slow handshakes": Attack(slow_handshake, at_once=200, lasting=True),
    "silent connections": Attack(half_open, at_once=200, lasting=True),
    "too many connections": Attack(too_many, rate=100, at_once=1000, lasting=True),
    "invalid UTF-8": Attack(no_utf8),
    "deep JSON": Attack(deep_json, rate=10),
    "huge JSON": Attack(huge_json, rate=10),
    "compression bombs": Attack(bomb),
    "path and header tricks": Attack(tricks),
    "smuggling": Attack(smuggling),
    "storm of subscriptions": Attack(storm, at_once=1),
    "never reads": Attack(deaf, at_once=5, lasting=True),
    "old and wrong keys": Attack(old_keys),
    "foreign pages": Attack(foreign_page),
}


# -- the program -----------------------------------------------------------------------------------------------------------


class Attacker:
    """Goes on with one kind of attack and counts what it gets."""

    def __init__(self, attack: Attack, port: int) -> None:
        self._attack = attack
        self._port = port
        self.got: Counter[str] = Counter()

    async def run(self, ended: asyncio.Event) -> None:
        """Begin attempts at their rate until the end."""
        numbers: Iterator[int] = itertools.count()
        under_way: set[asyncio.Task[None]] = set()
        while not ended.is_set():
            if len(under_way) < self._attack.at_once:
                task = asyncio.create_task(self._try(next(numbers)))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), 1 / self._attack.rate)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    async def _try(self, number: int) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=2**18)
                try:
                    self.got[await self._attack.attempt(Peer(self._port, number, reader, writer))] += 1
                finally:
                    writer.transport.abort()
        except TimeoutError:
            self.got["nothing, for 15 s"] += 1
        except (ConnectionError, asyncio.IncompleteReadError):
            self.got["cut off"] += 1
        except asyncio.CancelledError:
            self.got[HELD] += 1
            raise


async def attack(kind: str, port: int) -> None:
    """Attack until stdin ends."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(0, ended.set)
    attacker = Attacker(ATTACKS[kind], port)
    print("ready", flush=True)
    await attacker.run(ended)
    print(msgspec.json.encode(dict(attacker.got)).decode(), flush=True)


if __name__ == "__main__":
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    # It shares a core with the readers, who shall wait for the service and not for this program.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    asyncio.run(attack(given["attack"], int(given["port"])))
