"""A program for kiteconnect, as anyone would write it: asks, then follows. It runs in an environment of its own.

python follow.py ROOT TOKEN…     one JSON line per thing learned on stdout; "mode MODE TOKEN…" on stdin changes a mode
KEY in the environment is the access token.
"""

import json
import os
import sys
import threading

from kiteconnect import KiteConnect, KiteTicker
from kiteconnect.exceptions import KiteException

root, tokens = sys.argv[1], [int(each) for each in sys.argv[2:]]
key = os.environ.get("KEY", "any")


def say(kind, told):
    print(json.dumps([kind, told], default=str), flush=True)


kite = KiteConnect(api_key="any", access_token=key, root=root)
say("ltp", kite.ltp("BSE:RELIANCE", "BSE:NOBODY"))
say("ohlc", kite.ohlc(["BSE:500325", "BSE:SENSEX"]))
say("quote", kite.quote(["BSE:RELIANCE", "BSE:SENSEX"]))
say("instruments", [each for each in kite.instruments("BSE") if each["tradingsymbol"] in ("RELIANCE", "SENSEX")])
try:
    kite.quote([])
except KiteException as error:
    say("refused", [type(error).__name__, error.code, str(error)])

ticker = KiteTicker("any", key, root=root.replace("http", "ws") + "/kite")


def on_connect(ws, response):
    say("connect", None)
    ws.subscribe(tokens)
    ws.set_mode(ws.MODE_FULL, tokens)


def on_message(ws, payload, is_binary):
    if is_binary and len(payload) == 1:
        say("heartbeat", len(payload))


ticker.on_connect = on_connect
ticker.on_message = on_message
ticker.on_ticks = lambda ws, ticks: say("ticks", ticks)
ticker.on_error = lambda ws, code, reason: say("error", [code, reason])
ticker.on_close = lambda ws, code, reason: say("close", [code, reason])


def listen():
    for line in sys.stdin:
        kind, *words = line.split()
        if kind == "mode":
            ticker.set_mode(words[0], [int(each) for each in words[1:]])
        elif kind == "unsubscribe":
            ticker.unsubscribe([int(each) for each in words])
    ticker.close()
    ticker.stop()


ticker.connect(threaded=True)
listener = threading.Thread(target=listen)
listener.start()
listener.join()
