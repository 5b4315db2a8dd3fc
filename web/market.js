// @ts-check
/**
 * The market table: thousands of scrips, of which only the rows in view exist.
 *
 * Sorted by what does not move (id, name, group), only the rows in view are subscribed. Sorted by a price or a figure,
 * all of the selection is, because any of them may come into view next.
 */

import { find, flash, make, mark, write } from "./dom.js";
import { age, arrow, instant, NONE, percent, price, quantity, signed, way } from "./format.js";
import { quoteState } from "./words.js";

/** @typedef {import("./lib/bhavcast.js").Bhavcast} Bhavcast */
/** @typedef {import("./lib/bhavcast.js").Quote} Quote */
/** @typedef {import("./gateway.js").Listed} Listed */

const ROW_PX = 25;
const SPARE_ROWS = 8;
const SETTLE_MS = 150;
const SORT_MS = 1500;
const MEMBERS = "IDX:SENSEX/members";
const KEY = "bhavcast.market";

/**
 * @typedef {object} Column
 * @property {string} key
 * @property {string} text
 * @property {string} [title]
 * @property {boolean} [fixed] does not move in the day
 * @property {string} kind of cell, for its width and for what a narrow page leaves out
 * @property {(scrip: Listed, quote: Quote|undefined) => string|number|undefined} value to sort by
 * @property {(quote: Quote, scrip: Listed) => string} tell
 */

/** @type {Column[]} */
const COLUMNS = [
  { key: "id", text: "Scrip", kind: "id", fixed: true, value: (s) => s.id, tell: (_, s) => s.id },
  { key: "name", text: "Name", kind: "company", fixed: true, value: (s) => s.company_name, tell: (_, s) => s.company_name },
  { key: "group", text: "Group", kind: "group", fixed: true, value: (s) => s.group ?? "", tell: (_, s) => s.group ?? NONE },
  { key: "price", text: "Price ₹", kind: "number", value: (_, q) => q?.current_price, tell: (q) => price(q.current_price) },
  { key: "change", text: "Change", kind: "number difference moves", value: (_, q) => q?.change, tell: (q) => (q.change === undefined ? NONE : `${arrow(q.change)} ${signed(q.change)}`.trim()) },
  { key: "percent", text: "%", kind: "small moves", value: (_, q) => q?.percent_change, tell: (q) => percent(q.percent_change) },
  { key: "bid", text: "Bid", kind: "number sides", value: (_, q) => q?.bid_price, tell: (q) => price(q.bid_price) },
  { key: "ask", text: "Ask", kind: "number sides", value: (_, q) => q?.ask_price, tell: (q) => price(q.ask_price) },
  { key: "volume", text: "Volume", kind: "number volume", value: (_, q) => q?.volume, tell: (q) => quantity(q.volume) },
  { key: "high", text: "High", kind: "number range", value: (_, q) => q?.high, tell: (q) => price(q.high) },
  { key: "low", text: "Low", kind: "number range", value: (_, q) => q?.low, tell: (q) => price(q.low) },
  { key: "age", text: "Age", title: "Time since the exchange's last update of this scrip", kind: "small age", value: (_, q) => q?.timestamp, tell: () => "" },
];
/** @type {Listed} */
const NOBODY = { symbol: "", id: "", company_name: "", kind: "" };
const AGE = COLUMNS.findIndex(({ key }) => key === "age");
const PRICE = COLUMNS.findIndex(({ key }) => key === "price");

