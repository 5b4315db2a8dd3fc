// @ts-check
/** The watchlist: a reader's own scrips, kept in this browser, in the order in which they were added. */

import { find, flash, make, mark, write } from "./dom.js";
import { age, arrow, instant, NONE, percent, price, quantity, signed, way } from "./format.js";
import { quoteState } from "./words.js";

/** @typedef {import("./lib/bhavcast.js").Bhavcast} Bhavcast */
/** @typedef {import("./lib/bhavcast.js").Quote} Quote */
/** @typedef {{symbol: string, id: string}} Watched the id is remembered for the time before the first price */

const KEY = "bhavcast.watchlist";
const MOST = 100;
/** @type {Watched[]} */
const FIRST = [
  ["500325", "RELIANCE"], ["500180", "HDFCBANK"], ["532174", "ICICIBANK"], ["500209", "INFY"], ["532540", "TCS"],
  ["532454", "BHARTIARTL"], ["500112", "SBIN"], ["500875", "ITC"], ["500510", "LT"], ["532500", "MARUTI"],
].map(([symbol, id]) => ({ symbol, id }));

/** @type {[string, string, string][]} heading, class, explanation */
const COLUMNS = [
  ["Scrip", "name", ""],
  ["Price ₹", "", "Last trade"],
  ["Change", "", "Against the previous close"],
  ["%", "", "Against the previous close"],
  ["Bid", "wide", "Best bid"],
  ["Ask", "wide", "Best offer"],
  ["Volume", "wide", "Shares traded today"],
  ["Age", "", "Time since the exchange's last update of this scrip"],
  ["", "", ""],
];

export class Watchlist {
  /**
   * @param {Bhavcast} stream
   * @param {(symbol: string) => void} select
   */
  constructor(stream, select) {
    this.stream = stream;
    this.select = select;
    /** @type {Watched[]} */
    this.watched = load();
    /** @type {Map<string, Row>} */
    this.rows = new Map();
    /** @type {Set<string>} */
    this.dirty = new Set();
    /** @type {string|null} */
    this.selected = null;
    this.changed = () => {};

    this.body = make("tbody", { onkeydown: (/** @type {KeyboardEvent} */ event) => this._key(event) });
    this.empty = make("p", { class: "empty", hidden: true }, "Nothing is watched. Add a scrip with the search above.");
    find("watched").append(
      make(
        "table",
        {},
        make("thead", {}, make("tr", {}, ...COLUMNS.map(([text, name, title]) => make("th", { class: name, title: title || undefined, scope: "col" }, text)))),
        this.body,
      ),
      this.empty,
    );
    stream.on("change", ({ quote }) => {
      if (!this.rows.has(quote.symbol)) return;
      if (!this.dirty.size) requestAnimationFrame(() => this._draw());
      this.dirty.add(quote.symbol);
    });
    stream.on("bad", ({ symbol, code, message }) => this.rows.get(symbol)?.refuse(message ?? code));
    // Another tab of this page keeps the same list.
    addEventListener("storage", ({ key }) => {
      if (key !== KEY) return;
      this.watched = load();
      this._arrange();
      this.changed();
    });
    this._arrange();
    setInterval(() => this.tell(), 500);
  }

  /** @returns {string[]} */
  symbols() {
    return this.watched.map(({ symbol }) => symbol);
  }

  /**
   * @param {string} symbol
   * @returns {string|undefined} its id, where it is watched
   */
  id(symbol) {
    return this.watched.find((each) => each.symbol === symbol)?.id;
  }

  /**
   * @param {Watched} scrip
   * @returns {string} what came of it, in words
   */
  add({ symbol, id }) {
    if (this.rows.has(symbol)) return `${id} is watched already.`;
    if (this.watched.length >= MOST) return `The watchlist is full: ${MOST} scrips.`;
    this.watched = [...this.watched, { symbol, id }];
    this._save();
    this.rows.get(symbol)?.element.scrollIntoView({ block: "nearest" });
    return `${id} is watched now.`;
  }

  /** @param {string} symbol */
  remove(symbol) {
    this.watched = this.watched.filter((each) => each.symbol !== symbol);
    this._save();
  }

  /** @param {string|null} symbol */
  mark(symbol) {
    this.selected = symbol;
    for (const [each, row] of this.rows) {
      mark(row.element, "aria-selected", String(each === symbol));
      row.element.tabIndex = each === symbol ? 0 : -1;
    }
    const first = this.rows.values().next().value;
    if (first && !this.rows.has(symbol ?? "")) first.element.tabIndex = 0;
  }

  /** Tell the ages anew. */
  tell() {
    for (const [symbol, row] of this.rows) row.tell(this.stream.quotes.get(symbol), this.stream.clock.now(), this.stream.link.state === "live");
  }

  _save() {
    localStorage.setItem(KEY, JSON.stringify(this.watched));
    this._arrange();
    this.changed();
  }

