// @ts-check
/** One scrip in full: its book, its day, its year. */

import { find, flash, make, mark, write } from "./dom.js";
import { arrow, instant, NONE, percent, price, quantity, short, signed, time, way } from "./format.js";
import { phase, quoteState } from "./words.js";

/** @typedef {import("./lib/bhavcast.js").Quote} Quote */
/** @typedef {import("./lib/bhavcast.js").Level} Level */

const LEVELS = 5;

/** @type {[string, (quote: Quote) => string][]} */
const FIGURES = [
  ["Open", (q) => price(q.open)],
  ["Previous close", (q) => price(q.previous_close)],
  ["High", (q) => price(q.high)],
  ["Low", (q) => price(q.low)],
  ["Average", (q) => price(q.average_price)],
  ["Official close", (q) => price(q.close_price)],
  ["Volume", (q) => quantity(q.volume)],
  ["Turnover ₹", (q) => short(q.value)],
  ["Trades", (q) => quantity(q.trades)],
  ["Last trade", (q) => lastTrade(q)],
  ["Circuit limits", (q) => (q.lower_circuit === undefined && q.upper_circuit === undefined ? NONE : `${price(q.lower_circuit)} to ${price(q.upper_circuit)}`)],
  ["52 weeks", (q) => (q.year_low === undefined && q.year_high === undefined ? NONE : `${price(q.year_low)} to ${price(q.year_high)}`)],
];

/**
 * @param {string} long
 * @param {string} brief where the book is narrow
 */
const either = (long, brief) => () => [make("span", { class: "long" }, long), make("abbr", { class: "brief", title: long }, brief)];
const HEADS = [either("Orders", "No."), either("Quantity", "Qty"), () => ["Bid ₹"], () => ["Ask ₹"], either("Quantity", "Qty"), either("Orders", "No.")];

/** Figures that need a line of their own. */
const LONG = new Set(["Last trade", "Circuit limits", "52 weeks"]);

/** @param {Quote} quote */
function lastTrade(quote) {
  const at = instant(quote.last_trade_time);
  return at === null ? NONE : `${quantity(quote.last_quantity)} at ${time(at)}`;
}

export class Scrip {
  /**
   * @param {import("./lib/bhavcast.js").Bhavcast} stream
   * @param {(symbol: string, id: string) => void} watch
   */
  constructor(stream, watch) {
    this.stream = stream;
    /** @type {string|null} */
    this.symbol = null;
    this.waiting = false;

    this.id = make("h2", {}, "No scrip is selected");
    this.name = make("span", { class: "company" });
    this.add = make("button", { type: "button", class: "quiet", hidden: true, onclick: () => this.symbol && watch(this.symbol, this.id.textContent ?? "") }, "+ watch");
    this.price = make("b", { class: "price" });
    this.change = make("span", {});
    this.state = make("span", { class: "label" });
    this.names = make("span", { class: "names label" });
    this.book = make("tbody");
    /** @type {HTMLElement[][]} */
    this.levels = Array.from({ length: LEVELS }, () => {
      const cells = [make("td", { class: "orders" }), make("td", { class: "bid bar-left" }), make("td", { class: "bid" }), make("td", { class: "ask" }), make("td", { class: "ask bar-right" }), make("td", { class: "orders" })];
      this.book.append(make("tr", {}, ...cells));
      return cells;
    });
    this.totals = [make("td", { colspan: "2" }), make("td", { colspan: "2", class: "label" }, "total"), make("td", { colspan: "2" })];
    this.note = make("p", { class: "empty" }, "Choose a row of a table to see its order book.");
    this.figures = FIGURES.map(([label, tell]) => ({ tell, cell: make("dd", {}, NONE), label }));
    this.content = make(
      "div",
      { class: "content", hidden: true },
      make("div", { class: "headline" }, this.price, this.change, this.names, this.state),
      make(
        "table",
        { class: "book", "aria-label": "Order book, five levels" },
        make("thead", {}, make("tr", {}, ...HEADS.map((head) => make("th", { scope: "col" }, ...head())))),
        this.book,
        make("tfoot", {}, make("tr", {}, ...this.totals)),
      ),
      make("dl", { class: "figures" }, ...this.figures.map(({ label, cell }) => make("div", { class: LONG.has(label) ? "whole" : undefined }, make("dt", {}, label), cell))),
    );
    find("scrip").append(make("div", { class: "bar" }, this.id, this.name, this.add), this.content, this.note);
    stream.on("change", ({ quote, before }) => {
      if (quote.symbol !== this.symbol) return;
      const [was, is] = [before?.current_price, quote.current_price];
      if (was !== undefined && is !== undefined && was !== is) flash(this.price, is > was ? "up" : "down");
      if (this.waiting) return;
      this.waiting = true;
      requestAnimationFrame(() => {
        this.waiting = false;
        this.draw();
      });
    });
    stream.on("link", () => this.draw());
    stream.on("bad", ({ symbol, code, message }) => {
      if (symbol === this.symbol) write(this.note, `The gateway does not give ${symbol}: ${message ?? code}.`);
    });
  }

