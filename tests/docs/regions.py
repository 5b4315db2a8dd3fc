"""Regions of the documentation that are made from the product: `<!-- kind arguments -->` to `<!-- end -->`.

    <!-- wire subscribe 3-6 -->           lines of a vector under tests/wire
    <!-- http GET /api/feeds -->          an answer of the gateway on the stage; more lines are headers
    <!-- refusal CODE -->                an answer that is no (tests/docs/refusals.py), with what was asked
    <!-- fields -->, <!-- presets -->     from domain/field.py
    <!-- rules -->                        from guard/rules.py
    <!-- metric NAME -->                  from telemetry/metrics.py
    <!-- close-code NAME -->              from gateway/close_codes.py
    <!-- constants MODULE NAME… -->       constants with the comment at their line
    <!-- help COMMAND… -->                what a command says of itself

`python -m tests.docs.refresh` writes them again; a test compares.
"""

import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import httpx
from msgspec import json

from bhavcast.domain import field
from bhavcast.gateway.close_codes import CLOSE_CODES
from bhavcast.guard.guard import CORRECTION_MS, CORRECTION_TIMES
from bhavcast.guard.rules import EVERY_KIND, RULES, SCRIPS, SHARES
from bhavcast.telemetry import metrics
from tests.docs import refusals
from tests.docs.stage import Stage

ROOT: Final = Path(__file__).resolve().parents[2]
WIRE: Final = ROOT / "tests" / "wire"
REGION: Final = re.compile(r"(<!-- (?P<kind>[a-z-]+)(?P<rest>[^>]*?) -->\n)(?P<body>.*?)(<!-- end -->)", re.DOTALL)
SHOWN_HEADERS: Final = ("content-type", "etag", "x-bhavcast-position", "x-bhavcast-age-ms", "retry-after")


