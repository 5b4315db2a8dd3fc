"""Play the bus to one gateway: a snapshot, then encoded messages at a steady rate, over a local socket.

A process of its own, on the load's core, so that what the gateway uses is the gateway's alone. Each tick's volume is the
time at which it was published (CLOCK_MONOTONIC, µs): a receiver on the same machine reads its latency from it.

    python -m benchmarks.feeder socket=/tmp/x scrips=5000 ticks=20000 batch=20

A line on stdin is answered with the ticks sent so far; the end of stdin ends the process.
"""

import contextlib
import itertools
import os
import random
import select
import socket
import sys
import time
from collections.abc import Iterator

import msgspec

from benchmarks.market import EPOCH, START_MS, TOKEN, first_rev, instruments, snapshot
from bhavcast.domain import field
from bhavcast.domain.change import Change, Message
from bhavcast.domain.field import Values

LENGTH = 4  # bytes before every message: its length, big-endian
AHEAD = 0.002  # seconds between two looks at what is due


def ticks(symbols: list[str], seed: int = 1) -> Iterator[Change]:
    """Yield trades and moves of the book in turn, of scrips chosen evenly; the revisions are set by the caller."""
    choose = random.Random(seed)
    for number in itertools.count(1):
        symbol, price = choose.choice(symbols), choose.randrange(150_000, 160_000, 5)
        values: Values = {field.VOLUME: 0, field.TIMESTAMP: START_MS + number // 20}
        if number % 2:
            values |= {
                field.CURRENT_PRICE: price,
                field.CHANGE: price - 150_000,
                field.PERCENT_CHANGE: (price - 150_000) // 15,
                field.VALUE: 34_957_500_000 + number,
                field.TRADES: number,
                field.LAST_QUANTITY: choose.randrange(1, 500),
                field.LAST_TRADE_TIME: START_MS + number // 20,
            }
        else:
            values |= {
                field.BID_PRICE: price,
                field.BID_QUANTITY: choose.randrange(1, 5000),
                field.ASK_PRICE: price + 5,
                field.ASK_QUANTITY: choose.randrange(1, 5000),
                field.TOTAL_BID_QUANTITY: choose.randrange(1, 500_000),
                field.TOTAL_ASK_QUANTITY: choose.randrange(1, 500_000),
            }
        yield Change(symbol, 0, values)


class Feeder:
    """Sends messages and counts their ticks."""

    def __init__(self, wire: socket.socket, scrips: int, batch: int) -> None:
        self._wire = wire
        self._batch = batch
        self._encoder = msgspec.msgpack.Encoder()
        self._ticks = ticks([each.symbol for each in instruments(scrips)])
        self._rev = first_rev(scrips)
        self.sent = 0
        self._send(self._encoder.encode(snapshot(scrips)))

    def _send(self, encoded: bytes) -> None:
        self._wire.sendall(len(encoded).to_bytes(LENGTH, "big") + encoded)

    def publish(self) -> None:
        """Send one batch."""
        stamp, rev, changes = time.monotonic_ns() // 1000, self._rev, []
        for change in itertools.islice(self._ticks, self._batch):
            rev += 1
            change.values[field.VOLUME] = stamp
            changes.append(Change(change.symbol, rev, change.values))
        message = Message(
            epoch=EPOCH,
            token=TOKEN,
            from_rev=self._rev + 1,
            to_rev=rev,
            published=START_MS + self.sent // 20,
            changes=changes,
        )
        self._send(self._encoder.encode(message))
        self._rev = rev
        self.sent += self._batch


def main(arguments: list[str]) -> None:
    """Serve one gateway until stdin ends or the gateway goes away."""
    given = dict(argument.split("=", 1) for argument in arguments)
    batch, rate = int(given["batch"]), float(given["ticks"])
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(given["socket"])
        listener.listen(1)
        wire, _ = listener.accept()
    with wire, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        feeder, due = Feeder(wire, int(given["scrips"]), batch), time.monotonic()
        while True:
            # Without ticks a gateway still has to see that its bus is alive.
            period = batch / rate if rate else 60.0
            while due <= time.monotonic():
                feeder.publish()
                due += period
            wait = min(max(due - time.monotonic(), 0), AHEAD if rate else 1.0)
            if select.select([sys.stdin], [], [], wait)[0]:
                if not os.read(0, 64):
                    return
                os.write(1, f"{feeder.sent}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1:])
