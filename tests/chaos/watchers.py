"""Clients that check everything they are told."""

import asyncio
import random
import re
import time
from collections.abc import Sequence
from typing import Any, Final

from bhavcast.client.errors import StreamClosed
from bhavcast.client.events import Dropped, Hello, Link, Reset, Resumed, Trouble, Update
from bhavcast.client.state import State
from bhavcast.client.stream import Client
from bhavcast.domain.position import Position
from tests.chaos.oracle import Oracle
from tests.chaos.ticks import Ticks, step_at

RATES: Final = (0.0, 1.0, 2.0, 5.0, 10.0)
SHAPES: Final = ("ltp", "quote", "full", ["current_price", "volume", "ask_price", "state"])
# How a connection may end while there are faults; anything else is the client's objection to what it was sent.
EXPECTED: Final = re.compile(r"closed with|does not answer|answered 5|nothing was heard")
AGAIN_S: Final = (0.05, 0.4)


class Watcher:
    """One client, of one gateway or the other, and its view of the market."""

    def __init__(self, number: int, seed: int, urls: Sequence[str], ticks: Ticks, oracle: Oracle) -> None:
        self.name = f"client {number}"
        self._rng = rng = random.Random(f"{seed}/{number}")
        self._urls, self._ticks, self._oracle = urls, ticks, oracle
        shape, depth = rng.choice(SHAPES), rng.choice((0, 0, 1, 5))
        self.client = Client(
            rng.choice(urls), fields=shape, depth=depth, hz=rng.choice(RATES), binary=number % 2 == 1, sleep=self._wait
        )
        wide = rng.random()
        self._wide = ["*"] if wide < 0.05 else ["group:A"] if wide < 0.1 else []
        self._wants = self._wide or rng.sample(ticks.symbols, rng.randint(1, 8))
        self.fickle = rng.random() < 0.3 and not self._wide  # changes its mind now and then
        self._shape: tuple[Any, int] | None = (shape, depth)  # None: it has just changed
        self._revs: dict[str, int] = {}
        self._position: Position | None = None
        self._epoch = ""
        self._was_reset = False  # on this connection
        self._heard, self._doing = time.monotonic(), "connects"
        self.newest = 0  # step that was seen last
        self.epochs: list[str] = []
        self.resumed = self.denied = self.resets = self.links = 0

    @property
    def state(self) -> State:
        return self.client.state

    def __str__(self) -> str:
        state, heard = self.state, time.monotonic() - self._heard
        return (
            f"{self.name} of {self.client.url} wants {self._wants}, hz {state.hz}: {self._doing}, heard {heard:.1f} s ago, "
            f"{'' if state.greeted else 'not '}greeted, {'' if state.complete else 'not '}complete at {state.position}, "
            f"newest step {self.newest}, {self.links} links lost"
        )

    async def run(self) -> None:
        """Watch until cancelled."""
        await self.client.subscribe(*self._wants)
        while True:
            try:
                events = await self.client.receive()
            except StreamClosed as closed:
                self._oracle.object(f"{self.name} is not wanted any more: {closed}")
                return
            self._heard, self._doing = time.monotonic(), "listens" if self.client.connected else "connects"
            for event in events:
                self._hear(event)
            self._moved()
            if self.fickle and self._rng.random() < 0.02:
                await self._change_its_mind()

    def cut(self) -> None:
        """Lose the connection, without a word."""
        if (socket := self.client._socket) is not None:
            socket.transport.abort()

    async def _wait(self, _: float) -> None:
        self.client.url = self._rng.choice(self._urls)
        await asyncio.sleep(self._rng.uniform(*AGAIN_S))

    async def _change_its_mind(self) -> None:
        state = self.state
        match self._rng.randrange(3):
            case 0:
                await self.client.subscribe(*self._rng.sample(self._ticks.symbols, 2))
            case 1 if len(state.subscribed) > 2:
                gone = self._rng.choice(state.subscribed)
                await self.client.unsubscribe(gone)
            case 2:
                await self.client.show(hz=self._rng.choice(RATES))

    def _hear(self, event: object) -> None:
        if isinstance(event, Update):
            self._updated(event)
        elif isinstance(event, Hello):
            self._epoch = event.message["epoch"]
            self._was_reset = False
            self.epochs.append(self._epoch)
        elif isinstance(event, Reset):
            self.resets += 1
            self._was_reset = True
            self._epoch = event.epoch
            self.epochs.append(event.epoch)
        elif isinstance(event, Resumed):
            self.resumed += event.recovered
            self.denied += not event.recovered
            held = None if self._was_reset else self._position  # it let go of it
            if not event.recovered and held is not None and held.epoch == self._epoch:
                self._oracle.object(f"{self.name} was denied {held} within its epoch")
        elif isinstance(event, Link):
            self.links += not event.up
            if not event.up and not EXPECTED.search(event.reason):
                self._oracle.object(f"{self.name} hung up: {event.reason}")
        elif isinstance(event, Dropped) or (isinstance(event, Trouble) and not event.temporary):
            self._oracle.object(f"{self.name} was told {event}")

    def _updated(self, event: Update) -> None:
        quote, oracle, depth = event.quote, self._oracle, self.state.depth
        rev, before = quote["rev"], self._revs.get(event.symbol, 0)
        if rev < before:
            oracle.went_back(f"{self.name} ({self._epoch})", f"rev of {event.symbol}", before, rev)
        self._revs[event.symbol] = rev
        oracle.saw(self.name, self._epoch, quote, str(self.state.fields), depth)
        if why := self._ticks.objection(event.symbol, quote, depth, step_at(time.time())):
            oracle.object(f"{self.name} was told what the feed did not say of {event.symbol} at {rev}: {why}")
        self.newest = max(self.newest, quote.get("volume", 0))

    def _moved(self) -> None:
        position, before = self.state.position, self._position
        if position is None:
            return
        if before is not None and position.rev < before.rev:
            self._oracle.went_back(self.name, "position", before.rev, position.rev)
        self._position = position
