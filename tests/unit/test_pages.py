"""The static pages: what they must and must not contain. (How they behave is tested in tests/browser.)"""

import re
from importlib.resources import files

import pytest

from bhavcast.domain import errors
from bhavcast.gateway.close_codes import CLOSE_CODES

WEB = files("bhavcast") / "web"
PAGES = ("index.html", "docs.html")


def read(name: str) -> str:
    return (WEB / name).read_text(encoding="utf-8")


def codes(tree: type[errors.BhavcastError]) -> set[str]:
    below = [each for each in tree.__subclasses__() if each.__module__ == errors.__name__]
    return {tree.code}.union(*map(codes, below))


def test_every_error_and_close_code_has_its_anchor_in_the_reference():
    anchors = set(re.findall(r'\bid="([\w-]+)"', read("docs.html")))
    assert codes(errors.BhavcastError) - anchors == set()
    assert {f"close-{each.code}" for each in CLOSE_CODES} - anchors == set()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_nothing_inline_that_its_policy_forbids(name):
    text = read(name)
    assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:", text) == []
    assert re.findall(r"<script(?![^>]* src=)", text) == []


def test_no_page_names_a_foreign_address():
    texts = [read(name) for name in (*PAGES, "style.css", "docs.css")]
    texts += [path.read_text(encoding="utf-8") for path in WEB.iterdir() if path.name.endswith(".js")]
    texts += [read(f"lib/{name}.js") for name in ("bhavcast", "state")]
    addresses = {found for text in texts for found in re.findall(r"\b(?:https?|wss?)://([\w.-]+)", text)}
    # The namespace of SVG is a name, not an address that is asked for.
    assert addresses <= {"127.0.0.1", "www.w3.org"}


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_every_text_is_readable_on_every_ground_in_both_schemes():
    found = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", read("style.css"))
    colours = {name: pair for name, *pair in found}
    texts = ("text", "strong", "soft", "up", "down", "link", "ok", "warn", "bad")
    pairs = [(text, ground) for text in texts for ground in ("ground", "panel", "raised", "chosen")]
    pairs += [("warn", "warn-ground"), ("bad", "bad-ground")]
    pairs += [(text, tint) for text in ("text", "strong") for tint in ("up-tint", "down-tint")]
    for text, ground in pairs:
        for ink, paper in zip(colours[text], colours[ground], strict=True):
            darker, lighter = sorted((luminance(ink), luminance(paper)))
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, f"{text} {ink} on {ground} {paper}"