def pages() -> list[Path]:
    """Return every page of the project."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


async def renewed(text: str) -> str:
    """Return a page with all its regions made anew."""
    out, last = [], 0
    for match in REGION.finditer(text):
        make = MAKERS.get(match["kind"])
        if make is None:
            raise ValueError(f"no such region: {match['kind']}")
        body = (await make(match["rest"].strip())).strip("\n")
        out += [text[last : match.start()], match[1], "\n", body, "\n\n", "<!-- end -->"]
        last = match.end()
    return "".join(out) + text[last:]


def block(language: str, lines: Iterator[str] | list[str]) -> str:
    """Return a fenced block."""
    return "\n".join([f"```{language}", *lines, "```"])


async def _wire(rest: str) -> str:
    name, _, span = rest.partition(" ")
    lines = [json.decode(line) for line in (WIRE / f"{name}.jsonl").read_text().splitlines()]
    first, _, last = (span or f"1-{len(lines)}").partition("-")
    return block("text", [_spoken(line) for line in lines[int(first) - 1 : int(last or first)]])


def _spoken(line: dict[str, Any]) -> str:
    if "closed" in line:
        return f"S closes: {line['closed']['code']} {line['closed']['reason']}"
    if "cut" in line:
        return "— the connection is cut; a new one:"
    for key, mark in (("s_hex", "S"), ("c_hex", "C")):
        if key in line:
            return f"{mark} {line[key]}"
    if "c_text" in line:
        return f"C {line['c_text']}"
    mark = "C" if "c" in line else "S"
    return f"{mark} {json.encode(line.get('c', line.get('s'))).decode()}"


async def _http(rest: str) -> str:
    request, *headers = rest.splitlines()
    _, path = request.split(" ", 1)
    asked = dict(line.split(": ", 1) for line in headers)
    async with Stage() as stage:
        # Its own name would be another at every making.
        answer = await stage.get(path, **{"X-Request-ID": "7f3c2a91-2b"} | asked)
    lines = [f"$ curl -i 'http://127.0.0.1:5000{path}'"]
    lines[0] += "".join(f" -H '{name}: {value}'" for name, value in asked.items())
    lines.append(f"HTTP/1.1 {answer.status_code} {answer.reason_phrase}")
    lines += [f"{name}: {answer.headers[name]}" for name in SHOWN_HEADERS if name in answer.headers]
    return block("text", [*lines, "", *_body(answer)])


def _body(answer: httpx.Response) -> list[str]:
    if not answer.content:
        return []
    if "json" not in answer.headers["content-type"]:
        return answer.text.splitlines()
    return json.format(answer.content, indent=2).decode().splitlines()


async def _refusal(code: str) -> str:
    answer = await refusals.answer(code)
    asked = refusals.REFUSALS[code].asked.decode().split("\r\n")
    lines = [f"C {_short(line)}" for line in asked if line and line != refusals.NUMBER]
    lines.append(f"S HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}")
    lines += [f"S {name}: {value}" for name, value in answer.headers if name in ("allow", "retry-after")]
    lines += [f"S {name}: {value}" for name, value in answer.headers if name in ("upgrade", "www-authenticate")]
    told = json.decode(answer.body) | {"request_id": "7f3c2a91-2b"}
    return block("text", [*lines, *json.format(json.encode(told), indent=2).decode().splitlines()])


def _short(line: str) -> str:
    return line if len(line) < 200 else f"{line[:40]}… ({len(line):,} characters)"


async def _fields(_: str) -> str:
    presets = {number: [name for name, numbers in field.PRESETS.items() if number in numbers] for number in range(99)}
    rows = [
        f"| `{each.name}` | {each.number} | {each.kind.value} | {', '.join(presets[each.number]) or 'depth'} "
        f"| {'yes' if each.day else ''} | {each.meaning} |"
        for each in field.FIELDS
    ]
    return "\n".join(
        ["| field | number | written as | in | of the day | meaning |", "|---|---|---|---|---|---|", *rows]
    )


async def _presets(_: str) -> str:
    rows = [f"| `{name}` | {_names(numbers)} |" for name, numbers in field.PRESETS.items() if name != "full"]
    return "\n".join(
        ["| preset | fields |", "|---|---|", *rows, "| `full` (the default) | every field of a quote but depth |"]
    )


def _names(numbers: tuple[int, ...]) -> str:
    return ", ".join(f"`{field.FIELDS[number].name}`" for number in numbers)


async def _rules(_: str) -> str:
    kinds = {EVERY_KIND: "scrips and indices", SCRIPS: "scrips", SHARES: "shares and funds"}
    said = []
    for rule in RULES:
        correction = rule.correction.value
        if rule.correction.name != "NEVER":
            correction = (
                f"{CORRECTION_TIMES} times over at least {CORRECTION_MS / 1000:g} s, or another source: {correction}"
            )
        said.append(
            f"## `{rule.name}`\n\n- applies to: {kinds[rule.kinds]}\n- judged: {rule.when}\n- believed after all: {correction}\n"
        )
    return "\n".join(said)


async def _metric(rest: str) -> str:
    name = metrics.BY_NAME[rest]
    labels = ", ".join(f"`{label}`" for label in name.labels) or "none"
    return f"{name.meaning}\n\n- kind: {name.kind}\n- labels: {labels}"


async def _close_code(rest: str) -> str:
    code = next(each for each in CLOSE_CODES if each.name == rest)
    again = "come again" if code.reconnect else "do not come again until something is changed"
    return f"{code.code}: {again}. Sent as “{code.reason}”."


async def _constants(rest: str) -> str:
    module_name, *names = rest.split()
    source = inspect.getsource(importlib.import_module(module_name))
    module = importlib.import_module(module_name)
    rows = []
    for name in names:
        comment = re.search(rf"^{name}\b[^#\n]*(?:#\s*(.*))?$", source, re.MULTILINE)
        above = re.search(rf"((?:^# .*\n)+){name}\b", source, re.MULTILINE)
        said = (comment and comment[1]) or (
            above and " ".join(re.sub(r"^# ", "", above[1], flags=re.MULTILINE).split())
        )
        rows.append(f"| `{name}` | {getattr(module, name):,} | {said or 'as above'} |")
    return "\n".join(["| constant | value | what it is |", "|---|---|---|", *rows])


async def _help(rest: str) -> str:
    command = [str(Path(sys.executable).parent / "bhavcast"), *rest.split(), "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env={"COLUMNS": "100"})  # noqa: ASYNC221 - nothing else runs
    return block("text", [f"$ bhavcast {rest} --help".replace("  ", " "), *said.stdout.rstrip().splitlines()])


MAKERS: Final[dict[str, Callable[[str], Awaitable[str]]]] = {
    "wire": _wire,
    "http": _http,
    "refusal": _refusal,
    "fields": _fields,
    "presets": _presets,
    "rules": _rules,
    "metric": _metric,
    "close-code": _close_code,
    "constants": _constants,
    "help": _help,
}