  _arrange() {
    const kept = new Set(this.symbols());
    for (const [symbol, row] of this.rows) {
      if (kept.has(symbol)) continue;
      row.element.remove();
      this.rows.delete(symbol);
    }
    for (const scrip of this.watched) {
      const row = this.rows.get(scrip.symbol) ?? new Row(scrip, this.select, (symbol) => this.remove(symbol));
      this.rows.set(scrip.symbol, row);
      this.body.append(row.element);
      row.draw(this.stream.quotes.get(scrip.symbol));
    }
    this.empty.hidden = this.watched.length > 0;
    this.mark(this.selected);
  }

  _draw() {
    for (const symbol of this.dirty) {
      const quote = this.stream.quotes.get(symbol);
      if (quote) this.rows.get(symbol)?.draw(quote);
    }
    this.dirty.clear();
    this.tell();
  }

  /** @param {KeyboardEvent} event */
  _key(event) {
    const row = /** @type {HTMLElement} */ (event.target).closest("tr");
    const symbol = row?.dataset.symbol;
    if (!row || !symbol) return;
    const beside = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling }[event.key];
    if (beside instanceof HTMLElement) {
      beside.focus();
      this.select(beside.dataset.symbol ?? symbol);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      const next = row.nextElementSibling ?? row.previousElementSibling;
      this.remove(symbol);
      if (next instanceof HTMLElement) next.focus();
    } else if (event.key === "Enter" && event.target === row) this.select(symbol);
    else return;
    event.preventDefault();
  }
}

class Row {
  /**
   * @param {Watched} scrip
   * @param {(symbol: string) => void} select
   * @param {(symbol: string) => void} remove
   */
  constructor({ symbol, id }, select, remove) {
    /** @type {number|undefined} */
    this.last = undefined;
    this.refused = "";
    this.id = make("b", {}, id);
    this.name = make("small");
    this.cells = COLUMNS.slice(1, -1).map(([, name]) => make("td", { class: name }));
    this.element = make(
      "tr",
      { "data-symbol": symbol, tabindex: "-1", onclick: () => select(symbol) },
      make("th", { scope: "row", class: "name" }, this.id, this.name),
      ...this.cells,
      make(
        "td",
        {},
        make(
          "button",
          {
            type: "button",
            class: "quiet",
            title: `Stop watching ${id}`,
            "aria-label": `Stop watching ${id}`,
            tabindex: "-1",
            onclick: (/** @type {Event} */ event) => {
              event.stopPropagation();
              remove(symbol);
            },
          },
          "×",
        ),
      ),
    );
  }

  /** @param {string} reason */
  refuse(reason) {
    this.refused = reason;
  }

  /** @param {Quote|undefined} quote */
  draw(quote) {
    const [last, change, percentage, bid, ask, volume] = this.cells;
    if (quote?.id) write(this.id, quote.id);
    write(this.name, quote?.company_name ?? "");
    // Before the first trade an auction says at which price it would match.
    const indicative = quote?.current_price === undefined ? quote?.indicative_price : undefined;
    write(last, indicative === undefined ? price(quote?.current_price) : `≈ ${price(indicative)}`);
    mark(last, "title", indicative === undefined ? null : "Indicative: the auction would match here now");
    write(change, quote?.change === undefined ? NONE : `${arrow(quote.change)} ${signed(quote.change)}`.trim());
    write(percentage, percent(quote?.percent_change));
    write(bid, price(quote?.bid_price));
    write(ask, price(quote?.ask_price));
    write(volume, quantity(quote?.volume));
    for (const cell of [change, percentage]) mark(cell, "data-way", way(quote?.change));
    const now = quote?.current_price;
    if (this.last !== undefined && now !== undefined && now !== this.last) flash(last, now > this.last ? "up" : "down");
    this.last = now;
  }

  /**
   * @param {Quote|undefined} quote
   * @param {number|null} now
   * @param {boolean} connected
   */
  tell(quote, now, connected) {
    const cell = this.cells[6];
    if (this.refused || !quote) {
      write(cell, this.refused ? "refused" : "waiting");
      mark(cell, "title", this.refused || null);
      mark(cell, "data-tone", this.refused ? "bad" : "unknown");
      return;
    }
    const said = quoteState(quote.state);
    const stamp = instant(quote.timestamp);
    const old = stamp === null || now === null ? "" : age(now - stamp);
    const moving = quote.state === "live" || quote.state === "quiet" || quote.state === "stale";
    write(cell, quote.state === "live" && old ? old : moving && old ? `${said.text} ${old}` : said.text);
    mark(cell, "data-tone", !connected ? "unknown" : said.tone === "ok" ? null : said.tone);
  }
}

/** @returns {Watched[]} */
function load() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "null");
    if (Array.isArray(kept) && kept.every((each) => typeof each?.symbol === "string" && typeof each?.id === "string")) return kept;
  } catch {
    // Not ours, or storage is forbidden: begin with the usual ones.
  }
  return FIRST;
}
