"""A program for the package websockets, as anyone would write it from the protocol's page: follows one symbol.

KEY=… python follow.py URL SYMBOL       the whole quote on stdout, one JSON line at every change of it
"""

import json
import os
import sys

from websockets.sync.client import connect
from websockets.typing import Subprotocol

url, symbol = sys.argv[1:]
quote: dict[str, object] = {}
with connect(
    url.replace("http", "ws", 1) + "/ws",
    subprotocols=[Subprotocol("bhavcast.v1.json")],
    additional_headers={"X-API-Key": os.environ["KEY"]},
    proxy=None,
) as wire:
    wire.send(json.dumps({"t": "sub", "id": 1, "symbols": [symbol], "fields": "ltp", "hz": 5}))
    for frame in wire:
        message = json.loads(frame)
        for row in message.get("q", ()):
            quote = row if message["t"] == "snap" else quote | row
            print(json.dumps(quote), flush=True)
