"""Publish to Redis at a steady rate, as ingest would; each tick's volume is the time at which it was published (µs).

python -m benchmarks.drive_bus bus=unix:///tmp/x scrips=5000 ticks=5000 batch=20

A line on stdin is answered with a line of JSON: for each message its last revision, and when it was published and was in
Redis (µs).
"""

import asyncio
import itertools
import sys
import time
from collections import deque

from benchmarks import market
from benchmarks.feeder import ticks
from benchmarks.hops import KEPT, answer
from bhavcast.bus.address import Address
from bhavcast.bus.port import Claim
from bhavcast.bus.redis import RedisBus
from bhavcast.domain import field
from bhavcast.domain.change import Change, Message
from bhavcast.telemetry.clock import SystemClock


async def publish(url: str, scrips: int, rate: float, batch: int) -> None:
    """Go on until killed."""
    bus = RedisBus(Address.parse(url), SystemClock(), alone=True)
    lead = await bus.lead(Claim("benchmark"))
    await bus.begin(market.snapshot(scrips))
    await bus.flush()
    said: deque[tuple[int, int, int]] = deque(maxlen=KEPT)
    answer(lambda: said)
    made = ticks([each.symbol for each in market.instruments(scrips)])
    rev, due = market.first_rev(scrips), time.monotonic()
    while True:
        await asyncio.sleep(max(due - time.monotonic(), 0))
        due += batch / rate
        changes = []
        stamp = time.monotonic_ns() // 1000
        for number, change in enumerate(itertools.islice(made, batch), start=rev + 1):
            change.values[field.VOLUME] = change.values[field.TRADES] = stamp
            changes.append(Change(change.symbol, number, change.values))
        message = Message(
            epoch=market.EPOCH,
            token=lead.token,
            from_rev=rev + 1,
            to_rev=rev + batch,
            published=market.START_MS,
            changes=changes,
        )
        rev += batch
        await bus.publish(message)
        await bus.flush()
        said.append((rev, stamp, time.monotonic_ns() // 1000))


def main(arguments: list[str]) -> None:
    """Run on the fast loop, as the product does."""
    import uvloop

    given = dict(argument.split("=", 1) for argument in arguments)
    work = publish(given["bus"], int(given["scrips"]), float(given["ticks"]), int(given["batch"]))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


if __name__ == "__main__":
    main(sys.argv[1:])
