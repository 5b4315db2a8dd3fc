# mypy: ignore-errors
# It runs in .venv-bench, whose packages the type checker does not see.
"""The guide's stream at its best: Flask-SocketIO with threads, one room per symbol, no other work."""

import os
import random
import threading
import time
from pathlib import Path

from flask import Flask
from flask_socketio import SocketIO, join_room

app = Flask(__name__)
socketio = SocketIO(app, async_mode="threading", ping_interval=600, ping_timeout=600, cors_allowed_origins="*")
symbols = Path(os.environ["SYMBOLS"]).read_text().split()
per_second = int(os.environ["TICKS_PER_SECOND"])


@socketio.on("subscribe")
def subscribe(message):
    for symbol in message["symbols"]:
        join_room(symbol)
    socketio.emit("subscription_confirmed", {"symbols": message["symbols"]})


def publish():
    choose, due = random.Random(1), time.monotonic()
    while True:
        for _ in range(20):
            symbol = choose.choice(symbols)
            quote = {
                "symbol": symbol,
                "price": 1574.6,
                "change": 11.05,
                "pChange": 0.71,
                "timestamp": "2026-11-23T12:08:51.143+05:30",
            }
            quote["volume"] = time.monotonic_ns() // 1000
            socketio.emit("stock_update", {"type": "update", "data": quote}, to=symbol)
        due = max(due + 20 / per_second, time.monotonic() - 1)
        time.sleep(max(due - time.monotonic(), 0))


if __name__ == "__main__":
    threading.Thread(target=publish, daemon=True).start()
    socketio.run(app, port=int(os.environ["PORT"]), allow_unsafe_werkzeug=True)
