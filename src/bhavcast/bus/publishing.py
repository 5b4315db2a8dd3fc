"""The writer's end of the Redis bus: the lease, and one fenced call for whatever Redis does not have yet."""

import asyncio
import contextlib
from typing import Any, Final

import structlog
from redis.asyncio import Redis

from bhavcast.bus import mirror
from bhavcast.bus.address import FAILURES, execute
from bhavcast.bus.mirror import POSITION, Mirror, Place
from bhavcast.bus.port import Claim, Lead
from bhavcast.bus.scripts import LEAD, LEASE_MS, PUBLISH, RELEASE, RENEW, REPLACE, Keys
from bhavcast.bus.server import Server, evaluate
from bhavcast.domain.change import Message, Snapshot, encode
from bhavcast.domain.errors import BadRecord, BusHole, NotTheWriter, Unavailable
from bhavcast.domain.format import BUS, LEASE
from bhavcast.domain.position import NOWHERE
from bhavcast.telemetry.clock import Clock

log = structlog.get_logger()

RENEW_S: Final = 1.0
FLUSH_S: Final = 5.0
REPLICATE_MS: Final = 500
MOST_WAITING: Final = 1024  # messages that one call carries; beyond them Redis gets their sum
BUSY: Final = 64  # messages waiting at which the writer waits too, if Redis was heard of this short while ago
PATIENCE_S: Final = 0.25
_VERSIONS: Final = (BUS.written, BUS.oldest, BUS.version, LEASE.written)


class _Refused(Exception):
    """The script refused what was sent; the argument says why."""