export class Market {
  /**
   * @param {Bhavcast} stream of its own: other fields and another pace than the watchlist's
   * @param {(symbol: string) => void} select
   * @param {(symbol: string, id: string) => void} watch
   */
  constructor(stream, select, watch) {
    this.stream = stream;
    this.select = select;
    this.watch = watch;
    /** @type {Map<string, Listed>} */
    this.listed = new Map();
    /** @type {Listed[]} as chosen, filtered and sorted */
    this.shown = [];
    /** @type {Map<string, Row>} the rows in view */
    this.rows = new Map();
    /** @type {Row[]} */
    this.spare = [];
    /** @type {string|null} */
    this.active = null;
    this.sort = { key: "percent", down: true };
    this.choice = "members";
    this.failed = "";
    this.pointed = false;
    this.drawing = false;
    this.changedSince = false;
    /** @type {ReturnType<typeof setTimeout>|undefined} */
    this.settling = undefined;
    this._recall();

    this.select_ = /** @type {HTMLSelectElement} */ (find("choice"));
    this.filter = /** @type {HTMLInputElement} */ (find("filter"));
    this.heads = COLUMNS.map(({ key, text, title, kind }) =>
      make("div", { class: `cell ${kind}`, role: "columnheader" }, make("button", { type: "button", title, onclick: () => this._sortBy(key) }, text)),
    );
    this.head = make("div", { class: "row head", role: "row" }, ...this.heads);
    this.body = make("div", { class: "rows", role: "rowgroup" });
    this.view = make("div", { class: "view", role: "grid", "aria-label": "Market", tabindex: "0" }, this.head, this.body);
    this.note = make("p", { class: "empty" }, "Waiting for the list of scrips…");
    find("grid").append(this.view, this.note);

    this.select_.addEventListener("change", () => this._choose(this.select_.value));
    this.filter.addEventListener("input", () => this._arrange());
    this.view.addEventListener("scroll", () => this._draw(), { passive: true });
    this.view.addEventListener("keydown", (event) => this._key(event));
    // Rows do not change places under a pointer that is about to choose one.
    this.body.addEventListener("pointerenter", (event) => (this.pointed = event.pointerType === "mouse"));
    this.body.addEventListener("pointerleave", () => (this.pointed = false));
    new ResizeObserver(() => this._draw()).observe(this.view);
    stream.on("change", ({ quote }) => {
      this.changedSince = true;
      if (this.choice === "members" && !this.shown.length) this._arrange();
      if (this.rows.has(quote.symbol)) this._soon();
    });
    setInterval(() => this._again(), SORT_MS);
    setInterval(() => this._ages(), 500);
    this._options();
    this._subscribe();
  }

  /**
   * Take the list of all scrips.
   * @param {Listed[]} listed
   */
  know(listed) {
    this.listed = new Map(listed.filter(({ kind }) => kind !== "IDX").map((scrip) => [scrip.symbol, scrip]));
    this.failed = "";
    this._options();
    this._arrange();
  }

  /** @param {string} reason why there is no list */
  lack(reason) {
    this.failed = reason;
    this._arrange();
  }

  // -- what is chosen ----------------------------------------------------------------------------------------------

  _options() {
    /** @type {Map<string, number>} */
    const groups = new Map();
    for (const { group } of this.listed.values()) if (group) groups.set(group, (groups.get(group) ?? 0) + 1);
    const options = [["members", "SENSEX members"], ["all", `All scrips (${quantity(this.listed.size)})`]];
    for (const [group, count] of [...groups].sort(([, a], [, b]) => b - a)) options.push([`group:${group}`, `Group ${group} (${quantity(count)})`]);
    this.select_.replaceChildren(...options.map(([value, text]) => make("option", { value, selected: value === this.choice }, text)));
    this.select_.value = this.choice;
  }

  /** @param {string} choice */
  _choose(choice) {
    this.choice = choice;
    this.view.scrollTop = 0;
    this._remember();
    this._arrange();
  }

  /** @param {string} key */
  _sortBy(key) {
    const down = this.sort.key === key ? !this.sort.down : !COLUMNS.find((column) => column.key === key)?.fixed;
    this.sort = { key, down };
    this.view.scrollTop = 0;
    this._remember();
    this._arrange();
  }

  get _column() {
    return COLUMNS.find(({ key }) => key === this.sort.key) ?? COLUMNS[0];
  }

  _recall() {
    try {
      const kept = JSON.parse(localStorage.getItem(KEY) ?? "{}");
      if (COLUMNS.some(({ key }) => key === kept.key)) this.sort = { key: kept.key, down: kept.down === true };
      if (typeof kept.choice === "string" && /^(members|all|group:\w+)$/.test(kept.choice)) this.choice = kept.choice;
    } catch {
      // Not ours: begin as usual.
    }
  }

  _remember() {
    localStorage.setItem(KEY, JSON.stringify({ ...this.sort, choice: this.choice }));
  }

  // -- order -------------------------------------------------------------------------------------------------------

  /** @returns {Listed[]} */
  _chosen() {
    if (this.choice === "members") {
      return this.stream.codes(MEMBERS).map((symbol) => this.listed.get(symbol) ?? { symbol, id: symbol, company_name: "", kind: "EQ" });
    }
    const all = [...this.listed.values()];
    return this.choice === "all" ? all : all.filter(({ group }) => `group:${group}` === this.choice);
  }

