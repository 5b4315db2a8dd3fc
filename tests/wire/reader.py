"""The rules of a client in one page: what it holds after each frame of the service.

Deliberately not the product's client (bhavcast.client): whoever writes one in another language begins here, and holds
it to the vectors beside this file. Reasons: docs/explanation/state.md, "Positions".
"""

from typing import Any

from msgspec import json

Row = dict[str, Any]


class Reader:
    """Quotes by symbol and the position to which they are complete, None while they are not."""

    def __init__(self) -> None:
        self.quotes: dict[str, Row] = {}
        self.pos: str | None = None

    def send(self, message: dict[str, Any]) -> None:
        """Note what the client asks for. It lets go of what it unsubscribes at once; a change of shape drops the position.

        (A client that subscribes groups has to find out what they stood for; here symbols are codes.)
        """
        symbols = message.get("symbols", [])
        if message["t"] == "unsub":
            self.quotes = {symbol: row for symbol, row in self.quotes.items() if symbol not in symbols}
        elif message["t"] == "set" and symbols:
            self.quotes = {symbol: row for symbol, row in self.quotes.items() if symbol in symbols}
        if message["t"] in ("set", "sub") and ("fields" in message or "depth" in message):
            self.pos = None

    def receive(self, message: dict[str, Any], rows: list[Row] | None = None) -> None:
        """Take one frame; `rows` are the objects that follow the first one in MessagePack."""
        rows = message.get("q", []) if rows is None else rows
        match message["t"]:
            case "reset":
                self.pos = None
            case "resumed" if not message["recovered"]:
                self.pos = None
            case "snap":
                self.quotes |= {row["symbol"]: row for row in rows if self._newer(row)}
            case "u":
                for row in rows:
                    if row["symbol"] in self.quotes and self._newer(row):
                        self._merge(self.quotes[row["symbol"]], row)
        # Only these three move the position.
        if message["t"] in ("sync", "u", "hb") and "pos" in message:
            self.pos = message["pos"]

    def _newer(self, row: Row) -> bool:
        held = self.quotes.get(row["symbol"])
        return held is None or row["rev"] >= held["rev"]

    def _merge(self, held: Row, row: Row) -> None:
        for name, value in row.items():
            if value is None:
                held.pop(name, None)
            elif name == "depth":
                for side, levels in value.items():
                    self._merge(held.setdefault("depth", {}), {side: levels})
            else:
                held[name] = value


def read(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what a client holds after the lines of a vector."""
    reader = Reader()
    for line in json.decode(json.encode(lines)):  # a copy: merging must not reach into the vector
        if "c" in line:
            reader.send(line["c"])
        elif isinstance(line.get("s"), list):
            reader.receive(line["s"][0], line["s"][1:])
        elif "s" in line:
            reader.receive(line["s"])
    return {"pos": reader.pos, "quotes": reader.quotes}
