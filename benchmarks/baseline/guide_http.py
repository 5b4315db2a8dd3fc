# mypy: ignore-errors
# It runs in .venv-bench, whose packages the type checker does not see.
"""The guide's backend at its best: Flask, one Redis GET (or MGET) per request, no other work."""

import json
import os
from pathlib import Path

import redis
from flask import Flask, Response, jsonify, request

store = redis.Redis(port=int(os.environ["REDIS_PORT"]))
for quote in json.loads(Path(os.environ["QUOTES"]).read_bytes()):
    store.set(f"stock:{quote['symbol']}", json.dumps(quote))
app = Flask(__name__)


@app.get("/api/stock/<symbol>")
def stock(symbol: str) -> Response:
    held = store.get(f"stock:{symbol}")
    return jsonify(json.loads(held))


@app.get("/api/stocks/batch")
def batch() -> Response:
    keys = [f"stock:{symbol}" for symbol in request.args["symbols"].split(",")]
    return jsonify([json.loads(held) for held in store.mget(keys)])
