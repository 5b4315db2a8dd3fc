"""A page of the gateway in Chromium that follows one symbol with bhavcast.js.

KEY=… python follow.py CHROMIUM URL SYMBOL      the whole quote on stdout, one JSON line at every change of it
"""

import os
import sys

from playwright.sync_api import sync_playwright

FOLLOW = """async ([symbol, key]) => {
  const { Bhavcast } = await import("/lib/bhavcast.js");
  const prices = new Bhavcast(`ws://${location.host}/ws`, { fields: "ltp", hz: 5, key });
  prices.subscribe(symbol);
  prices.connect();
  for await (const quotes of prices) for (const quote of quotes) console.log(JSON.stringify(quote));
}"""

chromium, url, symbol = sys.argv[1:]
arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
with sync_playwright() as playwright:
    page = playwright.chromium.launch(executable_path=chromium, args=arguments).new_page()
    page.set_default_timeout(0)
    page.goto(f"{url}/docs")
    page.on("console", lambda message: print(message.text, flush=True))
    page.evaluate(FOLLOW, [symbol, os.environ["KEY"]])
