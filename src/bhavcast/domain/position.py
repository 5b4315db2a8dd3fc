"""Positions: how far a reader has come. See "Positions" in docs/explanation/state.md."""

import re
from typing import Final, NamedTuple

from bhavcast.domain.errors import BadRequest

_FORM = re.compile(r"(\d{8}T\d{4}Z-[0-9a-f]{16}):(0|[1-9]\d{0,18})", re.ASCII)
MAX_REV: Final = 2**63 - 1  # what every store and codec on the way can hold


class Position(NamedTuple):
    """`epoch:rev`: everything up to revision `rev` of the board's life `epoch` is known."""

    epoch: str
    rev: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.rev}"

    @classmethod
    def parse(cls, text: str, *, field: str = "pos") -> "Position":
        """Read `20261123T0345Z-9f1c03ab77de5a20:123456`; raise BadRequest naming `field` otherwise."""
        match = _FORM.fullmatch(text)
        if match is None or int(match[2]) > MAX_REV:
            raise BadRequest(f"expected epoch:rev as received in a frame, got {text[:80]!r}", field=field)
        return cls(match[1], int(match[2]))


NOWHERE = Position("", 0)