  /**
   * @param {string} symbol
   * @param {string|undefined} watched its id, where it is watched
   */
  show(symbol, watched) {
    this.add.hidden = watched !== undefined || symbol.startsWith("IDX:");
    if (symbol === this.symbol) return;
    this.symbol = symbol;
    write(this.id, watched ?? symbol);
    write(this.note, `Waiting for ${watched ?? symbol}…`);
    this.price.removeAttribute("data-flash");
    this.draw();
  }

  draw() {
    const quote = this.symbol === null ? undefined : this.stream.quotes.get(this.symbol);
    this.content.hidden = !quote;
    this.note.hidden = Boolean(quote);
    write(this.name, quote?.company_name ?? "");
    if (!quote) return;
    const index = quote.symbol.startsWith("IDX:");
    write(this.id, quote.id ?? quote.symbol);
    const shown = quote.current_price;
    write(this.price, shown === undefined ? "no trade yet" : `${index ? "" : "₹"}${price(shown)}`);
    write(this.change, quote.change === undefined ? "" : `${arrow(quote.change)} ${signed(quote.change)} (${percent(quote.percent_change)})`.trim());
    mark(this.change, "data-way", way(quote.change));
    const state = quoteState(quote.state);
    const during = phase(quote.phase);
    const auction = quote.indicative_price === undefined ? "" : ` · would match at ${price(quote.indicative_price)} for ${quantity(quote.indicative_quantity)}`;
    const names = [quote.symbol, quote.isin, quote.group && `group ${quote.group}`].filter(Boolean).join(" · ");
    write(this.names, names);
    const known = this.stream.link.state === "live";
    const words = state.text === during.text ? state.text : `${state.text} · ${during.text}`;
    write(this.state, `${known ? "" : "last known: "}${words}${auction}`);
    mark(this.state, "data-tone", known ? state.tone : "unknown");
    this._drawBook(quote);
    for (const { tell, cell } of this.figures) write(cell, tell(quote));
  }

  /** @param {Quote} quote */
  _drawBook(quote) {
    const bids = quote.depth?.bids ?? [];
    const asks = quote.depth?.asks ?? [];
    const most = Math.max(1, ...[...bids, ...asks].map((level) => level.quantity));
    this.levels.forEach(([bidOrders, bidQuantity, bidPrice, askPrice, askQuantity, askOrders], i) => {
      side(bids[i], most, bidOrders, bidQuantity, bidPrice);
      side(asks[i], most, askOrders, askQuantity, askPrice);
    });
    write(this.totals[0], quantity(quote.total_bid_quantity));
    write(this.totals[2], quantity(quote.total_ask_quantity));
    const table = /** @type {HTMLElement} */ (this.book.parentElement);
    table.hidden = quote.symbol.startsWith("IDX:");
  }
}

/**
 * @param {Level|undefined} level
 * @param {number} most
 * @param {HTMLElement} orders
 * @param {HTMLElement} amount
 * @param {HTMLElement} at
 */
function side(level, most, orders, amount, at) {
  write(orders, level ? quantity(level.orders) : "");
  write(amount, level ? quantity(level.quantity) : "");
  // A market order of a call auction has no price.
  write(at, level ? (level.price ? price(level.price) : "market") : NONE);
  amount.style.setProperty("--share", String(level ? level.quantity / most : 0));
}
