"""`bhavcast verify`: does everything that is served really work."""

import asyncio
import sys
from typing import Annotated

from cyclopts import Parameter

from bhavcast.cli.address import Url, frontend, gateway
from bhavcast.cli.command import AsJson, command
from bhavcast.cli.output import Exit, json, say, table, working


def verify(
    *,
    url: Url = None,
    frontend_url: Annotated[str | None, Parameter(show_default=False)] = None,
    as_json: AsJson = False,
) -> int:
    """Check that everything a running system serves really works.

    Parameters
    ----------
    url
        Address of the gateway.
    frontend_url
        Address of the frontend [default: the configured one; not checked where only --url is given].
    as_json
        Print one JSON object: passed, failed, not_checked, and checks of {name, result, evidence, ms}.
    """
    from bhavcast.app.verify import Verifier

    verifier = Verifier(gateway(url), frontend(frontend_url, given_gateway=url is not None))
    with working(f"Checking {verifier.url}"):
        checks = asyncio.run(verifier.run())
    count = {result: sum(check.result == result for check in checks) for result in ("pass", "fail", "not checked")}
    if as_json:
        json({
            "url": verifier.url, "frontend_url": verifier.frontend_url, "passed": count["pass"],
            "failed": count["fail"], "not_checked": count["not checked"], "checks": checks,
        })  # fmt: skip
    else:
        rows = [(check.name, check.result, check.ms, check.evidence) for check in checks]
        table(["check", "result", "ms", "evidence"], rows, right=["ms"])
        say(f"{count['pass']} passed, {count['fail']} failed, {count['not checked']} not checked")
    sys.stdout.flush()
    return Exit.WRONG if count["fail"] else Exit.DONE


app = command(
    "verify",
    verify,
    about="It uses the service as a client does: requests, a page, a subscription that waits for a live update.",
    examples=[
        "bhavcast verify",
        "bhavcast verify --url http://127.0.0.1:5001 --frontend-url http://127.0.0.1:8090 --json",
    ],
    codes={0: "nothing failed", 1: "a check failed"},
)
