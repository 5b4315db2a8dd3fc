"""`memory`: what 5,000 idle clients with 50 subscriptions each take of the gateway's memory."""

import tempfile
from pathlib import Path

from benchmarks import gateway, market
from benchmarks.measure import LOAD_CORE, Contender, Outcome, Plan, Reading, alternate
from bhavcast.load import generator
from bhavcast.load.cpu import resident_bytes

WARM = 50  # clients that come and go before the first look: what is loaded once is not a client's


def memory(plan: Plan) -> Outcome:
    """Resident memory before and after the clients came."""
    outcome = Outcome("memory")
    clients = plan.scaled(5000)
    with tempfile.TemporaryDirectory(prefix="bhavcast-") as folder:
        symbols = market.write_symbols(Path(folder), 5000)

        def measure() -> Reading:
            with gateway.running() as server:
                with generator.stream(server.port, symbols, clients=WARM, core=LOAD_CORE) as few:
                    few.wait_ready()
                before = resident_bytes(server.pids)
                with generator.stream(server.port, symbols, clients=clients, core=LOAD_CORE) as load:
                    load.wait_ready()
                    after = resident_bytes(server.pids)
            return {
                "per client|KiB": (after - before) / clients / 1024,
                "gateway before|MiB": before / 2**20,
                "gateway with all clients|MiB": after / 2**20,
            }

        alternate(outcome, [Contender("", measure)], plan)
    outcome.note(f"{clients} clients × 50 of 5,000 scrips; kernel socket buffers are not part of it")
    return outcome