class Publisher:
    """Sends what it is given in calls of whatever has gathered, and holds the lease meanwhile.

    A call whose outcome is unclear is never repeated: `_pos` says whether it was done, and what Redis lacks is made
    anew from the mirror, whether that is the lost call, the tail that a failover lost, or all that was said in an outage.
    """

    def __init__(self, server: Server, keys: Keys, clock: Clock, *, log_length: int, alone: bool) -> None:
        self._server, self._keys, self._clock = server, keys, clock
        self._log_length, self._alone = log_length, alone
        self._mirror: Mirror | None = None
        self._sent: Place | None = None  # what `_pos` is, if all went well
        self._waiting: list[tuple[int, bytes]] = []  # encoded messages with their last revisions
        self._behind = False  # Redis may lack more than what waits
        self._refused: str | None = "no lease was asked for"
        self._token, self._writer = 0, ""
        self._replicas = 0
        self._proved_until = 0.0
        self._progress = 0.0  # when Redis last took something, or got something to take
        self._work, self._settled, self._sent_some = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._settled.set()
        self.tasks: list[asyncio.Task[None]] = []
        self.calls = self.republished = 0

    @property
    def failing(self) -> str | None:
        """Why Redis does not get what it should, or None."""
        return self._server.failing

    @property
    def waiting(self) -> int:
        """Messages that Redis does not have yet; 0 as well when it will get their sum."""
        return len(self._waiting)

    @property
    def leads(self) -> bool:
        """Whether this writer may publish."""
        return self._refused is None

    # -- the lease ----------------------------------------------------------------------------------------------------

    async def lead(self, claim: Claim) -> Lead:
        """Take the lease; see the port."""
        keys, asked = self._keys, self._clock.monotonic()
        try:
            answer = await self._server.call(
                lambda client: evaluate(
                    client, LEAD, [keys.token, keys.lease, keys.board], *claim, LEASE_MS, int(self._alone), *_VERSIONS
                )
            )
            counter, continues, run_id, where, self._replicas, why, *form = answer
            if form:
                mirror.version_of(form[0])
            if not counter:
                raise NotTheWriter(why.decode())
            self._token, self._writer = counter, claim.writer
            if self._replicas:  # a lease that a failover forgets would be given to a second writer
                renewal = [keys.token, keys.lease], self._fence, LEASE_MS, LEASE.written
                await self._server.call(lambda client: self._replicated(client, RENEW, *renewal))
        except FAILURES as error:
            raise Unavailable(f"the bus is out of reach: {error}") from error
        self._proved_until = asked + LEASE_MS / 1000
        self._refused, self._mirror, self._sent, self._behind = None, None, None, False
        self._waiting.clear()
        if not self.tasks:
            self.tasks = [asyncio.create_task(self._send(), name="bus send")]
            self.tasks.append(asyncio.create_task(self._renew(), name="bus lease"))
        position = Place.parse(where).position if where else NOWHERE
        return Lead(counter, bool(continues), why.decode(), run_id.decode(), position)

    async def _renew(self) -> None:
        while not self._server.closed.is_set():
            await self._server.wait(RENEW_S)
            if self._refused is not None:
                continue
            asked = self._clock.monotonic()
            keys, token = [self._keys.token, self._keys.lease], self._fence
            with contextlib.suppress(*FAILURES):  # said once by the server; the lease runs out by itself
                renewal = keys, token, LEASE_MS, LEASE.written
                if await self._server.call(lambda client: evaluate(client, RENEW, *renewal)):  # noqa: B023 - awaited before it changes
                    self._proved_until = asked + LEASE_MS / 1000
                elif token == self._fence:
                    self._stop("another writer has the lease, or Redis lost it")
            self._prove()

    def _prove(self) -> bool:
        """Tell whether the lease can be proved; stop where not."""
        if self._refused is None and self._clock.monotonic() >= self._proved_until:
            self._stop(f"the lease could not be renewed for {LEASE_MS / 1000:g} s")
        return self._refused is None

    def _stop(self, why: str) -> None:
        self._refused = why
        self._waiting.clear()
        self._settled.set()
        log.error("this writer publishes no more", why=why, token=self._token)

    @property
    def _fence(self) -> str:
        return f"{self._token}:{self._writer}"

    # -- what the port says ---------------------------------------------------------------------------------------------

    def begin(self, snapshot: Snapshot) -> None:
        """Be at this snapshot from now on."""
        self._must_lead()
        if snapshot.token != self._token:
            raise NotTheWriter(f"expected a snapshot by token {self._token}, got one by {snapshot.token}")
        self._mirror = Mirror(snapshot)
        self._waiting.clear()
        self._behind = True
        self._wake()

    async def publish(self, message: Message, encoded: bytes | None) -> None:
        """Take a message over; it is sent when the loop gets to it."""
        self._must_lead()
        if self._mirror is None or message.token != self._token:
            raise NotTheWriter(f"expected a message by token {self._token}, got one by {message.token}")
        try:
            self._mirror.apply(message)
        except BusHole as hole:
            raise NotTheWriter(hole.detail) from hole
        if self._behind or len(self._waiting) >= MOST_WAITING:
            self._behind = True
            self._waiting.clear()
        else:
            self._waiting.append((message.to_rev, encode(message) if encoded is None else encoded))
        self._wake()
        if self._behind or len(self._waiting) >= BUSY:
            await self._breathe()

    async def _breathe(self) -> None:
        """Let Redis keep pace with a writer that is faster; one that does not answer is not waited for."""
        left = self._progress + PATIENCE_S - asyncio.get_running_loop().time()
        if self._server.failing is not None or left <= 0:
            await asyncio.sleep(0)  # so that an answer can be read
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left):
                await self._sent_some.wait()

    async def flush(self) -> None:
        """Wait until nothing is left to send."""
        try:
            async with asyncio.timeout(FLUSH_S):
                await self._settled.wait()
        except TimeoutError:
            raise Unavailable(f"the bus is out of reach: {self._server.failing or 'it does not answer'}") from None
        self._must_lead()

    async def close(self) -> None:
        """Say the rest where that is possible, and give the lease back."""
        if self._refused is None:
            with contextlib.suppress(NotTheWriter, Unavailable):
                if self._server.failing is None:
                    await self.flush()
            with contextlib.suppress(*FAILURES):
                keys = [self._keys.token, self._keys.lease]
                await self._server.call(lambda client: evaluate(client, RELEASE, keys, self._fence))
            self._refused = "the bus was closed"
        await self.stop()

    async def stop(self) -> None:
        """End what runs, and say nothing more; not by cancelling, which the library may swallow."""
        await self._server.close()
        self._work.set()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks.clear()

    def _must_lead(self) -> None:
        if not self._prove():
            raise NotTheWriter(self._refused or "")

    def _wake(self) -> None:
        if self._settled.is_set():
            self._progress = asyncio.get_running_loop().time()
        self._work.set()
        self._settled.clear()
        self._sent_some.clear()

    # -- sending ----------------------------------------------------------------------------------------------------------

    async def _send(self) -> None:
        while not self._server.closed.is_set():
            await self._work.wait()
            self._work.clear()
            mirror = None
            try:
                while (mirror := self._mirror) is not None and (self._behind or self._waiting) and self._prove():
                    await (self._catch_up(mirror) if self._behind else self._send_waiting(mirror))
                    self._progress = asyncio.get_running_loop().time()
                    self._sent_some.set()
            except (_Refused, BadRecord) as refused:
                if mirror is self._mirror:  # else it is an answer to what was said under an earlier lease
                    self._stop(f"Redis refused: {refused}")
            except FAILURES:
                self._behind = True
                self._waiting.clear()
                await self._server.pause()
                self._wake()
            if not self._work.is_set():
                self._settled.set()

    async def _send_waiting(self, mirror: Mirror) -> None:
        """Send the messages that have gathered, with the rows as they stand after the last of them."""
        assert self._sent is not None
        messages, self._waiting = self._waiting, []
        entries: list[Any] = [part for rev, encoded in messages for part in (f"{rev}-0", encoded)]
        await self._publish(mirror, self._sent, len(messages), entries, mirror.take_dirty())

    async def _catch_up(self, mirror: Mirror) -> None:
        """Look how far Redis is, and send what it lacks in one call."""
        raw = await self._server.call(lambda client: execute(client, "HGET", self._keys.board, POSITION))
        if mirror is not self._mirror:
            return  # an epoch began meanwhile
        self._behind = False
        self._waiting.clear()  # it is in the mirror, and so in what follows
        at = Place.parse(raw) if raw else None
        if at is None or (at.epoch, at.token, at.writer) != (mirror.epoch, self._token, self._writer):
            await self._replace(mirror)
        elif at.rev > mirror.rev:
            raise _Refused(f"it is at {at}, beyond {mirror.rev}")
        elif at.rev == mirror.rev:
            self._sent = at
        else:
            self.republished += 1
            message = mirror.since(at.rev, self._token)
            fields = mirror.take_since(at.rev)
            await self._publish(mirror, at, 1, [f"{mirror.rev}-0", encode(message)], fields)

    async def _publish(self, mirror: Mirror, at: Place, count: int, entries: list[Any], fields: list[Any]) -> None:
        keys, to = self._keys, Place(mirror.epoch, mirror.rev, self._token, self._writer)
        self.calls += 1
        answer = await self._server.call(
            lambda client: evaluate(
                client,
                PUBLISH,
                [keys.token, keys.lease, keys.board, keys.stream],
                self._fence,
                str(at),
                str(to),
                self._log_length,
                count,
                *entries,
                *fields,
            )
        )
        if answer == b"token":
            raise _Refused("the token is another writer's, or forgotten")
        if answer != 1:
            # A failover may have taken what we thought was there: look again. If it was somebody else, so does the fence.
            self._behind = True
            return
        self._sent = to

    async def _replace(self, mirror: Mirror) -> None:
        keys, to = self._keys, Place(mirror.epoch, mirror.rev, self._token, self._writer)
        fields = mirror.whole()
        answer = await self._server.call(
            lambda client: self._replicated(
                client,
                REPLACE,
                [keys.token, keys.lease, keys.board, keys.stream],
                self._fence,
                str(to),
                f"{mirror.rev}-0",
                *fields,
            )
        )
        if answer == b"token":
            raise _Refused("the token is another writer's, or forgotten")
        if answer != 1:
            raise _Refused(f"{mirror.epoch} cannot begin at {mirror.rev}: the bus is at {answer.decode()}")
        self._sent = to

    async def _replicated(self, client: Redis, script: str, keys: list[str], *arguments: Any) -> Any:
        """Run a script, and where replicas exist wait until one has what it wrote."""
        if not self._replicas:
            return await evaluate(client, script, keys, *arguments)
        async with client.pipeline(transaction=False) as both:
            both.execute_command("EVAL", script, len(keys), *keys, *arguments)
            both.execute_command("WAIT", 1, REPLICATE_MS)
            answer, _ = await both.execute()
        return answer
