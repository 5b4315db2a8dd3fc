// @ts-check
/** The page: one stream for what is watched, one for the market table, and what is asked for now and then. */

import { find, make, write } from "./dom.js";
import { locate } from "./gateway.js";
import { Header } from "./header.js";
import { Indices } from "./indices.js";
import { Bhavcast } from "./lib/bhavcast.js";
import { Market } from "./market.js";
import { Movers } from "./movers.js";
import { Scrip } from "./scrip.js";
import { Search } from "./search.js";
import { Door } from "./signin.js";
import { themes } from "./theme.js";
import { Watchlist } from "./watchlist.js";

const STATUS_MS = 10_000;
const AGAIN_MS = 3_000;

async function begin() {
  themes();
  const gateway = await locate();
  const door = new Door(gateway);
  await door.pass();
  const stream = new Bhavcast(gateway.socket, { hz: 5, fields: "full", depth: 5 });
  const wide = new Bhavcast(gateway.socket, { hz: 4, fields: "quote" });

  /** @param {string} symbol */
  const select = (symbol) => {
    scrip.show(symbol, watchlist.id(symbol));
    watchlist.mark(symbol);
    subscribe();
  };
  /** @param {string} symbol @param {string} id */
  const watch = (symbol, id) => {
    say(watchlist.add({ symbol, id }));
    select(symbol);
  };
  const subscribe = () => {
    const chosen = scrip.symbol === null ? [] : [scrip.symbol];
    stream.replace([...indices.symbols(), ...watchlist.symbols(), ...chosen]);
  };

  const header = new Header(stream);
  const indices = new Indices(stream, select);
  const watchlist = new Watchlist(stream, select);
  const scrip = new Scrip(stream, watch);
  const movers = new Movers(gateway, select);
  const market = new Market(wide, select, watch);
  const input = /** @type {HTMLInputElement} */ (find("search"));
  new Search(input, find("found"), (query, limit, signal) => gateway.search(query, limit, signal), ({ symbol, id }) => watch(symbol, id));
  watchlist.changed = () => {
    subscribe();
    if (scrip.symbol) scrip.show(scrip.symbol, watchlist.id(scrip.symbol));
  };

  for (const each of [stream, wide]) each.on("change", ({ quote }) => header.witness(quote));
  // A refused handshake looks like a lost gateway. Asking tells whether it is the session that is over.
  stream.on("link", async ({ state }) => {
    if ((state !== "waiting" && state !== "refused") || !(await door.pass())) return;
    for (const each of [stream, wide]) {
      each.retryNow();
      each.connect();
    }
  });
  stream.on("hello", () => {
    learn();
    movers.refresh();
    wide.retryNow();
  });
  const learn = async () => {
    try {
      header.learn(await gateway.status());
      indices.show(await gateway.indices());
      subscribe();
      if (!market.listed.size) market.know(await gateway.stocks());
    } catch (error) {
      // The link and its alarm say that the gateway is lost. What is only missing is asked for again.
      if (!market.listed.size) market.lack(/** @type {Error} */ (error).message);
      if (stream.link.state === "live") setTimeout(learn, AGAIN_MS);
    }
  };
  setInterval(() => {
    if (document.visibilityState === "visible" && stream.link.state === "live") learn();
  }, STATUS_MS);

  addEventListener("keydown", (event) => {
    const typing = event.target instanceof HTMLElement && event.target.matches("input, select, textarea");
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    input.focus();
  });
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && stream.retryNow());

  const first = watchlist.symbols()[0];
  if (first) select(first);
  else subscribe();
  stream.connect();
  wide.connect();
}

/** @param {string} text for who listens rather than looks */
function say(text) {
  write(find("said"), text);
}

begin().catch((error) => {
  const again = make("button", { type: "button", onclick: () => location.reload() }, "Try again");
  find("alarms").replaceChildren(make("p", { class: "alarm", "data-tone": "bad" }, make("span", {}, `This page could not start: ${error.message}`), again));
  for (const part of document.querySelectorAll("main, #indices")) part.toggleAttribute("hidden", true);
});
