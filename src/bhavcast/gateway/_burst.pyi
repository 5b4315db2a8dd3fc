from bhavcast.hub.burst import Flush
from bhavcast.hub.outbox import Outbox

def send(
    unreached: set[Outbox], flush: Flush, now: float, budget: int, cost: int, own_cost: int, /
) -> tuple[int, list[Outbox], list[tuple[Outbox, bytes | None]]]: ...