  _arrange() {
    const wanted = this.filter.value.trim().toUpperCase();
    const chosen = this._chosen();
    this.shown = wanted ? chosen.filter((s) => s.id.toUpperCase().includes(wanted) || s.company_name.toUpperCase().includes(wanted) || s.symbol.includes(wanted)) : chosen;
    this._order();
    const moving = this._column.fixed ? "" : ` by ${this._column.text.replace(" ₹", "").toLowerCase()}`;
    write(find("count"), `${quantity(this.shown.length)} scrips${moving}`);
    this.heads.forEach((head, i) => {
      const sorted = COLUMNS[i].key === this.sort.key;
      mark(head, "aria-sort", sorted ? (this.sort.down ? "descending" : "ascending") : null);
    });
    mark(this.view, "aria-rowcount", String(this.shown.length + 1));
    this.body.style.setProperty("height", `${this.shown.length * ROW_PX}px`);
    this.note.hidden = this.shown.length > 0;
    if (this.failed && !this.listed.size) write(this.note, `The list of scrips could not be had: ${this.failed}`);
    else if (wanted && chosen.length) write(this.note, `None of these scrips matches “${this.filter.value.trim()}”.`);
    else write(this.note, "Waiting for the list of scrips…");
    this._draw();
  }

  _order() {
    const { value } = this._column;
    const sign = this.sort.down ? -1 : 1;
    const quotes = this.stream.quotes;
    const keyed = this.shown.map((scrip) => ({ scrip, by: value(scrip, quotes.get(scrip.symbol)) }));
    keyed.sort((a, b) => {
      if (a.by !== b.by) {
        // What has no value comes last, whichever way is up.
        if (a.by === undefined) return 1;
        if (b.by === undefined) return -1;
        return a.by < b.by ? -sign : sign;
      }
      return a.scrip.symbol < b.scrip.symbol ? -1 : 1;
    });
    this.shown = keyed.map(({ scrip }) => scrip);
  }

  /** Sort again, now and then, where what is sorted by has moved. */
  _again() {
    if (this._column.fixed || !this.changedSince || this.pointed || document.visibilityState === "hidden") return;
    this.changedSince = false;
    if (this.choice === "members") this._arrange();
    else this._order();
    this._draw();
  }

  // -- drawing -----------------------------------------------------------------------------------------------------

  _soon() {
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      for (const row of this.rows.values()) row.draw(this.stream.quotes.get(row.scrip.symbol));
    });
  }

  /** @returns {[number, number]} first and end of the rows in view */
  _span() {
    const first = Math.floor(this.view.scrollTop / ROW_PX);
    const fit = Math.ceil(this.view.clientHeight / ROW_PX);
    return [Math.max(0, first - SPARE_ROWS), Math.min(this.shown.length, first + fit + SPARE_ROWS)];
  }

  _draw() {
    const [first, end] = this._span();
    const inView = this.shown.slice(first, end);
    const kept = new Set(inView.map(({ symbol }) => symbol));
    for (const [symbol, row] of this.rows) {
      if (kept.has(symbol)) continue;
      this.rows.delete(symbol);
      row.leave();
      this.spare.push(row);
    }
    inView.forEach((scrip, i) => {
      const row = this.rows.get(scrip.symbol) ?? this.spare.pop() ?? this._newRow();
      this.rows.set(scrip.symbol, row);
      if (row.scrip !== scrip) {
        row.become(scrip);
        row.draw(this.stream.quotes.get(scrip.symbol));
      }
      row.place(first + i, ROW_PX, scrip.symbol === this.active);
    });
    mark(this.view, "aria-activedescendant", this.active !== null && this.rows.has(this.active) ? `row-${this.active}` : null);
    this._ages();
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this._subscribe(), SETTLE_MS);
  }

  _newRow() {
    const row = new Row(
      () => this._activate(row.scrip.symbol),
      () => this.watch(row.scrip.symbol, row.scrip.id),
    );
    this.body.append(row.element);
    return row;
  }

  _ages() {
    const now = this.stream.clock.now();
    for (const row of this.rows.values()) row.tell(this.stream.quotes.get(row.scrip.symbol), now, this.stream.link.state === "live");
  }

  _subscribe() {
    if (this.choice === "members") this.stream.replace([MEMBERS]);
    else if (this._column.fixed) this.stream.replace(this.shown.slice(...this._span()).map(({ symbol }) => symbol));
    else this.stream.replace(this._chosen().map(({ symbol }) => symbol));
  }

  // -- keyboard ----------------------------------------------------------------------------------------------------

  /** @param {string} symbol */
  _activate(symbol) {
    this.active = symbol;
    this.select(symbol);
    this._draw();
  }

  /** @param {KeyboardEvent} event */
  _key(event) {
    if (event.target !== this.view || !this.shown.length) return;
    const at = this.shown.findIndex(({ symbol }) => symbol === this.active);
    const page = Math.max(1, Math.floor(this.view.clientHeight / ROW_PX) - 2);
    const last = this.shown.length - 1;
    const to = { ArrowDown: at + 1, ArrowUp: at < 0 ? 0 : at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: last }[event.key];
    if (to !== undefined) {
      const index = Math.max(0, Math.min(last, to));
      const top = index * ROW_PX;
      const seen = this.view.clientHeight - 2 * ROW_PX;
      if (top < this.view.scrollTop) this.view.scrollTop = top;
      else if (top > this.view.scrollTop + seen) this.view.scrollTop = top - seen;
      this._activate(this.shown[index].symbol);
    } else if ((event.key === "Enter" || event.key === "+") && at >= 0) this.watch(this.shown[at].symbol, this.shown[at].id);
    else return;
    event.preventDefault();
  }
}

