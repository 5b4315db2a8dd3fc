"""The static pages: read once, served from memory, with the headers that keep a browser safe."""

import hashlib
import json
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final, NamedTuple

TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "ico": "image/x-icon",
    "json": "application/json",
    "md": "text/markdown; charset=utf-8",
}


class Page(NamedTuple):
    """One file as it is served."""

    body: bytes
    content_type: str
    etag: str


def content_security_policy(gateway_origin: str | None) -> str:
    """Return the policy of the pages: nothing foreign, nothing inline; `gateway_origin` where it is another origin."""
    connect = "'self'"
    if gateway_origin is not None:
        connect += f" {gateway_origin} {gateway_origin.replace('http', 'ws', 1)}"
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src {connect}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def load() -> dict[str, Page]:
    """Return the pages by path: `/` and `/docs` are index.html and docs.html."""
    pages = dict(_walk(files("bhavcast") / "web", "/"))
    for path, file in (("/", "/index.html"), ("/docs", "/docs.html"), ("/docs/errors", "/docs.html")):
        if file in pages:
            pages[path] = pages[file]
    return pages


def config_page(gateway_url: str) -> Page:
    """Return `/config.json`, which tells the page where its gateway is."""
    return _page(json.dumps({"gateway": gateway_url}).encode(), "json")


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, Page]]:
    found = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _walk(entry, f"{prefix}{entry.name}/")
        elif (kind := entry.name.rpartition(".")[2]) in TYPES:
            found.append((prefix + entry.name, _page(entry.read_bytes(), kind)))
    return found


def _page(body: bytes, kind: str) -> Page:
    return Page(body, TYPES[kind], f'"{hashlib.sha256(body).hexdigest()[:24]}"')
