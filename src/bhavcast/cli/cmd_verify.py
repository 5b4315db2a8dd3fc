"""`bhavcast verify`: whether a running system keeps its promises, seen from outside."""

import asyncio
import sys
from typing import Annotated, Final

from cyclopts import Parameter

from bhavcast.cli.command import command
from bhavcast.cli.output import Address, Exit, JsonFlag, KeyFileFlag, UrlFlag, json, key_headers, say, status, table

GATEWAY: Final = "http://127.0.0.1:5000"
FRONTEND: Final = "http://127.0.0.1:8080"


def verify(
    *,
    url: UrlFlag = GATEWAY,
    frontend_url: Annotated[str | None, Address, Parameter(show_default=False)] = None,
    symbol: Annotated[str, Parameter(name="--symbol")] = "RELIANCE",
    key_file: KeyFileFlag = None,
    as_json: JsonFlag = False,
) -> int:
    """Check a running system from outside: health, quotes, batch, streams, pages, documentation, metrics.

    Parameters
    ----------
    frontend_url
        Where the frontend is [default: http://127.0.0.1:8080; with another --url it is not looked for].
    symbol
        The scrip to ask for.
    """
    from bhavcast.app.verify import Verification

    if frontend_url is None and url.rstrip("/") == GATEWAY:
        frontend_url = FRONTEND
    with status("verifying") as tell:
        checks = asyncio.run(Verification(url, frontend_url, symbol, key_headers(key_file)).run(tell))
    failed = [check for check in checks if check.status == "fail"]
    if as_json:
        json({"ok": not failed, "checks": [check._asdict() for check in checks]})
    else:
        table(
            ["check", "status", "ms", "what was seen"],
            [(c.name, c.status, c.ms, c.detail) for c in checks],
            right=("ms",),
        )
        passed = sum(check.status == "pass" for check in checks)
        say(f"{passed} passed, {len(failed)} failed, {len(checks) - passed - len(failed)} not checked")
    sys.stdout.flush()
    return Exit.WRONG if failed else Exit.DONE


app = command(
    "verify",
    verify,
    examples=[
        "bhavcast verify",
        "bhavcast verify --json --url http://127.0.0.1:5001",
    ],
    codes={0: "everything that could be checked is in order", 1: "a check failed", 3: "nothing answers at the address"},
)