class Row {
  /**
   * @param {() => void} activate
   * @param {() => void} watch
   */
  constructor(activate, watch) {
    /** @type {Listed} */
    this.scrip = NOBODY;
    /** @type {number|undefined} */
    this.last = undefined;
    /** @type {Quote|undefined} */
    this.drawn = undefined;
    this.cells = COLUMNS.map(({ kind, key }) => make("div", { class: `cell ${kind}`, role: key === "id" ? "rowheader" : "gridcell" }));
    this.element = make("div", { class: "row", role: "row", onclick: activate, ondblclick: watch, title: "Double-click to watch" }, ...this.cells);
  }

  leave() {
    this.scrip = NOBODY;
    this.element.hidden = true;
    this.element.removeAttribute("id");
  }

  /** @param {Listed} scrip */
  become(scrip) {
    this.scrip = scrip;
    this.element.id = `row-${scrip.symbol}`;
    this.last = this.drawn = undefined;
    this.element.hidden = false;
    mark(this.cells[PRICE], "data-flash", null);
    COLUMNS.forEach(({ fixed, tell }, i) => write(this.cells[i], fixed ? tell(/** @type {any} */ (undefined), scrip) : NONE));
    for (const cell of this.cells) mark(cell, "data-way", null);
  }

  /**
   * @param {number} index
   * @param {number} height
   * @param {boolean} active
   */
  place(index, height, active) {
    this.element.style.setProperty("transform", `translateY(${index * height}px)`);
    mark(this.element, "aria-rowindex", String(index + 2));
    mark(this.element, "aria-selected", active ? "true" : null);
    mark(this.element, "data-odd", index % 2 ? "" : null);
  }

  /** @param {Quote|undefined} quote */
  draw(quote) {
    if (!quote || quote === this.drawn) return;
    this.drawn = quote;
    COLUMNS.forEach(({ fixed, kind, tell }, i) => {
      if (fixed || i === AGE) return;
      write(this.cells[i], tell(quote, this.scrip));
      if (kind.includes("moves")) mark(this.cells[i], "data-way", way(quote.change));
    });
    const now = quote.current_price;
    if (this.last !== undefined && now !== undefined && now !== this.last) flash(this.cells[PRICE], now > this.last ? "up" : "down");
    this.last = now;
  }

  /**
   * @param {Quote|undefined} quote
   * @param {number|null} now
   * @param {boolean} connected
   */
  tell(quote, now, connected) {
    const cell = this.cells[AGE];
    const said = quote ? quoteState(quote.state) : { text: "…", tone: "unknown" };
    const stamp = instant(quote?.timestamp);
    const old = stamp === null || now === null ? "" : age(now - stamp);
    write(cell, old && (quote?.state === "live" || quote?.state === "quiet") ? old : said.text);
    mark(cell, "data-tone", !connected ? "unknown" : said.tone === "ok" ? null : said.tone);
  }
}
